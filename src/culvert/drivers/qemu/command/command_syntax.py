"""QEMU's two ways of writing an option: comma-separated text, and JSON; and how devices name their bus."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, TypeAlias

from culvert.domain.address import PciAddress, UsbAddress
from culvert.domain.controller import ControllerDriver
from culvert.domain.definition import DomainDef
from culvert.domain.display import VideoDriver
from culvert.domain.filesystem import FilesystemDriver
from culvert.domain.virtio import VirtioDriver
from culvert.ground import errors


def comma(text: str) -> str:
    """``text`` as a value inside a comma-separated option: commas doubled (qemu-options, "-name")."""
    return text.replace(",", ",,")


def on_off(value: bool) -> str:
    """A switch in QEMU's spelling."""
    return "on" if value else "off"


def given(properties: Mapping[str, Any]) -> dict[str, Any]:
    """``properties`` without those that are ``None``."""
    return {name: value for name, value in properties.items() if value is not None}


def option(flag: str, properties: Mapping[str, Any]) -> list[str]:
    """``flag`` with a JSON argument; properties that are ``None`` are left out."""
    return [flag, json.dumps(given(properties), separators=(",", ":"), ensure_ascii=False)]


def device(properties: Mapping[str, Any]) -> list[str]:
    """``-device`` in JSON."""
    return option("-device", properties)


Options: TypeAlias = VirtioDriver | VideoDriver | ControllerDriver | FilesystemDriver


def virtio(name: str, model: str | None, driver: Options | None) -> dict[str, Any]:
    """What a device of ``name`` begins with: its type, by its model, and its options."""
    tail = "" if model in (None, "virtio") else str(model).removeprefix("virtio")
    told: dict[str, Any] = {"driver": f"{name}-pci{tail}"}
    return {**told, **virtio_options(driver)}


def virtio_options(driver: Options | None) -> dict[str, Any]:
    """``<driver>`` of a virtio device."""
    if driver is None:
        return {}
    return {
        "iommu_platform": driver.iommu,
        "ats": driver.ats,
        "packed": driver.packed,
        "page-per-vq": driver.page_per_vq,
    }


def pci(definition: DomainDef, address: object, who: str) -> dict[str, Any]:
    """The ``bus`` and ``addr`` properties of a PCI device; ``who`` names it in the error.

    Raises ``errors.InternalError`` for a definition that was not completed or names a bus that is not there.
    """
    if not isinstance(address, PciAddress):
        raise errors.InternalError(f"internal error: {who} has no PCI address")
    for controller in definition.devices.controllers:
        if controller.type == "pci" and controller.index == address.bus:
            slot = f"0x{address.slot:x}" + (f".0x{address.function:x}" if address.function else "")
            # The root of a q35 has the name that QEMU gives it, whatever a user calls it.
            bus = "pcie.0" if controller.model == "pcie-root" else controller.alias
            return {"bus": bus, "multifunction": address.multifunction, "addr": slot}
    raise errors.InternalError(f"internal error: {who} is on PCI bus {address.bus}, which has no controller")


def controller_alias(definition: DomainDef, kind: str, index: int, who: str) -> str:
    """The id of the controller of ``kind`` with number ``index``. Raises as ``pci``."""
    for controller in definition.devices.controllers:
        if controller.type == kind and controller.index == index and controller.alias:
            return controller.alias
    raise errors.InternalError(f"internal error: {who} is on {kind} controller {index}, which is not there")


def usb_place(definition: DomainDef, address: object, who: str) -> dict[str, Any]:
    """The ``bus`` and ``port`` properties of a USB device. Raises as ``pci``."""
    if not isinstance(address, UsbAddress) or address.port is None:
        raise errors.InternalError(f"internal error: {who} has no USB address")
    return {"bus": f"{controller_alias(definition, 'usb', address.bus, who)}.0", "port": address.port}
