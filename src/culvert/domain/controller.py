"""``<controller>``: pci, usb, ide, sata, virtio-serial; and ``<hub>``.

Source: docs/formatdomain, "Controllers" and "Hub devices".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from culvert.domain import address
from culvert.domain.binding import attribute, child, lone, variant
from culvert.domain.scalars import ANY_TEXT, UINT, Integer, one_of
from culvert.ground import errors

PCI_MODELS = ("pci-root", "pcie-root", "pci-bridge", "pcie-root-port", "pcie-to-pci-bridge")
USB_MODELS = ("piix3-uhci", "ich9-ehci1", "ich9-uhci1", "ich9-uhci2", "ich9-uhci3", "qemu-xhci", "nec-xhci", "none")

CHASSIS_NUMBER = Integer(low=1, high=255, any_base=True, refusal=errors.ConfigUnsupported)


@dataclass(frozen=True, slots=True, kw_only=True)
class ControllerTarget:
    """Guest-visible numbers of a PCI bridge or port."""

    chassis_number: Annotated[int | None, attribute("chassisNr", CHASSIS_NUMBER)] = None
    chassis: Annotated[int | None, attribute("chassis", Integer(high=255, any_base=True))] = None
    port: Annotated[int | None, attribute("port", Integer(high=255, width=1))] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Controller:
    """A bus. ``index`` None: the next free one of its type. ``model_name``: QEMU's name of a PCI controller."""

    type: Annotated[str, attribute("type", one_of("pci", "usb", "ide", "sata", "fdc", "virtio-serial", "ccid"))]
    index: Annotated[int | None, attribute("index", Integer(high=255))] = None
    model: Annotated[str | None, attribute("model", one_of(*PCI_MODELS, *USB_MODELS))] = None
    ports: Annotated[int | None, attribute("ports", Integer(low=1, high=511))] = None
    vectors: Annotated[int | None, attribute("vectors", UINT)] = None
    model_name: Annotated[
        str | None, lone("model", "name", one_of("pci-bridge", "pcie-root-port", "pcie-pci-bridge"))
    ] = None
    target: Annotated[ControllerTarget | None, child("target", ControllerTarget)] = None
    alias: Annotated[str | None, lone("alias", "name", ANY_TEXT)] = None
    master: Annotated[int | None, lone("master", "startport", Integer(high=255))] = None
    address: Annotated[address.PciAddress | address.UsbAddress | None, variant("address", "type", address.INPUT)] = (
        None
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Hub:
    """A USB hub of eight ports."""

    type: Annotated[str, attribute("type", one_of("usb"))]
    alias: Annotated[str | None, lone("alias", "name", ANY_TEXT)] = None
    address: Annotated[address.UsbAddress | None, variant("address", "type", address.USB)] = None
