"""The controllers libvirt 9.0 gives a pc or a q35: numbers, models, and those that are there by default.

Source: conf/domain_conf.c (virDomainControllerInsertPreAlloced), qemu/qemu_domain.c (qemuDomainDefAddDefaultDevices).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from culvert.domain import ports, virtio
from culvert.domain.controller import SCSI_DEFAULT, SCSI_MODELS, Controller
from culvert.domain.devices import Devices
from culvert.domain.pci import BUSES
from culvert.ground import errors

# By "is it a q35?".
MACHINES = {False: "pc", True: "q35"}
ROOTS = {False: "pci-root", True: "pcie-root"}
PCI_MODELS = {
    False: frozenset({"pci-root", "pci-bridge", "pci-expander-bus"}),
    True: frozenset(BUSES) - {"pci-root", "pci-expander-bus"},
}
ICH9 = "ich9-"
ICH9_SET = ("ich9-ehci1", "ich9-uhci1", "ich9-uhci2", "ich9-uhci3")  # they go by one number
USB_FALLBACK = "piix3-uhci"
NUMBERS = ports.MOST_INDEX + 1
USB_MODELS = {False: "piix3-uhci", True: "qemu-xhci"}


def complete(devices: Devices, *, q35: bool) -> Devices:
    """A number for every controller, the default ones where there are none, and the root of the PCI tree.

    Source: virDomainControllerInsertPreAlloced for the order, qemuDomainDefAddDefaultDevices for what is added.
    """
    _check_counts(devices.controllers)
    held = _in_order([_with_master(one) for one in devices.controllers])
    numbers = _Numbers(held)
    numbered = [_with_model(replace(one, index=numbers.give(one)), q35=q35) for one in held]
    kinds = {one.type for one in numbered}
    if "usb" not in kinds:
        numbered.append(Controller(type="usb", index=0, model=USB_MODELS[q35]))
    if q35 and "sata" not in kinds:
        numbered.append(Controller(type="sata", index=0))
    if not any(one.type == "pci" and one.index == 0 for one in numbered):
        _insert(numbered, Controller(type="pci", index=0, model=ROOTS[q35]))
    devices = replace(devices, controllers=tuple(numbered))
    check(devices, q35=q35)
    return devices


def with_scsi_models(devices: Devices) -> Devices:
    """QEMU's first choice for SCSI controllers that name no model (qemuDomainGetSCSIControllerModel)."""
    held = tuple(
        replace(one, model=one.model or SCSI_DEFAULT) if one.type == "scsi" else one for one in devices.controllers
    )
    return replace(devices, controllers=held)


def _check_counts(controllers: Sequence[Controller]) -> None:
    """Refuse more controllers of a type than there are numbers, before any is given one."""
    for kind, count in Counter(one.type for one in controllers).items():
        most = NUMBERS * (len(ICH9_SET) if kind == "usb" else 1)
        if count > most:
            raise errors.XMLError(f"XML error: {count} controllers of type '{kind}' are more than {most}")


def _in_order(controllers: Sequence[Controller]) -> list[Controller]:
    """As ``_insert`` one after the other."""
    kinds: dict[str, list[Controller]] = {}
    for one in controllers:
        _insert(kinds.setdefault(one.type, []), one)
    return [one for held in kinds.values() for one in held]


def _insert(held: list[Controller], new: Controller) -> None:
    """By type in the order in which types first come; within a type by number, unnumbered ones last."""
    if not held or (new.index is None and held[-1].type == new.type):
        held.append(new)
        return
    same = [place for place in range(len(held)) if held[place].type == new.type]
    at = same[-1] + 1 if same else len(held)
    # Those that are there are in order: from the end, the first one that is before it ends the search.
    for place in reversed(same):
        one = held[place]
        if one.index is None or new.index is None:
            continue
        if one.index < new.index or (one.index == new.index and new.master is not None):
            break
        if one.index > new.index or one.master is not None:  # a master comes before its companions
            at = place
    held.insert(at, new)


# A companion of the ICH9's set → the first port of its master's that it has, where nothing is said.
START_PORTS = {"ich9-uhci1": 0, "ich9-uhci2": 2, "ich9-uhci3": 4}


def _with_master(one: Controller) -> Controller:
    port = START_PORTS.get(one.model or "") if one.type == "usb" else None
    return one if port is None or one.master is not None else replace(one, master=port)


class _Numbers:
    """Gives each controller its number: its own, that of its ICH9 set, or the lowest that none of its type has.

    Source: virDomainDefPostParse's numbering of controllers (conf/domain_postparse.c).
    """

    def __init__(self, held: Sequence[Controller]) -> None:
        self._taken = {(one.type, one.index) for one in held}
        self._lowest = dict.fromkeys((one.type for one in held), 0)
        self._sets: dict[int, set[str | None]] = {}
        self._last: tuple[int, str | None] | None = None

    def give(self, one: Controller) -> int:
        """The number of ``one``. Raises ``errors.XMLError`` where none is left."""
        index = one.index if one.index is not None else self._shared(one)
        if index is None:
            index = self._free(one.type)
        self._taken.add((one.type, index))
        if one.type == "usb":
            # What has no model is a piix3-uhci.
            model = one.model or USB_FALLBACK
            self._sets.setdefault(index, set()).add(model)
            self._last = index, model
        return index

    def _shared(self, one: Controller) -> int | None:
        """The controllers of one ICH9 set go by one number: that of the set before, while it lacks this model."""
        if one.type != "usb" or self._last is None or not (one.model or "").startswith(ICH9):
            return None
        index, model = self._last
        return index if (model or "").startswith(ICH9) and one.model not in self._sets[index] else None

    def _free(self, kind: str) -> int:
        index = self._lowest[kind]
        while (kind, index) in self._taken:
            index += 1
        if index >= NUMBERS:
            raise errors.XMLError(f"XML error: no number is left for one more controller of type '{kind}'")
        self._lowest[kind] = index
        return index


def _with_model(one: Controller, *, q35: bool) -> Controller:
    if one.type == "usb":
        return replace(one, model=one.model or USB_FALLBACK)
    if one.type == "pci":
        fallback = ROOTS[q35] if one.index == 0 else ("pcie-root-port" if q35 else "pci-bridge")
        return replace(one, model=one.model or fallback)
    return one


MODELS = {
    "usb": ("none", *ports.USB_PORTS),
    "scsi": tuple(SCSI_MODELS),
    "virtio-serial": virtio.MODELS.words,
}


def check(devices: Devices, *, q35: bool) -> None:
    """Raise ``errors.ConfigUnsupported`` or ``errors.XMLError`` for a controller this machine cannot have."""
    seen: set[tuple[str, int | None]] = set()
    for one in devices.controllers:
        if one.type == "pci":
            _check_pci(one, q35=q35)
        elif one.model is not None and one.model not in MODELS.get(one.type, ()):
            raise errors.ConfigUnsupported(
                f"unsupported configuration: {one.type} controller model '{one.model}' is not supported by culvert"
            )
        if one.type == "ide" and q35:
            raise errors.ConfigUnsupported("unsupported configuration: machine q35 has no ide controller")
        if one.type == "ide" and one.index != 0:
            raise errors.ConfigUnsupported(
                f"unsupported configuration: machine pc has one ide controller, and none {one.index}"
            )
        if one.master is None or not (one.model or "").startswith(ICH9):
            if (one.type, one.index) in seen:
                raise errors.XMLError(f"XML error: Multiple '{one.type}' controllers with index '{one.index}'")
            seen.add((one.type, one.index))


def _check_pci(one: Controller, *, q35: bool) -> None:
    if one.model not in PCI_MODELS[q35]:
        raise errors.ConfigUnsupported(
            f"unsupported configuration: PCI controller model '{one.model}' is not for machine {MACHINES[q35]}"
        )
    if (one.index == 0) != (one.model == ROOTS[q35]):
        raise errors.XMLError(
            f"XML error: The PCI controller with index='0' must be model='{ROOTS[q35]}' for this machine type,"
            f" but model='{one.model}' was found with index='{one.index}'"
        )
