"""PCI addresses for devices that have none, as libvirt 9.0 assigns them for pc and q35.

Two runs. The first finds out which buses are missing: chipset devices get their fixed places, then every device in
libvirt's order takes the first free place of its kind, adding buses as needed; on a q35 whose XML names no PCI
controllers but the root, one root port is added for later hot-plug. The second run assigns for good, with all buses
known and controllers before everything else.

Source: qemu/qemu_domain_address.c (qemuDomainAssignPCIAddresses and below).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from culvert.domain import virtio
from culvert.domain.address import PciAddress
from culvert.domain.controller import MODEL_NAMES, VIRTIO_SCSI, Controller, ControllerTarget
from culvert.domain.definition import DomainDef
from culvert.domain.devices import Devices
from culvert.domain.pci import PLACE_OF_MODEL, Full, PciConnect, Slots, most_places
from culvert.ground import errors

# USB controllers of the ICH9 share a slot; the function tells which is which.
ICH9_FUNCTIONS = {"ich9-uhci1": 0, "ich9-uhci2": 1, "ich9-uhci3": 2, "ich9-ehci1": 7}

# On q35: (bus, slot) for the first and the second set of ICH9 USB controllers.
ICH9_SLOTS = ((0, 0x1D), (0, 0x1A))

Chipset = Mapping[tuple[str, str | None], PciAddress]

# Controllers that are functions of the chipset, by type and model.
PIIX3: Chipset = {
    ("ide", None): PciAddress(slot=1, function=1),
    ("usb", "piix3-uhci"): PciAddress(slot=1, function=2),
}
ICH9: Chipset = {("sata", None): PciAddress(slot=0x1F, function=2)}

EXPRESS_CONTROLLERS = frozenset({"qemu-xhci", "nec-xhci", VIRTIO_SCSI})
EXPRESS_CARDS = frozenset({"virtio", "virtio-non-transitional", "e1000e"})

PCI_SOUNDS = frozenset({"ich6", "ich9", "ac97", "es1370"})

VIDEO_PLACES = {
    "qxl": PciConnect.CONVENTIONAL,
    "vga": PciConnect.CONVENTIONAL,
    "cirrus": PciConnect.CONVENTIONAL,
    "virtio": PciConnect.EXPRESS,
    "bochs": PciConnect.EXPRESS,
}


@dataclass(frozen=True, slots=True)
class Seat:
    """A device that needs a PCI address: the field of ``Devices`` it is in, its position there, what it needs."""

    field: str
    position: int
    connect: PciConnect
    device: Any

    @property
    def who(self) -> str:
        return f"{self.field.removesuffix('s')} {self.position}"

    @property
    def has_address(self) -> bool:
        address = self.device.address
        return isinstance(address, PciAddress) and not address.wanted


def assign(definition: DomainDef) -> DomainDef:
    """``definition`` with a PCI address for every PCI device and the controllers this takes.

    The root controller must be there already. Addresses that are there stay; so a second run changes nothing. Raises
    ``errors.XMLError`` for addresses that collide or do not exist, and for more devices than there can be places.
    """
    _check_fits(definition)
    grown = _with_missing_buses(definition)
    while True:
        slots = Slots(_models(grown), grow=False)
        try:
            placed = _place(grown, slots)
        except Full as full:
            # A bridge added in the first run has pushed out the device that had its slot: a handful of times at
            # most, for each more bridge has room for thirty. Another root there is none.
            if full.connect is PciConnect.ROOT_PORT:
                raise errors.XMLError("XML error: no more PCI slots are available for root ports") from full
            extra = Slots(_models(grown), grow=True)
            extra.add("pcie-root-port" if full.connect is PciConnect.EXPRESS and extra.is_express else "pci-bridge")
            grown = _with_controllers(grown, extra.added)
            continue
        return _with_targets(_with_multifunction(_apply(grown, placed)))


def plug(definition: DomainDef) -> DomainDef:
    """``definition`` of a running domain with a place for the one PCI device that has none; no bus is added.

    Raises ``errors.ConfigUnsupported`` where no place of its kind is free.
    """
    try:
        return _apply(definition, _place(definition, Slots(_models(definition), grow=False)))
    except Full as full:
        raise errors.ConfigUnsupported(
            f"unsupported configuration: No more available PCI slots ({full.connect.value}) in domain"
            f" '{definition.name}'"
        ) from full


def _check_fits(definition: DomainDef) -> None:
    """Raise ``errors.XMLError`` where there are more devices than places, before any is placed."""
    q35 = definition.is_q35
    wanting = Counter(seat.connect for seat in _seats(definition) if not seat.has_address)
    for connect, count in wanting.items():
        if count > (most := most_places(connect, express=q35)):
            raise errors.XMLError(
                f"XML error: no more PCI buses are available: {count} devices want a place of kind {connect.value},"
                f" of which there are {most} at most"
            )


def _models(definition: DomainDef) -> dict[int, str]:
    return {one.index or 0: one.model or "pci-root" for one in definition.devices.controllers if one.type == "pci"}


def _with_missing_buses(definition: DomainDef) -> DomainDef:
    models = _models(definition)
    slots = Slots(models, grow=True)
    if not slots.is_express:
        # One slot is kept for a bridge, should one be needed.
        taken = _fixed(definition, slots)
        if slots.buses[0].next_free(PciConnect.PCI_BRIDGE):
            slots.take_next(PciConnect.PCI_BRIDGE, "a future pci-bridge")
        _automatic(definition, slots, taken)
    else:
        _place(definition, slots)
        if set(models) == {0} and slots.added:
            slots.take_next(PciConnect.EXPRESS, "a device plugged in later")
    return _with_controllers(definition, slots.added)


def _with_controllers(definition: DomainDef, added: dict[int, str]) -> DomainDef:
    if not added:
        return definition
    made = [Controller(type="pci", index=index, model=model) for index, model in added.items()]
    # Behind everything: they are found to be missing while places are given.
    held = (*definition.devices.controllers, *made)
    return replace(definition, devices=replace(definition.devices, controllers=held))


def _seats(definition: DomainDef) -> Iterator[Seat]:
    """Every PCI device, in the order in which libvirt gives out places (qemuDomainAssignDevicePCISlots)."""
    devices = definition.devices
    q35 = definition.is_q35
    express = PciConnect.EXPRESS if q35 else PciConnect.CONVENTIONAL
    for position, one in enumerate(devices.controllers):
        if one.type == "pci" and one.model in PLACE_OF_MODEL:
            yield Seat("controllers", position, PLACE_OF_MODEL[one.model], one)
    for position, folder in enumerate(devices.filesystems):
        kind = _virtio(folder.model)
        yield Seat("filesystems", position, express if kind is PciConnect.EXPRESS else kind, folder)
    for position, card in enumerate(devices.interfaces):
        kind = express if card.model in EXPRESS_CARDS else PciConnect.CONVENTIONAL
        yield Seat("interfaces", position, kind, card)
    for position, sound in enumerate(devices.sounds):
        if sound.model in PCI_SOUNDS:
            yield Seat("sounds", position, PciConnect.CONVENTIONAL, sound)
    yield from _controller_seats(devices, express)
    for field, wanted in OTHER_SEATS:
        held = getattr(devices, field)
        for position, one in enumerate(held if isinstance(held, tuple) else (held,)):
            needs = wanted(one) if one is not None else None
            if needs is not None:
                yield Seat(field, position, express if needs is PciConnect.EXPRESS else needs, one)


def _controller_seats(devices: Devices, express: PciConnect) -> Iterator[Seat]:
    for position, one in enumerate(devices.controllers):
        if one.type == "virtio-serial" or one.model in EXPRESS_CONTROLLERS:
            old = one.model == virtio.OLD
            yield Seat("controllers", position, PciConnect.CONVENTIONAL if old else express, one)
        elif one.type in ("usb", "scsi", "sata", "ide") and one.model != "none":
            yield Seat("controllers", position, PciConnect.CONVENTIONAL, one)


# The fields of ``Devices`` after network cards and controllers, in libvirt's order, and what a device there needs; a
# device that needs nothing is not on PCI. On a pc express is as good as conventional.
OTHER_SEATS: tuple[tuple[str, Callable[[Any], PciConnect | None]], ...] = (
    ("disks", lambda one: PciConnect.EXPRESS if one.bus == "virtio" else None),
    ("memballoon", lambda one: _virtio(one.model) if one.model != "none" else None),
    ("rngs", lambda one: _virtio(one.model)),
    ("watchdogs", lambda one: PciConnect.CONVENTIONAL if one.model == "i6300esb" else None),
    ("videos", lambda one: VIDEO_PLACES.get(one.model.type)),
    ("shmems", lambda one: PciConnect.CONVENTIONAL),
    ("inputs", lambda one: _virtio(one.model) if one.bus == "virtio" else None),
    ("serials", lambda one: PciConnect.CONVENTIONAL if one.target and one.target.type == "pci-serial" else None),
    ("iommu", lambda one: PciConnect.INTEGRATED if one.model == "virtio" else None),
    ("vsock", lambda one: _virtio(one.model)),
    ("memories", lambda one: PciConnect.EXPRESS if one.is_pci else None),
)


def _virtio(model: str | None) -> PciConnect:
    return PciConnect.CONVENTIONAL if model == virtio.OLD else PciConnect.EXPRESS


Placed = dict[tuple[str, int], PciAddress]


def _place(definition: DomainDef, slots: Slots) -> Placed:
    return _automatic(definition, slots, _fixed(definition, slots))


def _fixed(definition: DomainDef, slots: Slots) -> Placed:
    """Take what the XML names and what the chipset has at a fixed place; the places the chipset gave."""
    seats = list(_seats(definition))
    for seat in seats:
        if seat.has_address:
            slots.reserve(seat.device.address, seat.who, seat.connect)
    return _chipset_q35(seats, slots) if definition.is_q35 else _chipset_pc(seats, slots)


def _chipset_pc(seats: list[Seat], slots: Slots) -> Placed:
    """PIIX3: ISA bridge 1.0, IDE 1.1, USB 1.2, power management 1.3; the primary video card takes slot 2."""
    placed = _built_in(seats, slots, PIIX3)
    for function in (0, 3):
        slots.reserve(PciAddress(slot=1, function=function), "the PIIX3 chipset")
    _primary_video(placed, slots, seats, PciAddress(slot=2))
    return placed


def _chipset_q35(seats: list[Seat], slots: Slots) -> Placed:
    """ICH9: LPC bridge 1f.0, SATA 1f.2, SMBus 1f.3; the primary video card takes slot 1."""
    placed = _built_in(seats, slots, ICH9)
    for function in (0, 3):
        slots.reserve(PciAddress(slot=0x1F, function=function), "the ICH9 chipset")
    _primary_video(placed, slots, seats, PciAddress(slot=1))
    _first_ich9_sound(placed, slots, seats)
    _dmi_bridge(placed, slots, seats)
    return placed


def _built_in(seats: list[Seat], slots: Slots, chipset: Chipset) -> Placed:
    """Controllers with number 0 that are part of the chipset, and so where they are.

    Raises ``errors.InternalError`` for one whose address says something else.
    """
    placed: Placed = {}
    for seat in seats:
        one = seat.device
        place = chipset.get((one.type, one.model)) if seat.field == "controllers" and one.index == 0 else None
        if place is None:
            continue
        if not seat.has_address:
            _put(placed, slots, seat, place)
        elif one.address.domain or one.address.place != place.place:
            raise errors.InternalError(
                f"internal error: {one.type} controller 0 is part of the chipset: its PCI address is {place},"
                f" not {one.address}"
            )
    return placed


def _primary_video(placed: Placed, slots: Slots, seats: list[Seat], place: PciAddress) -> None:
    for seat in seats:
        wanted = seat.field == "videos" and seat.position == 0 and not seat.has_address
        if wanted and slots.is_free(place.bus, place.slot):
            _put(placed, slots, seat, place)


def _first_ich9_sound(placed: Placed, slots: Slots, seats: list[Seat]) -> None:
    """Where the ICH9 has it: qemuDomainValidateDevicePCISlotsQ35."""
    place = PciAddress(slot=0x1B)
    for seat in seats:
        if seat.field == "sounds" and seat.device.model == "ich9" and not seat.has_address:
            if slots.is_free(place.bus, place.slot):
                _put(placed, slots, seat, place)
            return


def _dmi_bridge(placed: Placed, slots: Slots, seats: list[Seat]) -> None:
    """Where a PC of that kind has its bridge to the old bus."""
    place = PciAddress(slot=0x1E)
    for seat in seats:
        wanted = seat.connect is PciConnect.DMI_TO_PCI_BRIDGE and not seat.has_address
        if wanted and slots.is_free(place.bus, place.slot):
            _put(placed, slots, seat, place)
            return


def _put(placed: Placed, slots: Slots, seat: Seat, address: PciAddress) -> None:
    slots.reserve(address, seat.who, seat.connect)
    placed[seat.field, seat.position] = address


def _automatic(definition: DomainDef, slots: Slots, placed: Placed) -> Placed:
    """Give every device that is left the first free place of its kind."""
    ich9 = _Ich9(definition)
    for seat in _seats(definition):
        key = (seat.field, seat.position)
        if seat.has_address or key in placed:
            continue
        if seat.field == "controllers" and seat.device.model in ICH9_FUNCTIONS:
            ich9.place(seat, slots, placed)
        else:
            placed[key] = slots.take_next(seat.connect, seat.who)
    return placed


class _Ich9:
    """Where the sets of ICH9 USB controllers are, by their number: each goes where the others of its set are."""

    def __init__(self, definition: DomainDef) -> None:
        self._q35 = definition.is_q35
        self._places: dict[int | None, tuple[int, int]] = {}
        for seat in _seats(definition):
            if seat.field == "controllers" and seat.device.model in ICH9_FUNCTIONS and seat.has_address:
                address = seat.device.address
                self._places.setdefault(seat.device.index, (address.bus, address.slot))

    def place(self, seat: Seat, slots: Slots, placed: Placed) -> None:
        """Give one that has no address its function in the slot of its set, or in a new one."""
        index = seat.device.index
        if index not in self._places:
            self._places[index] = self._new_place(seat, slots)
        bus, slot = self._places[index]
        _put(placed, slots, seat, PciAddress(bus=bus, slot=slot, function=ICH9_FUNCTIONS[seat.device.model]))

    def _new_place(self, seat: Seat, slots: Slots) -> tuple[int, int]:
        for bus, slot in ICH9_SLOTS if self._q35 else ():
            if slots.is_free(bus, slot):
                return bus, slot
        found = slots.take_next(seat.connect, seat.who)
        slots.buses[found.bus].used[found.slot] = set()
        return found.bus, found.slot


def _apply(definition: DomainDef, placed: Placed) -> DomainDef:
    changes: dict[str, Any] = {}
    for (field, position), address in placed.items():
        held = getattr(definition.devices, field)
        if isinstance(held, tuple):
            changed = changes.setdefault(field, list(held))
            changed[position] = replace(held[position], address=address)
        else:
            changes[field] = replace(held, address=address)
    for field, held in changes.items():
        changes[field] = tuple(held) if isinstance(held, list) else held
    return replace(definition, devices=replace(definition.devices, **changes))


def _with_multifunction(definition: DomainDef) -> DomainDef:
    """Mark function 0 of every slot that has more than one (qemuDomainPCIAddressSetMulti)."""
    held = [seat for seat in _seats(definition) if seat.has_address]
    others = {(seat.device.address.bus, seat.device.address.slot) for seat in held if seat.device.address.function}
    marked = {
        (seat.field, seat.position): replace(seat.device.address, multifunction=True)
        for seat in held
        if seat.device.address.function == 0
        and seat.device.address.multifunction is None
        and (seat.device.address.bus, seat.device.address.slot) in others
    }
    return _apply(definition, marked)


def _with_targets(definition: DomainDef) -> DomainDef:
    """Chassis and port numbers of bridges and ports that have none."""
    controllers = tuple(
        _with_target(one) if one.type == "pci" and one.model in MODEL_NAMES else one
        for one in definition.devices.controllers
    )
    controllers = _with_bus_numbers(controllers)
    return replace(definition, devices=replace(definition.devices, controllers=controllers))


def _with_bus_numbers(controllers: tuple[Controller, ...]) -> tuple[Controller, ...]:
    """Each expander below the lowest one that there is (qemuDomainAddressFindNewBusNr).

    Raises ``errors.ConfigUnsupported`` where there is none left.
    """
    lowest = min((one.target.bus_number or 256 for one in controllers if one.target), default=256)
    made = []
    for one in controllers:
        if one.model in EXPANDERS and (one.target is None or one.target.bus_number is None):
            lowest -= 2
            if lowest <= 0:
                raise errors.ConfigUnsupported(
                    f"unsupported configuration: No free busNr is left for PCI controller {one.index}: say one"
                )
            one = replace(one, target=replace(one.target or ControllerTarget(), bus_number=lowest))  # noqa: PLW2901
        made.append(one)
    return tuple(made)


EXPANDERS = frozenset({"pci-expander-bus", "pcie-expander-bus"})


def _with_target(controller: Controller) -> Controller:
    target = controller.target or ControllerTarget()
    if controller.model == "pcie-root-port":
        place = controller.address if isinstance(controller.address, PciAddress) else PciAddress()
        chassis = controller.index if target.chassis is None else target.chassis
        port = place.slot << 3 | place.function if target.port is None else target.port
        target = replace(target, chassis=chassis, port=port)
    elif controller.model == "pcie-switch-downstream-port":
        place = controller.address if isinstance(controller.address, PciAddress) else PciAddress()
        chassis = controller.index if target.chassis is None else target.chassis
        target = replace(target, chassis=chassis, port=place.slot if target.port is None else target.port)
    elif controller.model == "pci-bridge":
        target = replace(target, chassis_number=target.chassis_number or controller.index)
    return replace(
        controller,
        model_name=controller.model_name or MODEL_NAMES[controller.model or ""][0],
        target=None if target == ControllerTarget() else target,
    )
