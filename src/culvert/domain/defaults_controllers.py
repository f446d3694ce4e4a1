"""The controllers libvirt 9.0 gives a pc or a q35: numbers, models, and those that are there by default.

Source: conf/domain_conf.c (virDomainControllerInsertPreAlloced), qemu/qemu_domain.c (qemuDomainDefAddDefaultDevices).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from culvert.domain import ports
from culvert.domain.controller import Controller
from culvert.domain.devices import Devices
from culvert.ground import errors

# By "is it a q35?".
MACHINES = {False: "pc", True: "q35"}
ROOTS = {False: "pci-root", True: "pcie-root"}
PCI_MODELS = {
    False: frozenset({"pci-root", "pci-bridge"}),
    True: frozenset({"pcie-root", "pcie-root-port", "pcie-to-pci-bridge", "pci-bridge"}),
}
ICH9 = "ich9-"
USB_MODELS = {False: "piix3-uhci", True: "qemu-xhci"}


def complete(devices: Devices, *, q35: bool) -> Devices:
    """A number for every controller, the default ones where there are none, and the root of the PCI tree.

    Source: virDomainControllerInsertPreAlloced for the order, qemuDomainDefAddDefaultDevices for what is added.
    """
    held: list[Controller] = []
    for one in devices.controllers:
        _insert(held, one)
    root = ROOTS[q35]
    numbered: list[Controller] = []
    for one in held:
        index = one.index if one.index is not None else _shared_index(one, numbered)
        if index is None:
            index = _free_index(one.type, held, numbered)
        numbered.append(_with_model(replace(one, index=index), q35=q35))
    kinds = {one.type for one in numbered}
    if "usb" not in kinds:
        numbered.append(Controller(type="usb", index=0, model=USB_MODELS[q35]))
    if q35 and "sata" not in kinds:
        numbered.append(Controller(type="sata", index=0))
    if not any(one.type == "pci" and one.index == 0 for one in numbered):
        _insert(numbered, Controller(type="pci", index=0, model=root))
    devices = replace(devices, controllers=tuple(numbered))
    check(devices, q35=q35)
    return devices


def _insert(held: list[Controller], new: Controller) -> None:
    """By type in the order in which types first come; within a type by number, unnumbered ones last."""
    same = [place for place, one in enumerate(held) if one.type == new.type]
    after = [place for place in same if new.index is not None and (held[place].index or 0) > new.index]
    held.insert(after[0] if after else same[-1] + 1 if same else len(held), new)


def _shared_index(one: Controller, numbered: Sequence[Controller]) -> int | None:
    """The controllers of one ICH9 set go by one number: that of the set before, while it lacks this model.

    Source: virDomainDefPostParse's numbering of controllers (conf/domain_postparse.c).
    """
    before = [other for other in numbered if other.type == "usb"]
    if one.type != "usb" or not before or not (one.model or "").startswith(ICH9):
        return None
    last = before[-1]
    taken = {other.model for other in before if other.index == last.index}
    return last.index if (last.model or "").startswith(ICH9) and one.model not in taken else None


def _free_index(kind: str, held: Sequence[Controller], numbered: Sequence[Controller]) -> int:
    taken = {one.index for one in (*held, *numbered) if one.type == kind}
    return next(index for index in range(256) if index not in taken)


def _with_model(one: Controller, *, q35: bool) -> Controller:
    if one.type == "usb":
        return replace(one, model=one.model or "piix3-uhci")
    if one.type == "pci":
        fallback = ROOTS[q35] if one.index == 0 else ("pcie-root-port" if q35 else "pci-bridge")
        return replace(one, model=one.model or fallback)
    return one


def check(devices: Devices, *, q35: bool) -> None:
    """Raise ``errors.ConfigUnsupported`` or ``errors.XMLError`` for a controller this machine cannot have."""
    seen: set[tuple[str, int | None]] = set()
    for one in devices.controllers:
        if one.type == "pci":
            _check_pci(one, q35=q35)
        elif one.model is not None and (one.type != "usb" or one.model not in ("none", *ports.USB_PORTS)):
            raise errors.ConfigUnsupported(
                f"unsupported configuration: {one.type} controller model '{one.model}' is not supported by culvert"
            )
        if one.type == "ide" and (q35 or one.index != 0):
            raise errors.ConfigUnsupported(
                f"unsupported configuration: machine {MACHINES[q35]} has no ide controller {one.index}"
            )
        if one.master is None:
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
