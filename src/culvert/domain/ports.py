"""Places that are not PCI: ide and sata units, USB ports, virtio-serial ports; and the controllers they call for.

Source: conf/domain_conf.c (virDomainDiskDefAssignAddress), conf/domain_addr.c (USB and virtio-serial address sets).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
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

# Ports behind ports: VIR_DOMAIN_DEVICE_USB_MAX_PORT_DEPTH.
MOST_USB_TIERS = 4

# The highest number of a controller: an address has one byte for it.
MOST_INDEX = 255


def assign(devices: Devices) -> Devices:
    """``devices`` with drive, virtio-serial and USB addresses for all that have none, and controllers for them.

    Raises ``errors.XMLError`` where two devices want one place, ``errors.ConfigUnsupported`` where none is left.
    """
    return _assign_usb(_assign_serial(_assign_drives(devices)))


def _with_controllers(devices: Devices, kind: str, indexes: Iterable[int]) -> Devices:
    """``devices`` with controllers of this kind and these numbers; those that were missing stand behind the others.

    Raises ``errors.ConfigUnsupported`` for a number that no address can name.
    """
    held = devices.controllers
    there = {one.index for one in held if one.type == kind}
    made = [Controller(type=kind, index=index) for index in indexes if index not in there]
    if made and (highest := max(one.index or 0 for one in made)) > MOST_INDEX:
        raise errors.ConfigUnsupported(
            f"unsupported configuration: {kind} controller {highest} would be needed: {MOST_INDEX} is the highest"
        )
    last = max((place for place, one in enumerate(held) if one.type == kind), default=len(held) - 1)
    return replace(devices, controllers=(*held[: last + 1], *made, *held[last + 1 :]))


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
        devices = _with_controllers(devices, kind, range(max(needed, default=-1) + 1))
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
    devices = _with_controllers(devices, "virtio-serial", sorted({0, *(place.controller for place in places)}))
    free = _SerialPorts(devices.controllers, {(place.controller, place.port) for place in places if place.port})
    channels: list[ChannelDevice] = []
    for channel in devices.channels:
        if channel.address is None or channel.address.port == 0:
            place = free.take(channel.address.controller if channel.address else None)
            channel = replace(channel, address=place)  # noqa: PLW2901  # the completed one takes its place
        channels.append(channel)
    devices = _with_controllers(devices, "virtio-serial", free.added)
    return replace(devices, channels=tuple(channels))


class _SerialPorts:
    """The virtio-serial ports that are free, given out in order; ``added``: controllers that this takes.

    A port that was given is not free again, so each is looked at once.
    """

    def __init__(self, controllers: Iterable[Controller], taken: set[tuple[int, int]]) -> None:
        self._taken = taken
        self._free = {
            one.index: self._ports(one.index, one.ports or SERIAL_PORTS)
            for one in controllers
            if one.type == "virtio-serial" and one.index is not None
        }
        self._open = list(reversed(self._free))
        self.added: list[int] = []

    def _ports(self, index: int, count: int) -> Iterator[SerialPortAddress]:
        for port in range(1, count):
            if (index, port) not in self._taken:
                yield SerialPortAddress(controller=index, port=port)

    def take(self, only: int | None) -> SerialPortAddress:
        """The next port of controller ``only``, or of any, added if none has one.

        Raises ``errors.ConfigUnsupported`` where that one is full.
        """
        if only is not None:
            if (place := next(self._free[only], None)) is None:
                raise errors.ConfigUnsupported(
                    f"unsupported configuration: virtio-serial controller {only} has no free port"
                )
            return place
        while self._open:
            if (place := next(self._free[self._open[-1]], None)) is not None:
                return place
            self._open.pop()
        index = max(self._free) + 1
        self.added.append(index)
        self._free[index] = self._ports(index, SERIAL_PORTS)
        self._open.append(index)
        return next(self._free[index])


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
    free = _UsbPorts(_usb_controllers(devices), taken)
    devices = _with_hubs(devices, free, sum(1 for one in plugged if not _has_port(one.address)))
    inputs = []
    for one in devices.inputs:
        if one.bus == "usb" and not _has_port(one.address):
            place = free.take("a device")
            one = replace(one, address=place)  # noqa: PLW2901  # the completed one takes its place
        inputs.append(one)
    return replace(devices, inputs=tuple(inputs))


def _has_port(address: object) -> bool:
    return isinstance(address, UsbAddress) and address.port is not None


def _usb_controllers(devices: Devices) -> Sequence[Controller]:
    return [one for one in devices.controllers if one.type == "usb" and one.model != "none" and one.master is None]


class _UsbPorts:
    """The USB ports that are free, in the order in which they are given out: root ports, then those of hubs.

    A port that was given is not free again, so each is looked at once.
    """

    def __init__(self, controllers: Iterable[Controller], taken: set[tuple[int, str | None]]) -> None:
        self._taken = taken
        self._free: deque[tuple[int, str]] = deque()
        for one in controllers:
            self._offer(one.index or 0, "", one.ports or USB_PORTS[one.model or "piix3-uhci"])

    def __len__(self) -> int:
        return len(self._free)

    def _offer(self, bus: int, prefix: str, count: int) -> None:
        ports = ((bus, f"{prefix}{port}") for port in range(1, count + 1))
        self._free.extend(place for place in ports if place not in self._taken)

    def add_hub(self, place: UsbAddress) -> None:
        """A hub sits at ``place``: its ports can be given out.

        Raises ``errors.ConfigUnsupported`` where it would be behind too many others.
        """
        if (place.port or "").count(".") + 1 >= MOST_USB_TIERS:
            raise errors.ConfigUnsupported(
                "unsupported configuration: no USB port is free for a hub: hubs behind hubs go"
                f" {MOST_USB_TIERS - 1} deep"
            )
        self._offer(place.bus, f"{place.port}.", HUB_PORTS)

    def take(self, who: str) -> UsbAddress:
        """The next port. Raises ``errors.ConfigUnsupported`` naming ``who`` where there is none."""
        if not self._free:
            raise errors.ConfigUnsupported(f"unsupported configuration: no USB port is free for {who}")
        bus, port = self._free.popleft()
        return UsbAddress(bus=bus, port=port)


def _with_hubs(devices: Devices, free: _UsbPorts, wanted: int) -> Devices:
    """Give hubs their ports, and add hubs while there are fewer free ports than devices that want one."""
    hubs: list[Hub] = []
    for hub in devices.hubs:
        place = hub.address if _has_port(hub.address) else free.take("a hub")
        assert place is not None
        free.add_hub(place)
        hubs.append(replace(hub, address=place))
    while len(free) < wanted:
        place = free.take("a hub")
        free.add_hub(place)
        hubs.append(Hub(type="usb", address=place))
    return replace(devices, hubs=tuple(hubs))
