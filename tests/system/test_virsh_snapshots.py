"""The real virsh takes snapshots inside a guest's images, goes back to them, and deletes them."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from culvert.io import fault_points
from guests import watch
from tests.support import libvirtd
from tests.support.daemon import DaemonProcess
from tests.support.guest import RunningGuest, running_tiny, state_of
from tests.support.libvirtd import Libvirtd
from tests.support.virsh import virsh
from tests.support.wait import wait_for

UUID = "11111111-2222-4333-8444-000000000009"
NAME = "tiny"


def qcow2(folder: Path, name: str) -> Path:
    path = folder / name
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(path), "1M"], check=True, timeout=60)
    return path


def inside(path: Path) -> list[str]:
    """The names of the snapshots in an image that nobody has open."""
    told = subprocess.run(
        ["qemu-img", "snapshot", "-l", "-U", str(path)], capture_output=True, text=True, check=True, timeout=60
    )
    return [line.split()[1] for line in told.stdout.splitlines()[2:]]


def names(host: DaemonProcess, *options: str) -> list[str]:
    return virsh("snapshot-list", NAME, "--name", *options, uri=host.uri).expect().split()


@contextmanager
def the_guest(host: DaemonProcess, folder: Path) -> Iterator[RunningGuest]:
    """It runs, is persistent, and has two disks and an empty drive."""
    disks = "".join(
        f"<disk><driver type='qcow2'/><source file='{qcow2(folder, target)}'/><target dev='{target}'/></disk>"
        for target in ("vda", "vdb")
    )
    devices = f"{disks}<disk device='cdrom'><target dev='hdc'/></disk>"
    with running_tiny(host, folder, name=NAME, persistent=True, devices=devices) as guest:
        yield guest


@contextmanager
def followed_anew(host: DaemonProcess, guest: RunningGuest) -> Iterator[watch.SerialWatch]:
    """Its output from here on: what it has counted so far it counts again once it has gone back."""
    virsh("suspend", NAME, uri=host.uri).expect()
    guest.guest.serial.write_bytes(b"")
    with watch.SerialWatch(guest.guest.serial) as follow:
        yield follow


def test_a_running_guest_goes_back_to_where_it_was(host_a: DaemonProcess, folder: Path) -> None:
    uri = host_a.uri
    with the_guest(host_a, folder) as guest:
        virsh("snapshot-create-as", NAME, "first", "the first of all", uri=uri).expect()
        guest.watch.wait_verified()  # it runs on
        assert virsh("domstate", NAME, "--reason", uri=uri).expect().strip() == "running (unpaused)"
        virsh("snapshot-create-as", NAME, "second", uri=uri).expect()
        assert names(host_a) == ["first", "second"]
        assert names(host_a, "--roots") == ["first"]
        assert virsh("snapshot-parent", NAME, "second", uri=uri).expect().strip() == "first"
        assert virsh("snapshot-current", NAME, "--name", uri=uri).expect().strip() == "second"
        assert "already exists" in virsh("snapshot-create-as", NAME, "first", uri=uri).err
        assert inside(folder / "vda") == inside(folder / "vdb") == ["first", "second"]
        before = virsh("snapshot-dumpxml", NAME, "first", uri=uri).expect()
        host_a.restart()
        assert virsh("snapshot-dumpxml", NAME, "first", uri=uri).expect() == before
        with followed_anew(host_a, guest) as follow:
            virsh("snapshot-revert", NAME, "first", uri=uri).expect()
            assert virsh("domstate", NAME, "--reason", uri=uri).expect().strip() == "running (from snapshot)"
            assert virsh("snapshot-current", NAME, "--name", uri=uri).expect().strip() == "first"
            follow.wait_verified()  # its memory is what it was
        with followed_anew(host_a, guest) as follow:
            virsh("snapshot-revert", NAME, "second", "--paused", uri=uri).expect()
            assert virsh("domstate", NAME, "--reason", uri=uri).expect().strip() == "paused (from snapshot)"
            virsh("resume", NAME, uri=uri).expect()
            follow.wait_verified()
        refused = virsh("migrate", "--live", "--p2p", NAME, "qemu+tcp://127.0.0.1:1/system", uri=uri)
        assert "cannot migrate domain with 2 snapshots" in refused.err or "connect" in refused.err
        virsh("snapshot-delete", NAME, "first", uri=uri).expect()
        assert names(host_a) == ["second"]
        assert "has no parent" in virsh("snapshot-parent", NAME, "second", uri=uri).err
        assert inside(folder / "vda") == ["second"]
        # Off, it goes back to a running one all the same.
        with followed_anew(host_a, guest) as follow:
            virsh("destroy", NAME, uri=uri).expect()
            virsh("snapshot-revert", NAME, "second", uri=uri).expect()
            assert virsh("domstate", NAME, uri=uri).expect().strip() == "running"
            follow.wait_verified()
        virsh("destroy", NAME, uri=uri).expect()
        assert "cannot delete inactive domain with 1 snapshots" in virsh("undefine", NAME, uri=uri).err
        virsh("undefine", NAME, "--snapshots-metadata", uri=uri).expect()
        assert not (host_a.root / "lib" / "qemu" / "snapshot" / NAME).exists()
        assert inside(folder / "vda") == ["second"]


def test_a_guest_that_has_snapshots_does_not_move(host_a: DaemonProcess, host_b: DaemonProcess, folder: Path) -> None:
    with the_guest(host_a, folder) as guest:
        virsh("snapshot-create-as", NAME, "one", uri=host_a.uri).expect()
        moved = ("migrate", "--live", "--p2p", "--unsafe", NAME, host_b.tcp_uri)
        assert "cannot migrate domain with 1 snapshots" in virsh(*moved, uri=host_a.uri).err
        virsh("snapshot-delete", NAME, "one", "--metadata", uri=host_a.uri).expect()
        assert inside(folder / "vda") == ["one"]
        virsh(*moved, uri=host_a.uri).expect()
        guest.assert_runs_only_on(host_b, host_a)


def test_a_daemon_that_is_killed_meanwhile_leaves_a_guest_that_goes_on(folder: Path) -> None:
    points, root = folder / "points", folder / "h"
    points.mkdir()
    root.mkdir()
    armed = points / "snapshot.standing"
    with (
        DaemonProcess(root, name="h", environment={fault_points.VARIABLE: str(points)}) as host,
        the_guest(host, folder) as guest,
    ):
        armed.touch()
        taking = subprocess.Popen(
            ["virsh", "-c", host.uri, "snapshot-create-as", NAME, "x"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        wait_for(armed.with_name(armed.name + fault_points.REACHED).exists, "the guest stands still")
        host.kill()
        assert taking.wait(30) != 0
        taking.communicate()
        armed.unlink()
        host.restart()
        wait_for(lambda: state_of(NAME, host) == "running", "the guest to go on")
        guest.watch.wait_verified()
        assert names(host) == []
        virsh("snapshot-create-as", NAME, "x", uri=host.uri).expect()
        guest.watch.wait_verified()


DOMAIN = """<domain type='qemu'><name>s</name><uuid>{uuid}</uuid><memory unit='MiB'>16</memory>
<os><type machine='pc'>hvm</type></os><devices><emulator>/usr/bin/qemu-system-x86_64</emulator>
<disk><driver type='qcow2'/><source file='{image}'/><target dev='vda'/></disk>
<disk device='cdrom'><target dev='hdc'/></disk></devices></domain>"""

# virsh's words, of both daemons one after the other; what is refused among them.
SAID = (
    ("snapshot-create-as", "one", "first of all"),
    ("snapshot-create-as", "one"),
    ("snapshot-create-as", ".y"),
    ("snapshot-create-as", "a/b"),
    ("snapshot-create-as", "two"),
    ("snapshot-create-as", "three", "--diskspec", "vda,snapshot=no"),
    ("snapshot-create-as", "three", "--diskspec", "vdx"),
    ("snapshot-list",),
    ("snapshot-list", "--tree"),
    ("snapshot-list", "--leaves", "--name"),
    ("snapshot-list", "--active", "--name"),
    ("snapshot-list", "--from", "one", "--descendants", "--name"),
    ("snapshot-info", "two"),
    ("snapshot-current", "--name"),
    ("snapshot-parent", "two"),
    ("snapshot-parent", "one"),
    ("snapshot-dumpxml", "one"),
    ("snapshot-dumpxml", "nope"),
    ("snapshot-revert", "one"),
    ("domstate", "--reason"),
    ("snapshot-current", "--name"),
    ("snapshot-create-as", "three"),
    ("snapshot-delete", "nope"),
    ("snapshot-delete", "one", "--children-only"),
    ("snapshot-list", "--name"),
    ("snapshot-delete", "one"),
    ("snapshot-list",),
    ("snapshot-current", "--name"),
    ("undefine",),
)


@pytest.mark.skipif(not libvirtd.possible(), reason=libvirtd.NEEDS)
def test_all_is_said_as_by_libvirt(host_a: DaemonProcess, folder: Path) -> None:
    with Libvirtd(folder / "libvirt") as stock:
        told: dict[str, list[tuple[object, ...]]] = {}
        for who, uri in (("ours", host_a.uri), ("theirs", stock.uri)):
            image = qcow2(folder, f"{who}.qcow2")
            xml = folder / f"{who}.xml"
            xml.write_text(DOMAIN.format(uuid=UUID, image=image))
            virsh("define", str(xml), uri=uri).expect()
            told[who] = []
            for command, *words in SAID:
                done = virsh(command, "s", *words, uri=uri)
                told[who].append((command, *words, done.ok, plain(done.out + done.err).replace(who, "")))
        for ours, theirs in zip(told["ours"], told["theirs"], strict=True):
            assert ours == theirs
        virsh("define", str(folder / "ours.xml"), uri=host_a.uri).expect()
        dumped = virsh("dumpxml", "s", uri=host_a.uri).expect()
        shown = folder / "again.xml"
        shown.write_text(
            f"<domainsnapshot><name>again</name><state>shutoff</state><creationTime>1</creationTime>{dumped}</domainsnapshot>"
        )
        virsh("snapshot-create", "s", str(shown), "--redefine", "--current", uri=host_a.uri).expect()
        assert virsh("snapshot-current", "s", "--name", uri=host_a.uri).expect().strip() == "again"
        virsh("undefine", "s", "--snapshots-metadata", uri=host_a.uri).expect()


def plain(text: str) -> str:
    """Without what is of the moment, and the order of controllers."""
    text = re.sub(r"<creationTime>[0-9]+", "<creationTime>", text)
    text = re.sub(r"[0-9]{4}-[0-9-]+ [0-9:]+ \+0000", "then", text)
    blocks = re.findall(r" *<controller (?:[^\n]*/>|.*?</controller>)\n", text, re.DOTALL)
    for block in blocks:
        text = text.replace(block, "", 1)
    return text + "".join(sorted(blocks))


def test_what_is_refused(host_a: DaemonProcess, folder: Path) -> None:
    uri = host_a.uri
    raw = folder / "r.raw"
    raw.write_bytes(bytes(1 << 20))
    xml = folder / "d.xml"
    xml.write_text(DOMAIN.format(uuid=UUID, image=raw).replace("type='qcow2'", "type='raw'"))
    virsh("define", str(xml), uri=uri).expect()
    refused = virsh("snapshot-create-as", "s", "x", uri=uri).err
    assert "internal snapshot for disk vda unsupported for storage type raw" in refused
    assert "not supported by culvert" in virsh("snapshot-create-as", "s", "x", "--disk-only", uri=uri).err
    assert "no domain snapshot" in virsh("snapshot-revert", "s", "x", uri=uri).err
    assert names_of(uri) == []
    virsh("undefine", "s", uri=uri).expect()


def names_of(uri: str) -> list[str]:
    return virsh("snapshot-list", "s", "--name", uri=uri).expect().split()
