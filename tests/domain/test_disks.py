"""Disks of every kind: what libvirt refuses of them, in its words, and what goes without saying."""

from __future__ import annotations

from dataclasses import replace

import pytest

from culvert.domain import iothreads, validate
from culvert.domain.address import DriveAddress, UsbAddress
from culvert.domain.defaults import complete
from culvert.domain.definition import DomainDef
from culvert.domain.disk import as_told, defined
from culvert.domain.disk_source import BackingStore, DiskSource
from culvert.domain.iothreads import IOThread, IOThreadIds
from culvert.domain.parse import parse
from culvert.ground import errors
from tests.domain import golden

DISK = "<disk><driver type='raw' {driver}/><source file='/d'/><target dev='{target}' {attributes}/>{rest}</disk>"


def guest(devices: str, top: str = "") -> DomainDef:
    text = golden.text("pc-minimal").replace("<devices>", f"<devices>{devices}", 1).replace("<os>", f"{top}<os>", 1)
    return complete(parse(text), golden.FACTS)


def disk(driver: str = "", target: str = "vda", attributes: str = "", rest: str = "") -> str:
    return DISK.format(driver=driver, target=target, attributes=attributes, rest=rest)


NETWORK = "<disk type='network'><source protocol='{}' name='n' {}>{}</source><target dev='vda'/></disk>"
WEB = "<host name='h'/>"


@pytest.mark.parametrize(
    ("devices", "says"),
    [
        (disk("queues='2'", "hda"), "only supported by virtio-blk"),
        (disk("event_idx='on'", "hda"), "event_idx mode supported only for virtio bus"),
        (disk("ioeventfd='on'", "sda"), "ioeventfd mode supported only for virtio bus"),
        (disk("packed='on'", "sda"), "packed driver option is only supported for virtio devices"),
        (disk("copy_on_read='on'", rest="<readonly/>"), "not compatible with read-only disk 'vda'"),
        (disk("iothread='1'", "sda"), "IOThreads not available for bus scsi target sda"),
        (disk("iothread='1'"), "Disk iothread '1' not defined in iothreadid"),
        (disk(rest="<vendor>v</vendor>"), "Only scsi disk supports vendor and product"),
        (disk(target="sda", rest="<vendor>123456789</vendor>"), "vendor is more than 8 characters"),
        (disk(target="sda", rest="<product>12345678901234567</product>"), "product is more than 16 characters"),
        (disk(rest="<wwn>5000c50015ea71ad</wwn>"), "Only ide and scsi disk support wwn"),
        (disk(attributes="rotation_rate='1'"), "rotation rate is only valid for SCSI/IDE/SATA bus"),
        (disk(attributes="removable='on'"), "removable is only valid for usb disks"),
        (disk(rest="<transient/>"), "/domain/devices/disk/transient"),
        (disk(rest="<iotune><group_name>g</group_name></iotune>"), "only together with settings"),
        (
            disk(rest="<iotune><total_iops_sec>1</total_iops_sec><read_iops_sec>1</read_iops_sec></iotune>"),
            "total and read/write iops_sec cannot be set at the same time",
        ),
        (
            disk(rest="<iotune><total_iops_sec>1000000000000001</total_iops_sec></iotune>"),
            "must be no more than 1000000000000000",
        ),
        (disk(target="sda", attributes="bus='usb'", rest="<geometry cyls='1' heads='1' secs='1'/>"), "'usb' bus"),
        (disk(rest="<geometry cyls='1' heads='1' secs='1' trans='lba'/>"), "can only be set for 'ide' bus"),
        (NETWORK.format("nbd", "query='q'", WEB), "query is supported only with HTTP"),
        (NETWORK.format("http", "", f"{WEB}<ssl verify='no'/>"), "only with HTTPS/FTPS"),
        (NETWORK.format("nbd", "", f"{WEB}<timeout seconds='1'/>"), "timeout is supported only with"),
        (NETWORK.format("nbd", "tls='yes'", WEB), "/domain/devices/disk/source/@tls"),
        (
            "<disk><driver type='vmdk'/><source file='/d'><encryption format='luks'>"
            "<secret type='passphrase' usage='u'/></encryption></source><target dev='vda'/></disk>",
            "encryption is supported only with",
        ),
        (
            "<controller type='scsi' model='lsilogic'><driver queues='2'/></controller>",
            "'queues' is only supported by virtio-scsi controller",
        ),
        (
            "<controller type='scsi' model='virtio-scsi'><driver iothread='3'/></controller>",
            "iothread '3' not defined in iothreadid",
        ),
    ],
)
def test_what_is_refused(devices: str, says: str) -> None:
    with pytest.raises(errors.RequestError, match=says):
        validate.check(guest(devices))


@pytest.mark.parametrize(
    ("devices", "says"),
    [
        (
            "<disk type='network'><source name='n'/><target dev='vda'/></disk>",
            "Missing required attribute 'protocol'",
        ),
        ("<disk type='network'><target dev='vda'/></disk>", "has no <source>"),
        (NETWORK.format("http", "", ""), "accepts only one host"),
        (NETWORK.format("nbd", "", "<host transport='unix'/>"), "missing socket for unix transport"),
        (NETWORK.format("nbd", "", "<host name='h' socket='/s'/>"), "does not support socket attribute"),
        ("<disk type='volume'><source pool='p'/><target dev='vda'/></disk>", "missing 'pool' or 'volume'"),
        (disk(target="sda", rest="<address type='usb' bus='0' port='1'/>"), "Invalid address type 'usb'"),
    ],
)
def test_what_cannot_be_completed(devices: str, says: str) -> None:
    with pytest.raises(errors.RequestError, match=says):
        guest(devices)


@pytest.mark.parametrize(
    ("target", "place"),
    [("sda", (0, 0)), ("sdg", (0, 6)), ("sdh", (1, 0)), ("sdo", (2, 0))],
)
def test_seven_to_a_scsi_controller(target: str, place: tuple[int, int]) -> None:
    made = guest(disk(target=target))
    assert made.devices.disks[0].address == DriveAddress(controller=place[0], unit=place[1])
    controllers = [(one.index, one.model) for one in made.devices.controllers if one.type == "scsi"]
    assert controllers == [(index, "lsilogic") for index in range(place[0] + 1)]


def test_usb_disks_come_before_other_usb_devices() -> None:
    made = guest(disk(target="sda", attributes="bus='usb'") + "<input type='tablet' bus='usb'/>")
    assert made.devices.disks[0].address == UsbAddress(bus=0, port="1")
    assert made.devices.inputs[0].address == UsbAddress(bus=0, port="2")


def test_a_group_of_disks_has_one_set_of_limits() -> None:
    limit = "<iotune><read_iops_sec>7</read_iops_sec><group_name>g</group_name></iotune>"
    made = guest(disk(rest="<iotune><group_name>g</group_name></iotune>") + disk(target="vdb", rest=limit))
    assert made.devices.disks[0].iotune == made.devices.disks[1].iotune
    other = limit.replace("7", "8")
    with pytest.raises(errors.ConfigUnsupported, match="different iotunes for disks"):
        validate.check(guest(disk(rest=limit) + disk(target="vdb", rest=other)))


@pytest.mark.parametrize(
    ("count", "named", "shown"),
    [
        (None, None, (None, None)),
        (2, None, (2, None)),
        (1, (5, 1), (2, (5, 1))),
        (3, (2,), (3, (2, 1, 3))),
    ],
)
def test_numbers_of_io_threads(
    count: int | None, named: tuple[int, ...] | None, shown: tuple[int | None, tuple[int, ...] | None]
) -> None:
    told = IOThreadIds(threads=tuple(IOThread(id=one) for one in named)) if named else None
    whole, ids = iothreads.complete(count, told)
    assert (whole, tuple(one.id for one in ids.threads) if ids else None) == shown
    with pytest.raises(errors.XMLError, match="duplicate iothread id '1'"):
        iothreads.complete(2, IOThreadIds(threads=(IOThread(id=1), IOThread(id=1))))


def test_what_only_a_run_has_is_left_out() -> None:
    """The place of a volume is in the status alone; images that were looked up are shown while the guest runs."""
    text = "<disk type='volume'><source pool='p' volume='v'/><target dev='vda'/></disk>"
    one = guest(text).devices.disks[0]
    assert one.source is not None
    below = BackingStore(type="file", format="raw", source=DiskSource(file="/b"), detected=True, index=2)
    runs = replace(one, source=replace(one.source, file="/place", index=1), backing_store=below)
    told = as_told(runs)
    assert told.source == DiskSource(pool="p", volume="v", index=1)
    assert told.backing_store == replace(below, detected=None)
    assert defined(runs) == one
