"""Places that are not PCI: ide and sata units, USB ports, virtio-serial ports; and the controllers they call for.

Source: conf/domain_conf.c (virDomainDiskDefAssignAddress), conf/domain_addr.c (USB and virtio-serial address sets).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from culvert.domain.address import DriveAddress, SerialPortAddress, UsbAddress
from culvert.domain.chardev import ChannelDevice, ConsoleDevice
from culvert.domain.controller import Controller, Hub
from culvert.domain.devices import Devices
from culvert.domain.disk import Disk
from culvert.ground import errors

# Units per controller, and per bus on it.
IDE_UNITS, IDE_UNITS_PER_BUS = 4, 2
SATA_UNITS = 6

# Ports of a virtio-serial controller whose XML says nothing; port 0 is for a console.
SERIAL_PORTS = 31

# USB controller model → root ports (libvirt's count of what QEMU's devices have).
USB_PORTS = {
    "piix3-uhci": 2,
    "ich9-ehci1": 6,
    "ich9-uhci1": 2,
    "ich9-uhci2": 2,
    "ich9-uhci3": 2,
    "qemu-xhci": 4,
    "nec-xhci": 4,
}
HUB_PORTS = 8


def assign(devices: Devices) -> Devices:
    """``devices`` with drive, virtio-serial and USB addresses for all that have none, and controllers for them.

    Raises ``errors.XMLError`` where two devices want one place, ``errors.ConfigUnsupported`` where none is left.
    """
    return _assign_usb(_assign_serial(_assign_drives(devices)))


def with_controller(devices: Devices, kind: str, index: int, model: str | None = None) -> Devices:
    """``devices`` with a controller of this kind and number, added after the others of its kind if it is missing."""
    held = devices.controllers
    if any(one.type == kind and one.index == index for one in held):
        return devices
    last = max((place for place, one in enumerate(held) if one.type == kind), default=len(held) - 1)
    made = Controller(type=kind, index=index, model=model)
    return replace(devices, controllers=(*held[: last + 1], made, *held[last + 1 :]))


def _assign_drives(devices: Devices) -> Devices:
    disks: list[Disk] = []
    taken: dict[tuple[str, DriveAddress], str] = {}
    for disk in devices.disks:
        if disk.bus == "virtio":
            disks.append(disk)
            continue
        place = disk.address if isinstance(disk.address, DriveAddress) else _drive(disk)
        other = taken.setdefault((disk.bus, place), disk.target.dev)
        if other != disk.target.dev:
            raise errors.XMLError(
                f"XML error: disks '{other}' and '{disk.target.dev}' have the same {disk.bus} address"
            )
        disks.append(replace(disk, address=place))
    devices = replace(devices, disks=tuple(disks))
    for kind in ("ide", "sata"):
        needed = [
            disk.address.controller for disk in disks if disk.bus == kind and isinstance(disk.address, DriveAddress)
        ]
        for index in range(max(needed, default=-1) + 1):
            devices = with_controller(devices, kind, index)
    return devices


def _drive(disk: Disk) -> DriveAddress:
    number = disk.target.number
    if disk.bus == "ide":
        controller, rest = divmod(number, IDE_UNITS)
        bus, unit = divmod(rest, IDE_UNITS_PER_BUS)
        return DriveAddress(controller=controller, bus=bus, unit=unit)
    controller, unit = divmod(number, SATA_UNITS)
    return DriveAddress(controller=controller, unit=unit)


def _assign_serial(devices: Devices) -> Devices:
    wanting = bool(devices.channels) or any(console.is_virtio for console in devices.consoles)
    if not wanting:
        return devices
    ported: tuple[ChannelDevice | ConsoleDevice, ...] = (*devices.channels, *devices.consoles)
    places = [one.address for one in ported if one.address is not None]
    for index in sorted({0, *(place.controller for place in places)}):
        devices = with_controller(devices, "virtio-serial", index)
    taken = {(place.controller, place.port) for place in places if place.port}
    channels: list[ChannelDevice] = []
    for channel in devices.channels:
        if channel.address is None or channel.address.port == 0:
            only = channel.address.controller if channel.address else None
            place, devices = _free_port(devices, taken, only)
            taken.add((place.controller, place.port))
            channel = replace(channel, address=place)  # noqa: PLW2901  # the completed one takes its place
        channels.append(channel)
    return replace(devices, channels=tuple(channels))


def _free_port(devices: Devices, taken: set[tuple[int, int]], only: int | None) -> tuple[SerialPortAddress, Devices]:
    indexes = []
    for one in devices.controllers:
        if one.type == "virtio-serial" and one.index is not None and only in (None, one.index):
            indexes.append(one.index)
            for port in range(1, one.ports or SERIAL_PORTS):
                if (one.index, port) not in taken:
                    return SerialPortAddress(controller=one.index, port=port), devices
    if only is not None:
        raise errors.ConfigUnsupported(f"unsupported configuration: virtio-serial controller {only} has no free port")
    index = max(indexes) + 1
    return SerialPortAddress(controller=index, port=1), with_controller(devices, "virtio-serial", index)


def _assign_usb(devices: Devices) -> Devices:
    plugged = [one for one in devices.inputs if one.bus == "usb"]
    if not plugged and not devices.hubs:
        return devices
    if not _usb_controllers(devices):
        raise errors.ConfigUnsupported("unsupported configuration: a USB device needs a USB controller")
    given = [place for place in (*(one.address for one in plugged), *(hub.address for hub in devices.hubs)) if place]
    fixed = [place for place in given if isinstance(place, UsbAddress) and place.port is not None]
    taken = {(place.bus, place.port) for place in fixed}
    if len(taken) < len(fixed):
        raise errors.XMLError("XML error: two USB devices have the same address")
    devices = _with_hubs(devices, taken, sum(1 for one in plugged if not _has_port(one.address)))
    inputs = []
    for one in devices.inputs:
        if one.bus == "usb" and not _has_port(one.address):
            place = _free_usb(devices, taken)
            if place is None:
                raise errors.ConfigUnsupported("unsupported configuration: no USB port is free")
            taken.add((place.bus, place.port))
            one = replace(one, address=place)  # noqa: PLW2901  # the completed one takes its place
        inputs.append(one)
    return replace(devices, inputs=tuple(inputs))


def _has_port(address: object) -> bool:
    return isinstance(address, UsbAddress) and address.port is not None


def _usb_controllers(devices: Devices) -> Sequence[Controller]:
    return [one for one in devices.controllers if one.type == "usb" and one.model != "none" and one.master is None]


def _usb_ports(devices: Devices) -> list[tuple[int, str]]:
    """All ports in the order in which they are given out: root ports, then those of hubs."""
    ports = []
    for one in _usb_controllers(devices):
        count = one.ports or USB_PORTS[one.model or "piix3-uhci"]
        ports += [(one.index or 0, str(port)) for port in range(1, count + 1)]
    for hub in devices.hubs:
        if hub.address is not None and hub.address.port is not None:
            ports += [(hub.address.bus, f"{hub.address.port}.{port}") for port in range(1, HUB_PORTS + 1)]
    return ports


def _free_usb(devices: Devices, taken: set[tuple[int, str | None]]) -> UsbAddress | None:
    for bus, port in _usb_ports(devices):
        if (bus, port) not in taken:
            return UsbAddress(bus=bus, port=port)
    return None


def _with_hubs(devices: Devices, taken: set[tuple[int, str | None]], wanted: int) -> Devices:
    """Give hubs their ports, and add hubs while there are fewer free ports than devices that want one."""
    hubs: list[Hub] = []
    for hub in devices.hubs:
        place = hub.address
        if not _has_port(place):
            place = _free_usb(replace(devices, hubs=tuple(hubs)), taken)
        if place is None:
            raise errors.ConfigUnsupported("unsupported configuration: no USB port is free for a hub")
        taken.add((place.bus, place.port))
        hubs.append(replace(hub, address=place))
    devices = replace(devices, hubs=tuple(hubs))
    while sum(1 for port in _usb_ports(devices) if port not in taken) < wanted:
        place = _free_usb(devices, taken)
        if place is None:
            raise errors.ConfigUnsupported("unsupported configuration: no USB port is free")
        taken.add((place.bus, place.port))
        devices = replace(devices, hubs=(*devices.hubs, Hub(type="usb", address=place)))
    return devices
