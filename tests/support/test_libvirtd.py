"""The real libvirtd of tests: it is private, several live beside each other, and nothing of it stays."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from guests import domain_xml, tiny, watch
from tests.support.libvirtd import NEEDS, Libvirtd, possible
from tests.support.pki import Pki
from tests.support.virsh import virsh

pytestmark = pytest.mark.skipif(not possible(), reason=NEEDS)


def hostname_at(uri: str) -> str:
    return virsh("hostname", uri=uri).expect().strip()


def test_two_beside_each_other_over_every_transport(folder: Path) -> None:
    pki = Pki(folder / "pki")
    certificates = pki.holder("one")
    before = Path("/proc/mounts").read_text()
    with (
        Libvirtd(folder / "1", name="host-one", tls=certificates) as one,
        Libvirtd(folder / "2", name="host-two") as two,
    ):
        assert one.host_uuid != two.host_uuid
        for uri in (one.uri, one.tcp_uri, one.tls_uri(pkipath=certificates.folder)):
            assert hostname_at(uri) == "host-one"
        for uri in (two.uri, two.tcp_uri):
            assert hostname_at(uri) == "host-two"
        assert Path("/proc/mounts").read_text() == before, "mounts are theirs alone"
        assert os.uname().nodename not in ("host-one", "host-two")
        seen = [set(one.pids()), set(two.pids())]
        assert all(seen)
        assert not seen[0] & seen[1]
    assert one.pids() == two.pids() == []
    assert not any(Path(f"/proc/{pid}").exists() for pid in (one.pid, two.pid))


def test_a_guest_outlives_a_restart_and_not_the_end(folder: Path) -> None:
    guest = domain_xml.tiny_guest(folder, "tiny", tiny.TinyParameters(mib=4, dirty_mib=1))
    with Libvirtd(folder / "1") as host:
        virsh("create", str(guest.write_xml()), uri=host.uri).expect()
        with watch.SerialWatch(guest.serial) as follow:
            follow.wait_running()
            pids = host.qemu_pids()
            assert len(pids) == 1
            for kill in (True, False):
                host.restart(kill=kill)
                assert virsh("list", "--name", uri=host.uri).expect().split() == ["tiny"]
            assert host.qemu_pids() == pids
            follow.wait_verified()
        assert "qemu-system-x86_64" in host.log_tail()
    assert not any(Path(f"/proc/{pid}").exists() and "Z" not in Path(f"/proc/{pid}/stat").read_text() for pid in pids)


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, timeout=20)


@pytest.fixture
def networks() -> Iterator[tuple[str, str]]:
    """Two network namespaces with a cable between them: 10.11.0.1 and 10.11.0.2."""
    mark = uuid4().hex[:6]
    names = (f"cv{mark}a", f"cv{mark}b")
    for name in names:
        ip("netns", "add", name)
    try:
        ip(
            "link",
            "add",
            f"{names[0]}0",
            "netns",
            names[0],
            "type",
            "veth",
            "peer",
            f"{names[1]}0",
            "netns",
            names[1],
        )
        for number, name in enumerate(names, start=1):
            ip("-n", name, "address", "add", f"10.11.0.{number}/24", "dev", f"{name}0")
            for device in ("lo", f"{name}0"):
                ip("-n", name, "link", "set", device, "up")
        yield names
    finally:
        for name in names:
            ip("netns", "del", name)


def test_two_hosts_in_networks_of_their_own(folder: Path, networks: tuple[str, str]) -> None:
    """They see each other by the cable, natively and tunnelled; their UNIX sockets are seen from everywhere."""
    known = "10.11.0.1 host-one\n10.11.0.2 host-two\n"
    guest = domain_xml.tiny_guest(folder, "tiny", tiny.TinyParameters(mib=4, dirty_mib=0))
    with (
        Libvirtd(folder / "1", name="host-one", namespace=networks[0], address="10.11.0.1", hosts=known) as one,
        Libvirtd(folder / "2", name="host-two", namespace=networks[1], address="10.11.0.2", hosts=known) as two,
        watch.SerialWatch(guest.serial) as follow,
    ):
        virsh("create", str(guest.write_xml()), uri=one.uri).expect()
        follow.wait_running()
        for source, destination, options in ((one, two, ()), (two, one, ("--tunnelled",))):
            migrate = ("migrate", "--live", "--p2p", *options, "--unsafe", guest.name, destination.tcp_uri)
            virsh(*migrate, uri=source.uri).expect()
            follow.wait_verified()
            source.wait_no_qemu()


def test_none_without_its_driver(tmp_path: Path) -> None:
    """In Debian 13 the package libvirt-daemon alone is a libvirtd that knows no hypervisor."""
    assert not possible([tmp_path])
    driver = tmp_path / "libvirt" / "connection-driver" / "libvirt_driver_qemu.so"
    driver.parent.mkdir(parents=True)
    driver.touch()
    assert possible([tmp_path / "elsewhere", tmp_path])
