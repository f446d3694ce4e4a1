"""Units of disks, ports of virtio-serial and USB, and the controllers they call for."""

from __future__ import annotations

import pytest

from culvert.domain.address import DriveAddress, SerialPortAddress, UsbAddress
from culvert.domain.defaults import complete
from culvert.domain.devices import Devices
from culvert.domain.parse import parse
from culvert.ground import errors
from tests.domain import golden


def devices(xml: str, machine: str = "pc") -> Devices:
    text = f"""<domain type='qemu'><name>g</name><memory>65536</memory><os><type machine='{machine}'>hvm</type></os>
    <devices>{xml}</devices></domain>"""
    return complete(parse(text), golden.FACTS).devices


def disk(name: str) -> str:
    bus = " bus='sata'" if name.startswith("sd") else ""
    return f"<disk><source file='/d/{name}'/><target dev='{name}'{bus}/></disk>"


def test_a_target_sd_that_names_no_bus_is_on_the_controller_that_qemu_has_for_scsi() -> None:
    made = devices("<disk><source file='/d'/><target dev='sda'/></disk>")
    assert [one.bus for one in made.disks] == ["scsi"]
    assert [one.model for one in made.controllers if one.type == "scsi"] == ["lsilogic"]


@pytest.mark.parametrize(
    ("name", "address"),
    [
        ("hda", DriveAddress()),
        ("hdb", DriveAddress(unit=1)),
        ("hdd", DriveAddress(bus=1, unit=1)),
        ("sdf", DriveAddress(unit=5)),
        ("sdg", DriveAddress(controller=1)),
        ("sdaa", DriveAddress(controller=4, unit=2)),
    ],
)
def test_a_targets_name_is_its_unit(name: str, address: DriveAddress) -> None:
    assert devices(disk(name)).disks[0].address == address


def test_every_sata_controller_up_to_the_last_used_is_there() -> None:
    held = devices(disk("sdm")).controllers
    assert [one.index for one in held if one.type == "sata"] == [0, 1, 2]


def test_disks_of_a_bus_stand_in_the_order_of_their_names() -> None:
    held = devices(disk("vdb") + disk("sdb") + disk("vdaa") + disk("vda") + disk("sda")).disks
    assert [one.target.dev for one in held] == ["vda", "vdb", "vdaa", "sda", "sdb"]


CHANNEL = "<channel type='null'><target type='virtio'/>{}</channel>"
PORT = "<address type='virtio-serial' controller='{}' port='{}'/>"


def test_channels_take_the_first_free_port() -> None:
    held = devices(CHANNEL.format("") + CHANNEL.format(PORT.format(0, 1)) + CHANNEL.format(PORT.format(1, 0)))
    assert [one.address for one in held.channels] == [
        SerialPortAddress(port=2),
        SerialPortAddress(port=1),
        SerialPortAddress(controller=1, port=1),
    ]


def test_a_full_controller_is_followed_by_another() -> None:
    held = devices(CHANNEL.format("") * 31)
    assert [one.index for one in held.controllers if one.type == "virtio-serial"] == [0, 1]
    assert held.channels[-1].address == SerialPortAddress(controller=1, port=1)


def test_a_full_controller_that_was_asked_for_is_refused() -> None:
    controller = "<controller type='virtio-serial' index='0' ports='2'/>"
    with pytest.raises(errors.ConfigUnsupported, match="controller 0 has no free port"):
        devices(controller + CHANNEL.format(PORT.format(0, 1)) + CHANNEL.format(PORT.format(0, 0)))


TABLET = "<input type='tablet' bus='usb'>{}</input>"


def test_usb_devices_spill_onto_hubs() -> None:
    held = devices(TABLET.format("") * 12)
    assert [hub.address for hub in held.hubs] == [UsbAddress(port="1"), UsbAddress(port="2")]
    places = [one.address.port for one in held.inputs if isinstance(one.address, UsbAddress)]
    assert places == [*(f"1.{port}" for port in range(1, 9)), *(f"2.{port}" for port in range(1, 5))]


def test_usb_ports_that_were_asked_for_are_kept() -> None:
    held = devices(TABLET.format("") + TABLET.format("<address type='usb' bus='0' port='1'/>"))
    assert [one.address.port for one in held.inputs if isinstance(one.address, UsbAddress)] == ["2", "1"]


def test_one_usb_port_is_for_one_device() -> None:
    with pytest.raises(errors.XMLError, match="two USB devices"):
        devices(TABLET.format("<address type='usb' bus='0' port='1'/>") * 2)
