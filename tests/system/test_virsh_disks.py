"""Disks of every kind under the real virsh: started, shown, plugged in and out, limited, moved to another host."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from lxml import etree

from tests.support.daemon import DaemonProcess
from tests.support.guest import running_tiny
from tests.support.virsh import virsh
from tests.support.wait import wait_for

MIB = 1024 * 1024
MIGRATE = ("migrate", "--live", "--unsafe", "--p2p", "--tunnelled")


def raw(folder: Path, name: str) -> Path:
    path = folder / name
    path.write_bytes(bytes(MIB))
    return path


def qcow2(folder: Path, name: str, *options: str) -> Path:
    path = folder / name
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", *options, str(path), "1M"], check=True, timeout=60)
    return path


def every_kind(folder: Path) -> str:
    base = qcow2(folder, "base.qcow2")
    over = qcow2(folder, "over.qcow2", "-b", str(base), "-F", "qcow2")
    disks = (
        f"<disk><driver type='qcow2' discard='unmap'/><source file='{over}'/><target dev='sda'/>"
        "<serial>one two</serial></disk>",
        "<controller type='scsi' index='3' model='virtio-scsi'/>",
        f"<disk><driver type='qcow2' copy_on_read='on'/><source file='{qcow2(folder, 'cor.qcow2')}'/>"
        "<target dev='sdx' bus='scsi'/><vendor>CULVERT</vendor><product>DISK</product>"
        "<address type='drive' controller='3' bus='0' target='1' unit='2'/></disk>",
        "<disk device='cdrom'><target dev='sdc' bus='scsi'/></disk>",
        f"<disk><source file='{raw(folder, 'stick.raw')}'/><target dev='sdu' bus='usb' removable='on'/></disk>",
        f"<disk><driver queues='2' iothread='1'/><source file='{raw(folder, 'v.raw')}'/><target dev='vda'/>"
        "<iotune><total_bytes_sec>1000000</total_bytes_sec><group_name>slow</group_name></iotune></disk>",
        "<disk device='cdrom'><source file='/no/such/medium' startupPolicy='optional'/>"
        "<target dev='sdf' bus='sata'/></disk>",
    )
    return "".join(disks)


def shown(host: DaemonProcess, name: str, *options: str) -> etree._Element:
    return etree.fromstring(virsh("dumpxml", name, *options, uri=host.uri).expect())


def disk(host: DaemonProcess, name: str, target: str, *options: str) -> etree._Element:
    found = [
        each for each in shown(host, name, *options).iterfind("devices/disk") if at(each, "target", "dev") == target
    ]
    assert len(found) == 1, found
    return found[0]


def at(element: etree._Element, path: str, name: str) -> str | None:
    """The attribute ``name`` of the element at ``path``, which is there."""
    found = element.find(path)
    assert found is not None, path
    return found.get(name)


def elements(host: DaemonProcess, name: str) -> list[str]:
    """The disks of the running guest, sorted, without the numbers of their images."""
    return sorted(
        re.sub(" index='[0-9]+'", "", etree.tostring(each).decode().replace('"', "'"))
        for each in shown(host, name).findall("devices/disk")
    )


def with_usb(xml: str) -> str:
    return xml.replace("<controller type='usb' model='none'/>", "")


def with_iothreads(xml: str) -> str:
    return with_usb(xml).replace("<os>", "<iothreads>1</iothreads><os>")


@pytest.mark.parametrize("machine", ["pc", "q35"])
def test_every_kind_starts_and_moves(
    host_a: DaemonProcess, host_b: DaemonProcess, folder: Path, machine: str
) -> None:
    with running_tiny(host_a, folder, machine=machine, devices=every_kind(folder), change=with_iothreads) as guest:
        chain = disk(host_a, guest.name, "sda")
        assert [each.get("file") for each in chain.iter("source")] == [
            str(folder / "over.qcow2"),
            str(folder / "base.qcow2"),
        ]
        assert chain.find("backingStore/backingStore") is not None
        assert at(chain, "backingStore", "index") is not None
        assert "detected" not in etree.tostring(chain).decode()
        assert disk(host_a, guest.name, "sdf").find("source") is None
        throttled = virsh("blkdeviotune", guest.name, "vda", uri=host_a.uri).expect()
        assert re.search(r"total_bytes_sec *: 1000000", throttled)
        before = elements(host_a, guest.name)
        virsh(*MIGRATE, guest.name, host_b.tcp_uri, uri=host_a.uri).expect()
        guest.assert_runs_only_on(host_b, host_a)
        assert elements(host_b, guest.name) == before
        assert disk(host_b, guest.name, "sda").find("backingStore/source") is not None
        throttled = virsh("blkdeviotune", guest.name, "vda", uri=host_b.uri).expect()
        assert re.search(r"total_bytes_sec *: 1000000", throttled)
        virsh(*MIGRATE, guest.name, host_a.tcp_uri, uri=host_b.uri).expect()
        guest.assert_runs_only_on(host_a, host_b)


def test_disks_come_and_go_on_scsi_and_usb(host_a: DaemonProcess, folder: Path) -> None:
    uri = host_a.uri
    scsi = "<controller type='scsi' index='0' model='virtio-scsi'/><controller type='usb' model='qemu-xhci'/>"
    with running_tiny(host_a, folder, devices=scsi, change=with_usb) as guest:
        for target, bus in (("sdb", "scsi"), ("sdk", "scsi"), ("sdc", "usb")):
            image = raw(folder, f"{target}.raw")
            virsh(*("attach-disk", guest.name, str(image), target, "--targetbus", bus, "--live"), uri=uri).expect()
        found = disk(host_a, guest.name, "sdk")
        # The second controller that this one calls for has come with it.
        assert at(found, "address", "controller") == "1"
        assert at(found, "alias", "name") == "scsi1-0-0-3"
        host_a.restart()
        for target in ("sdb", "sdk", "sdc"):
            virsh("detach-disk", guest.name, target, "--live", uri=uri).expect()
        wait_for(lambda: shown(host_a, guest.name).find("devices/disk") is None, "the disks to go")
        refused = virsh("attach-disk", guest.name, str(raw(folder, "i.raw")), "hdb", "--live", uri=uri)
        assert "disk bus 'ide' cannot be hotplugged" in refused.err
        guest.watch.wait_verified()


def test_a_medium_with_a_chain_goes_in_and_out(host_a: DaemonProcess, folder: Path) -> None:
    uri = host_a.uri
    base = qcow2(folder, "base.qcow2")
    over = qcow2(folder, "over.qcow2", "-b", "base.qcow2", "-F", "qcow2")
    drive = "<disk device='cdrom'><driver type='qcow2'/><target dev='sda' bus='scsi'/></disk>"
    with running_tiny(host_a, folder, devices=drive) as guest:
        assert at(disk(host_a, guest.name, "sda"), "driver", "type") is None
        wanted = folder / "medium.xml"
        wanted.write_text(
            f"<disk device='cdrom'><driver type='qcow2'/><source file='{over}'/><target dev='sda' bus='scsi'/></disk>"
        )
        virsh("update-device", guest.name, str(wanted), "--live", uri=uri).expect()
        files = [each.get("file") for each in disk(host_a, guest.name, "sda").iter("source")]
        assert files == [str(over), str(base)]
        virsh("change-media", guest.name, "sda", "--eject", "--live", uri=uri).expect()
        assert disk(host_a, guest.name, "sda").find("source") is None
        gone = virsh("change-media", guest.name, "sda", "/no/such", "--insert", "--live", uri=uri)
        assert "Cannot access storage file '/no/such': No such file or directory" in gone.err
        guest.watch.wait_verified()


def test_what_is_wrong_with_an_image_is_told(host_a: DaemonProcess, folder: Path) -> None:
    uri = host_a.uri
    base = qcow2(folder, "base.qcow2")
    over = qcow2(folder, "over.qcow2", "-b", str(base), "-F", "qcow2")
    xml = folder / "g.xml"
    xml.write_text(
        "<domain type='qemu'><name>g</name><memory unit='MiB'>16</memory><os><type>hvm</type></os><devices>"
        f"<disk><driver type='qcow2'/><source file='{over}'/><target dev='vda'/></disk></devices></domain>"
    )
    virsh("define", str(xml), uri=uri).expect()
    base.unlink()
    refused = virsh("start", "g", uri=uri)
    assert f"Cannot access backing file '{base}' of storage file '{over}': No such file" in refused.err
    assert virsh("domstate", "g", uri=uri).expect().strip() == "shut off"
    assert "failed" in virsh("domstate", "g", "--reason", uri=uri).expect()


def test_threads_limits_and_sizes_change_while_a_guest_runs(host_a: DaemonProcess, folder: Path) -> None:
    uri = host_a.uri
    image = qcow2(folder, "v.qcow2")
    one = f"<disk><driver type='qcow2' iothread='1'/><source file='{image}'/><target dev='vda'/></disk>"
    with running_tiny(host_a, folder, persistent=True, devices=one, change=with_iothreads) as guest:
        name = guest.name
        virsh("blkdeviotune", name, "vda", "--read-iops-sec", "100", "--live", "--config", uri=uri).expect()
        virsh("blkdeviotune", name, "vda", "--write-bytes-sec", "5000", "--live", uri=uri).expect()
        live = virsh("blkdeviotune", name, "vda", "--live", uri=uri).expect()
        kept = virsh("blkdeviotune", name, "vda", "--config", uri=uri).expect()
        assert re.search(r"^read_iops_sec *: 100$", live, re.MULTILINE)
        assert re.search(r"^write_bytes_sec *: 5000$", live, re.MULTILINE)
        assert re.search(r"^write_bytes_sec *: 0$", kept, re.MULTILINE)
        assert "<read_iops_sec>100</read_iops_sec>" in virsh("dumpxml", name, "--inactive", uri=uri).expect()
        wrong = virsh("blkdeviotune", name, "vda", "--total-iops-sec", "1", "--read-iops-sec", "1", uri=uri)
        assert "cannot be set at the same time" in wrong.err
        virsh("blkdeviotune", name, "vda", "--read-iops-sec", "0", "--live", uri=uri).expect()
        assert "read_iops_sec" not in virsh("dumpxml", name, uri=uri).expect()

        virsh("blockresize", name, "vda", "3M", uri=uri).expect()
        assert re.search("Capacity: +3145728", virsh("domblkinfo", name, "vda", uri=uri).expect())
        assert "not found in the domain config" in virsh("blockresize", name, "vdx", "3M", uri=uri).err

        virsh("iothreadadd", name, "4", "--live", "--config", uri=uri).expect()
        shown = virsh("iothreadinfo", name, uri=uri).expect()
        assert sorted(re.findall(r"^ ([0-9]+) ", shown, re.MULTILINE)) == ["1", "4"]
        virsh("iothreadpin", name, "4", "0", "--live", uri=uri).expect()
        assert re.search(r"^ 4 +0$", virsh("iothreadinfo", name, uri=uri).expect(), re.MULTILINE)
        assert "already using" in virsh("iothreadadd", name, "4", uri=uri).err
        assert "used by disk 'vda'" in virsh("iothreaddel", name, "1", uri=uri).err
        assert "<iothread id='4'/>" in virsh("dumpxml", name, uri=uri).expect()
        virsh("iothreaddel", name, "4", "--live", "--config", uri=uri).expect()
        assert "<iothreadids>" not in virsh("dumpxml", name, uri=uri).expect()
        guest.watch.wait_verified()
