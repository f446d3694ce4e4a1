"""Places that are not PCI: ide, sata, scsi units, USB ports, virtio-serial ports; and the controllers they call for.

Source: conf/domain_conf.c (virDomainDiskDefAssignAddress), conf/domain_addr.c (USB and virtio-serial address sets).
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from culvert.domain.address import CcidAddress, DriveAddress, PciAddress, SerialPortAddress, UsbAddress
from culvert.domain.chardev import ChannelDevice, ConsoleDevice
from culvert.domain.controller import Controller, Hub
from culvert.domain.devices import Devices
from culvert.domain.disk import Disk
from culvert.ground import errors

# Units per controller, and per bus on it.
IDE_UNITS, IDE_UNITS_PER_BUS = 4, 2
SATA_UNITS = 6
FDC_UNITS = 2
SCSI_UNITS = 7  # of a narrow bus, which libvirt counts by whatever the controller is (virDomainDiskDefAssignAddress)

# Ports of a virtio-serial controller whose XML says nothing; port 0 is for a console.
SERIAL_PORTS = 31

# USB controller model → root ports (libvirt's count of what QEMU's devices have).
USB_PORTS = {
    "piix3-uhci": 2,
    "piix4-uhci": 2,
    "ehci": 6,
    "vt82c686b-uhci": 2,
    "pci-ohci": 3,
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
    return _assign_usb(_assign_cards(_assign_serial(_assign_drives(devices))))


def _with_controllers(devices: Devices, kind: str, indexes: Iterable[int]) -> Devices:
    """``devices`` with controllers of this kind and these numbers; those that were missing stand behind everything.

    Raises ``errors.ConfigUnsupported`` for a number that no address can name.
    """
    there = {one.index for one in devices.controllers if one.type == kind}
    made = [Controller(type=kind, index=index) for index in indexes if index not in there]
    if made and (highest := max(one.index or 0 for one in made)) > MOST_INDEX:
        raise errors.ConfigUnsupported(
            f"unsupported configuration: {kind} controller {highest} would be needed: {MOST_INDEX} is the highest"
        )
    return replace(devices, controllers=(*devices.controllers, *made))


def _assign_drives(devices: Devices) -> Devices:
    disks: list[Disk] = []
    taken: dict[tuple[str, DriveAddress], str] = {}
    for disk in devices.disks:
        if disk.bus in ("virtio", "usb"):
            if isinstance(disk.address, DriveAddress):
                raise errors.ConfigUnsupported(
                    f"unsupported configuration: disk '{disk.target.dev}' on bus '{disk.bus}' has no drive address"
                )
            disks.append(disk)
            continue
        if isinstance(disk.address, PciAddress | UsbAddress):
            kind = "pci" if isinstance(disk.address, PciAddress) else "usb"
            raise errors.ConfigUnsupported(
                f"unsupported configuration: Invalid address type '{kind}' for the disk '{disk.target.dev}' with the"
                f" bus type '{disk.bus}'"
            )
        place = disk.address if isinstance(disk.address, DriveAddress) else _drive(disk)
        other = taken.setdefault((disk.bus, place), disk.target.dev)
        if other != disk.target.dev:
            raise errors.ConfigUnsupported(
                f"unsupported configuration: disks '{other}' and '{disk.target.dev}' have the same {disk.bus} address"
            )
        disks.append(replace(disk, address=place))
    devices = replace(devices, disks=tuple(disks))
    for kind in ("scsi", "fdc", "ide", "sata"):
        needed = [
            disk.address.controller for disk in disks if disk.bus == kind and isinstance(disk.address, DriveAddress)
        ]
        highest = max(needed, default=-1)
        if kind in ("ide", "fdc") and highest > 0:
            raise errors.InternalError(f"internal error: there is one {kind} controller, and no {highest} for a disk")
        devices = _with_controllers(devices, kind, range(highest + 1))
    return devices


UNITS = {"fdc": FDC_UNITS, "sata": SATA_UNITS, "scsi": SCSI_UNITS}


def _drive(disk: Disk) -> DriveAddress:
    number = disk.target.number
    if disk.bus == "ide":
        controller, rest = divmod(number, IDE_UNITS)
        bus, unit = divmod(rest, IDE_UNITS_PER_BUS)
        return DriveAddress(controller=controller, bus=bus, unit=unit)
    controller, unit = divmod(number, UNITS[disk.bus])
    return DriveAddress(controller=controller, unit=unit)


def _assign_serial(devices: Devices) -> Devices:
    wanting = any(one.target.type == "virtio" for one in devices.channels) or any(
        console.is_virtio for console in devices.consoles
    )
    if not wanting:
        return devices
    ported: list[ChannelDevice | ConsoleDevice] = [
        *(one for one in devices.channels if one.target.type == "virtio"),
        *(one for one in devices.consoles if one.is_virtio),
    ]
    if any(one.address is not None and not isinstance(one.address, SerialPortAddress) for one in ported):
        raise errors.XMLError("XML error: a virtio-serial port has an address of another type")
    places = [one.address for one in ported if isinstance(one.address, SerialPortAddress)]
    needed = [one.address.controller if isinstance(one.address, SerialPortAddress) else 0 for one in ported]
    devices = _with_controllers(devices, "virtio-serial", dict.fromkeys(needed))
    _check_serial_ports(places, devices.controllers)
    free = _SerialPorts(devices.controllers, {(place.controller, place.port) for place in places if place.port})
    channels: list[ChannelDevice] = []
    for channel in devices.channels:
        if channel.target.type == "virtio" and (channel.address is None or channel.address.port == 0):
            place = free.take(channel.address.controller if channel.address else None)
            channel = replace(channel, address=place)  # noqa: PLW2901  # the completed one takes its place
        channels.append(channel)
    devices = _with_controllers(devices, "virtio-serial", free.added)
    return replace(devices, channels=tuple(channels))


def _check_serial_ports(places: Sequence[SerialPortAddress], controllers: Iterable[Controller]) -> None:
    """Raise ``errors.XMLError`` for a port that its controller does not have, or that two devices want."""
    counts = {one.index: one.ports or SERIAL_PORTS for one in controllers if one.type == "virtio-serial"}
    for place, wanting in Counter((place.controller, place.port) for place in places).items():
        controller, port = place
        if port >= counts[controller]:
            raise errors.XMLError(f"XML error: virtio-serial controller {controller} does not have port {port}")
        if port and wanting > 1:
            raise errors.XMLError(f"XML error: two devices want port {port} of virtio-serial controller {controller}")


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
        self._open = sorted(self._free, reverse=True)
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


# The fields of ``Devices`` whose devices may be on USB, in the order in which these are given ports, and which are.
# Source: conf/domain_conf.c, virDomainUSBDeviceDefForeach.
USB_SEATS: tuple[tuple[str, Callable[[Any], bool]], ...] = (
    ("disks", lambda one: one.bus == "usb"),
    ("controllers", lambda one: one.type == "ccid"),
    ("inputs", lambda one: one.bus == "usb"),
    ("serials", lambda one: one.target is not None and one.target.type == "usb-serial"),
    ("sounds", lambda one: one.is_usb),
    ("redirdevs", lambda one: True),
)


def _assign_usb(devices: Devices) -> Devices:
    plugged = [one for field, on_usb in USB_SEATS for one in getattr(devices, field) if on_usb(one)]
    if not plugged and not devices.hubs:
        return devices
    if not _usb_controllers(devices):
        raise errors.ConfigUnsupported("unsupported configuration: a USB device needs a USB controller")
    given = [place for place in (*(one.address for one in plugged), *(hub.address for hub in devices.hubs)) if place]
    if any(not isinstance(place, UsbAddress) for place in given):
        raise errors.XMLError("XML error: a device on bus 'usb' has an address of another type")
    fixed = [place for place in given if isinstance(place, UsbAddress) and not place.wanted]
    taken = {(place.bus, place.port) for place in fixed}
    if len(taken) < len(fixed):
        raise errors.XMLError("XML error: two USB devices have the same address")
    free = _UsbPorts(_usb_controllers(devices), taken)
    devices = _with_hubs(devices, free)
    for one in plugged:
        if isinstance(one.address, UsbAddress):
            free.check(one.address)
    devices = _with_more_hubs(devices, free, sum(1 for one in plugged if not _has_port(one.address)))

    def placed(one: Any) -> Any:
        if _has_port(one.address):
            return one
        return replace(
            one, address=free.take("a device", one.address.bus if isinstance(one.address, UsbAddress) else None)
        )

    changes = {
        field: tuple(placed(one) if on_usb(one) else one for one in getattr(devices, field))
        for field, on_usb in USB_SEATS
    }
    return replace(devices, **changes)  # type: ignore[arg-type]  # values of each field's own type


def _assign_cards(devices: Devices) -> Devices:
    """A slot of a reader for each card, and the readers for that: one has one (virDomainSmartcardDefParseXML)."""
    taken = {one.address.slot for one in devices.smartcards if one.address is not None}
    made = []
    for one in devices.smartcards:
        if one.address is None:
            slot = next(number for number in range(len(taken) + 1) if number not in taken)
            taken.add(slot)
            one = replace(one, address=CcidAddress(slot=slot))  # noqa: PLW2901  # the placed one takes its place
        made.append(one)
    needed = [one.address.controller for one in made if one.address is not None]
    devices = replace(devices, smartcards=tuple(made))
    return _with_controllers(devices, "ccid", range(max(needed, default=-1) + 1))


def _has_port(address: object) -> bool:
    return isinstance(address, UsbAddress) and not address.wanted


def _usb_controllers(devices: Devices) -> Sequence[Controller]:
    return [one for one in devices.controllers if one.type == "usb" and one.model != "none" and one.master is None]


class _UsbPorts:
    """The USB ports that are free, in the order in which they are given out: root ports, then those of hubs.

    A port that was given is not free again, so each is looked at once.
    """

    def __init__(self, controllers: Iterable[Controller], taken: set[tuple[int, str | None]]) -> None:
        self._taken = taken
        self._there: set[tuple[int, str | None]] = set()
        self._given: set[tuple[int, str]] = set()
        self._buses: dict[int, deque[tuple[int, str]]] = {}
        self._free: deque[tuple[int, str]] = deque()
        for one in controllers:
            self._buses.setdefault(one.index or 0, deque())
            self._offer(one.index or 0, "", one.ports or USB_PORTS[one.model or "piix3-uhci"])

    def __len__(self) -> int:
        return len(self._there - self._taken) - len(self._given)

    def _offer(self, bus: int, prefix: str, count: int) -> None:
        ports = [(bus, f"{prefix}{port}") for port in range(1, count + 1)]
        self._there.update(ports)
        free = [place for place in ports if place not in self._taken]
        self._free.extend(free)
        self._buses[bus].extend(free)

    def check(self, place: UsbAddress) -> None:
        """Raise ``errors.XMLError`` unless there is such a bus, and such a port where one is named."""
        if place.bus not in self._buses:
            raise errors.XMLError(f"XML error: there is no USB bus {place.bus}: no controller has this index")
        if not place.wanted and (place.bus, place.port) not in self._there:
            raise errors.XMLError(f"XML error: USB bus {place.bus} has no port {place.port}")

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

    def take(self, who: str, bus: int | None = None) -> UsbAddress:
        """The next port, of bus ``bus`` or of any.

        Raises ``errors.ConfigUnsupported`` naming ``who`` where there is none.
        """
        free = self._free if bus is None else self._buses[bus]
        while free:
            place = free.popleft()
            if place not in self._given:
                self._given.add(place)
                return UsbAddress(bus=place[0], port=place[1])
        raise errors.ConfigUnsupported(f"unsupported configuration: no USB port is free for {who}")


def _with_hubs(devices: Devices, free: _UsbPorts) -> Devices:
    """Give hubs their ports. Raises as ``_UsbPorts`` does."""
    hubs: list[Hub] = []
    for hub in devices.hubs:
        place = hub.address
        if place is not None:
            free.check(place)
        if place is None or place.wanted:
            place = free.take("a hub", place.bus if place else None)
        free.add_hub(place)
        hubs.append(replace(hub, address=place))
    return replace(devices, hubs=tuple(hubs))


def _with_more_hubs(devices: Devices, free: _UsbPorts, wanted: int) -> Devices:
    """Add hubs while there are fewer free ports than devices that want one."""
    hubs = list(devices.hubs)
    missing = wanted - len(free)
    while missing > 0:
        place = free.take("a hub")
        free.add_hub(place)
        hubs.append(Hub(type="usb", address=place))
        missing -= HUB_PORTS - 1
    return replace(devices, hubs=tuple(hubs))
