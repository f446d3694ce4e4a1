"""The real virsh keeps passwords with the daemon; guests have disks that are encrypted with them, or on servers."""

from __future__ import annotations

import base64
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.daemon import DaemonProcess
from tests.support.guest import running_tiny
from tests.support.virsh import virsh
from tests.support.wait import wait_for

UUID = "0a81f5b2-8403-7b23-c8d6-21ccc2f80d6f"
VALUE = "open sesame 4711"
MIGRATE = ("migrate", "--live", "--unsafe", "--p2p", "--tunnelled")


def define(
    host: DaemonProcess, folder: Path, *, uuid: str = UUID, attributes: str = "", usage: str = "/luks"
) -> None:
    xml = folder / "secret.xml"
    xml.write_text(
        f"<secret {attributes}><uuid>{uuid}</uuid><description>d</description>"
        f"<usage type='volume'><volume>{usage}</volume></usage></secret>"
    )
    virsh("secret-define", str(xml), uri=host.uri).expect()


def give(host: DaemonProcess, value: str = VALUE) -> None:
    encoded = base64.b64encode(value.encode()).decode()
    virsh("secret-set-value", UUID, "--base64", encoded, uri=host.uri).expect()


def test_a_secret_from_its_definition_to_its_end(host_a: DaemonProcess, folder: Path) -> None:
    uri = host_a.uri
    define(host_a, folder)
    assert re.search(rf"{UUID} +volume +/luks", virsh("secret-list", uri=uri).expect())
    assert "does not have a value" in virsh("secret-get-value", UUID, uri=uri).err
    give(host_a)
    kept = host_a.root / "etc" / "secrets"
    assert kept.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in kept.iterdir()} == {0o600}
    host_a.restart()
    assert virsh("secret-get-value", UUID, "--plain", uri=uri).expect().strip() == VALUE
    assert virsh("secret-dumpxml", UUID, uri=uri).expect().splitlines()[0] == "<secret ephemeral='no' private='no'>"
    other = folder / "other.xml"
    other.write_text("<secret><usage type='volume'><volume>/luks</volume></usage></secret>")
    assert "already defined for use with /luks" in virsh("secret-define", str(other), uri=uri).err
    define(host_a, folder, attributes="private='yes'")
    assert "secret is private" in virsh("secret-get-value", UUID, uri=uri).err
    virsh("secret-undefine", UUID, uri=uri).expect()
    assert list(kept.iterdir()) == []
    assert "no secret with matching uuid" in virsh("secret-dumpxml", UUID, uri=uri).err
    define(host_a, folder, attributes="ephemeral='yes'")
    give(host_a)
    assert list(kept.iterdir()) == []
    assert VALUE not in host_a.log
    assert base64.b64encode(VALUE.encode()).decode() not in host_a.log


def encrypted(host: DaemonProcess, folder: Path) -> Path:
    """An image that the daemon has made with the secret."""
    place = folder / "pool"
    place.mkdir()
    virsh("pool-create-as", "p", "dir", "--target", str(place), uri=host.uri).expect()
    xml = folder / "v.xml"
    xml.write_text(
        "<volume><name>v.luks</name><capacity unit='MiB'>1</capacity><target><format type='raw'/>"
        f"<encryption format='luks'><secret type='passphrase' uuid='{UUID}'/></encryption></target></volume>"
    )
    virsh("vol-create", "p", str(xml), uri=host.uri).expect()
    return place / "v.luks"


def luks(image: Path, target: str) -> str:
    return (
        f"<disk><driver name='qemu' type='raw'/><source file='{image}'><encryption format='luks'>"
        f"<secret type='passphrase' uuid='{UUID}'/></encryption></source><target dev='{target}'/></disk>"
    )


def test_an_encrypted_disk_starts_moves_and_is_plugged(
    host_a: DaemonProcess, host_b: DaemonProcess, folder: Path
) -> None:
    for host in (host_a, host_b):
        define(host, folder)
        give(host)
    image = encrypted(host_a, folder)
    assert image.read_bytes().startswith(b"LUKS\xba\xbe")
    second = folder / "second.luks"
    shutil.copy(image, second)
    with running_tiny(host_a, folder, devices=luks(image, "vda")) as guest:
        shown = virsh("dumpxml", guest.name, uri=host_a.uri).expect()
        assert "<encryption format='luks' engine='qemu'>" in shown
        plugged = folder / "d.xml"
        plugged.write_text(luks(second, "vdb"))
        virsh("attach-device", guest.name, str(plugged), "--live", uri=host_a.uri).expect()
        virsh("detach-disk", guest.name, "vdb", "--live", uri=host_a.uri).expect()
        virsh(*MIGRATE, guest.name, host_b.tcp_uri, uri=host_a.uri).expect()
        guest.assert_runs_only_on(host_b, host_a)
        # At a host that does not know the secret there is no guest.
        virsh("secret-undefine", UUID, uri=host_a.uri).expect()
        refused = virsh(*MIGRATE, guest.name, host_a.tcp_uri, uri=host_b.uri)
        assert "no secret with matching uuid" in refused.err
        guest.assert_runs_only_on(host_b, host_a)
        for host in (host_a, host_b):
            assert VALUE not in host.log
            qemu = host.root / "log" / "qemu" / f"{guest.name}.log"
            assert VALUE not in qemu.read_text()


def test_a_wrong_password_is_told(host_a: DaemonProcess, folder: Path) -> None:
    define(host_a, folder)
    give(host_a)
    image = encrypted(host_a, folder)
    give(host_a, "another")
    xml = folder / "g.xml"
    xml.write_text(
        "<domain type='qemu'><name>g</name><memory unit='MiB'>16</memory><os><type>hvm</type></os><devices>"
        f"{luks(image, 'vda')}</devices></domain>"
    )
    assert "Invalid password" in virsh("create", str(xml), uri=host_a.uri).err
    virsh("secret-undefine", UUID, uri=host_a.uri).expect()
    assert "no secret with matching uuid" in virsh("create", str(xml), uri=host_a.uri).err


@contextmanager
def nbd(image: Path, socket: Path) -> Iterator[None]:
    """A server of one image, of Debian's qemu-utils."""
    process = subprocess.Popen(["qemu-nbd", "-t", "-e", "4", "-x", "export", "-k", str(socket), str(image)])
    try:
        wait_for(socket.exists, "the server")
        yield
    finally:
        process.terminate()
        process.wait(30)


@pytest.mark.skipif(shutil.which("qemu-nbd") is None, reason="no qemu-nbd (qemu-utils)")
def test_a_disk_on_a_server(host_a: DaemonProcess, host_b: DaemonProcess, folder: Path) -> None:
    image, socket = folder / "base.qcow2", folder / "nbd.sock"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(image), "3M"], check=True, timeout=60)
    disk = (
        "<disk type='network'><driver type='raw'/><source protocol='nbd' name='export'>"
        f"<host transport='unix' socket='{socket}'/></source><target dev='vda'/></disk>"
    )
    with nbd(image, socket), running_tiny(host_a, folder, devices=disk) as guest:
        listed = virsh("domblklist", guest.name, "--details", uri=host_a.uri).expect()
        assert re.search("network +disk +vda +export", listed)
        assert re.search("Capacity: +3145728", virsh("domblkinfo", guest.name, "vda", uri=host_a.uri).expect())
        virsh(*MIGRATE, guest.name, host_b.tcp_uri, uri=host_a.uri).expect()
        guest.assert_runs_only_on(host_b, host_a)
