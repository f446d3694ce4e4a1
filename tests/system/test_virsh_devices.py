"""The real virsh plugs disks and cards in and out, in running guests and for their next start."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from guests import domain_xml, linux
from tests.support.daemon import DaemonProcess
from tests.support.guest import running_tiny
from tests.support.terminal import Terminal
from tests.support.virsh import virsh
from tests.support.wait import wait_for

MIB = 1024 * 1024


def image(folder: Path, name: str) -> Path:
    path = folder / name
    path.write_bytes(bytes(MIB))
    return path


@contextlib.contextmanager
def listening(host: DaemonProcess) -> Iterator[Terminal]:
    before = host.log.count(" registered")
    with Terminal(host.uri, "event", "--loop", "--all") as terminal:
        wait_for(lambda: host.log.count(" registered") >= before + 27, "the registration")
        yield terminal


def targets(name: str, uri: str, *options: str) -> dict[str, str]:
    text = virsh("domblklist", name, *options, uri=uri).expect()
    return dict(line.split() for line in text.splitlines()[2:] if line.strip())


def cards(name: str, uri: str, *options: str) -> list[str]:
    return re.findall(r"52:54:[0-9a-f:]+", virsh("domiflist", name, *options, uri=uri).expect())


@pytest.mark.parametrize("machine", ["pc", "q35"])
def test_in_and_out_of_a_running_linux(host_a: DaemonProcess, folder: Path, machine: str) -> None:
    uri, disk = host_a.uri, image(folder, "extra.img")
    parameters = linux.LinuxParameters(mib=16, dirty_mib=4, dirty_mib_s=4)
    guest = domain_xml.linux_guest(folder, "l", parameters, machine=machine)
    # Root ports beside those the guest needs: libvirt keeps one free, a person who plugs in more says so.
    numbers = range(1, 5) if machine == "q35" else ()
    ports = "".join(f"<controller type='pci' index='{number}' model='pcie-root-port'/>" for number in numbers)
    path = folder / "l.xml"
    path.write_text(guest.xml.replace("<devices>", f"<devices>{ports}"))
    virsh("define", str(path), uri=uri).expect()
    with listening(host_a) as told:
        virsh("start", "l", uri=uri).expect()
        wait_for(lambda: guest.serial.exists() and b"count=" in guest.serial.read_bytes(), "Linux is up", 120)
        virsh("attach-disk", "l", str(disk), "vdb", "--live", "--config", uri=uri).expect()
        told.wait_for("event 'device-added' for domain 'l': virtio-disk1")
        card = ("user", "--source", "x", "--mac", "52:54:00:00:00:07", "--model", "virtio")
        assert not virsh("attach-interface", "l", *card, uri=uri).ok  # a card on "user" has no source
        nic = folder / "nic.xml"
        nic.write_text("<interface type='user'><mac address='52:54:00:00:00:07'/><model type='virtio'/></interface>")
        virsh("attach-device", "l", str(nic), "--live", uri=uri).expect()
        told.wait_for("event 'device-added' for domain 'l': net0")
        assert targets("l", uri) == targets("l", uri, "--inactive") == {"vdb": str(disk)}
        assert cards("l", uri) == ["52:54:00:00:00:07"]
        assert cards("l", uri, "--inactive") == []
        assert "rd_req" in virsh("domblkstat", "l", "vdb", uri=uri).expect()
        virsh("detach-disk", "l", "vdb", "--live", uri=uri).expect()
        told.wait_for("event 'device-removed' for domain 'l': virtio-disk1", timeout=60)
        virsh("detach-interface", "l", "user", "--mac", "52:54:00:00:00:07", "--live", uri=uri).expect()
        told.wait_for("event 'device-removed' for domain 'l': net0", timeout=60)
        assert targets("l", uri) == {}
        assert cards("l", uri) == []
        nodes = virsh("qemu-monitor-command", "l", '{"execute":"query-named-block-nodes"}', uri=uri).expect()
        assert "libvirt-" not in nodes
        # Gone altogether: the same names and the same places can be had again.
        virsh("attach-disk", "l", str(disk), "vdb", "--live", uri=uri).expect()
        assert targets("l", uri) == {"vdb": str(disk)}
    virsh("destroy", "l", uri=uri).expect()
    assert targets("l", uri) == {"vdb": str(disk)}
    virsh("detach-disk", "l", "vdb", "--config", uri=uri).expect()
    assert targets("l", uri) == {}


def test_a_guest_that_does_not_let_go(host_a: DaemonProcess, folder: Path) -> None:
    """The tiny guest has no driver that would; the device stays, and goes with the guest."""
    uri, disk = host_a.uri, image(folder, "extra.img")
    with running_tiny(host_a, folder, persistent=True) as guest:
        virsh("attach-disk", guest.name, str(disk), "vda", "--live", uri=uri).expect()
        virsh("detach-disk", guest.name, "vda", "--live", uri=uri).expect()
        assert targets(guest.name, uri) == {"vda": str(disk)}
        host_a.restart()
        assert targets(guest.name, uri) == {"vda": str(disk)}
        guest.watch.wait_verified()
        virsh("destroy", guest.name, uri=uri).expect()
        assert targets(guest.name, uri) == {}


def test_what_cannot_be_plugged_in(host_a: DaemonProcess, folder: Path) -> None:
    uri, disk = host_a.uri, image(folder, "extra.img")
    with running_tiny(host_a, folder, persistent=True) as guest:
        before = virsh("dumpxml", guest.name, uri=uri).expect()

        def refused(xml: str, *options: str) -> str:
            path = folder / "device.xml"
            path.write_text(xml)
            result = virsh("attach-device", guest.name, str(path), *options, uri=uri)
            assert not result.ok
            return result.err

        source = f"<source file='{disk}'/>"
        assert "cannot be plugged in or out" in refused("<hostdev mode='subsystem'/>")
        assert "bus 'sata'" in refused(f"<disk type='file'>{source}<target dev='sda' bus='sata'/></disk>", "--live")
        gone = f"<disk type='file'><source file='{folder}/gone'/><target dev='vdc'/></disk>"
        assert "No such file" in refused(gone, "--live")
        virsh("attach-disk", guest.name, str(disk), "vda", uri=uri).expect()
        boots = f"<disk type='file'>{source}<target dev='vdc'/><boot order='1'/></disk>"
        for impact in ("--live", "--config"):
            # A guest with it could neither be migrated nor restored.
            assert "per-device boot elements cannot be used together with os/boot" in refused(boots, impact)
        assert "target vda already exists" in refused(f"<disk type='file'>{source}<target dev='vda'/></disk>")
        (folder / "device.xml").write_text("<disk type='file'><target dev='vdz'/></disk>")
        result = virsh("detach-device", guest.name, str(folder / "device.xml"), "--live", uri=uri)
        assert "disk vdz not found" in result.err, result
        for number in range(40):
            xml = f"<interface type='user'><mac address='52:54:00:00:01:{number:02x}'/></interface>"
            path = folder / "nic.xml"
            path.write_text(xml)
            result = virsh("attach-device", guest.name, str(path), "--live", uri=uri)
            if not result.ok:
                break
        assert "No more available PCI slots" in result.err
        guest.watch.wait_verified()
        virsh("destroy", guest.name, uri=uri).expect()
        after = virsh("dumpxml", guest.name, uri=uri).expect()
        assert after.count("<disk") == before.count("<disk")
        assert after.count("<interface") == before.count("<interface")


def test_media_change(host_a: DaemonProcess, folder: Path) -> None:
    uri, one, two = host_a.uri, image(folder, "one.iso"), image(folder, "two.iso")
    cdrom = "<disk type='file' device='cdrom'><target dev='sda' bus='sata'/></disk>"
    with running_tiny(host_a, folder, persistent=True, machine="q35", devices=cdrom) as guest:
        virsh("change-media", guest.name, "sda", str(one), "--insert", "--live", uri=uri).expect()
        assert targets(guest.name, uri) == {"sda": str(one)}
        assert targets(guest.name, uri, "--inactive") == {"sda": "-"}
        virsh("change-media", guest.name, "sda", str(two), "--update", "--live", "--config", uri=uri).expect()
        assert targets(guest.name, uri) == targets(guest.name, uri, "--inactive") == {"sda": str(two)}
        virsh("change-media", guest.name, "sda", "--eject", "--live", "--config", uri=uri).expect()
        assert targets(guest.name, uri) == targets(guest.name, uri, "--inactive") == {"sda": "-"}
        gone = virsh("change-media", guest.name, "sda", str(folder / "gone"), "--insert", "--live", uri=uri)
        assert "No such file" in gone.err
        assert targets(guest.name, uri) == {"sda": "-"}
        # What no definition may have leaves the medium that is there.
        virsh("change-media", guest.name, "sda", str(one), "--insert", "--live", uri=uri).expect()
        changed = folder / "changed.xml"
        changed.write_text(
            f"<disk type='file' device='cdrom'><driver name='qemu' type='raw' io='native'/><source file='{two}'/>"
            "<target dev='sda' bus='sata'/></disk>"
        )
        refused = virsh("update-device", guest.name, str(changed), "--live", uri=uri)
        assert "io='native' needs either no disk cache" in refused.err, refused
        assert targets(guest.name, uri) == {"sda": str(one)}
        guest.watch.wait_verified()


def test_a_name_that_another_device_has(host_a: DaemonProcess, folder: Path) -> None:
    """The user may name devices himself; of two with one name none could be told from the other."""
    card = folder / "card.xml"
    with running_tiny(host_a, folder, persistent=True) as guest:
        for number, refused in ((1, ""), (2, "has a device with alias 'ua-mine' already")):
            mac = f"52:54:00:00:01:0{number}"
            card.write_text(f"<interface type='user'><mac address='{mac}'/><alias name='ua-mine'/></interface>")
            result = virsh("attach-device", guest.name, str(card), "--live", uri=host_a.uri)
            assert result.ok != bool(refused), result.err
            assert refused in result.err
        assert virsh("domiflist", guest.name, uri=host_a.uri).expect().count("52:54:00:00:01") == 1
