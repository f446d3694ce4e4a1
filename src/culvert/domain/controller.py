"""``<controller>``: pci, usb, scsi, ide, sata, virtio-serial; and ``<hub>``.

Source: docs/formatdomain, "Controllers" and "Hub devices".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from culvert.domain import address, virtio
from culvert.domain.binding import ANY, amount, attribute, child, leaf, lone, variant
from culvert.domain.scalars import ANY_TEXT, ON_OFF, UINT, Integer, one_of
from culvert.ground import errors

PCI_MODELS = (
    *("pci-root", "pcie-root", "pci-bridge", "dmi-to-pci-bridge", "pcie-root-port", "pcie-switch-upstream-port"),
    *("pcie-switch-downstream-port", "pci-expander-bus", "pcie-expander-bus", "pcie-to-pci-bridge"),
)
USB_MODELS = (
    *("piix3-uhci", "piix4-uhci", "ehci", "ich9-ehci1", "ich9-uhci1", "ich9-uhci2", "ich9-uhci3"),
    *("vt82c686b-uhci", "pci-ohci", "nec-xhci", "qemu-xhci", "none"),
)
# QEMU's names of PCI controllers; the first one of a model is what it is where nobody says.
MODEL_NAMES = {
    "pci-bridge": ("pci-bridge",),
    "dmi-to-pci-bridge": ("i82801b11-bridge",),
    "pcie-root-port": ("pcie-root-port", "ioh3420"),
    "pcie-switch-upstream-port": ("x3130-upstream",),
    "pcie-switch-downstream-port": ("xio3130-downstream",),
    "pci-expander-bus": ("pxb",),
    "pcie-expander-bus": ("pxb-pcie",),
    "pcie-to-pci-bridge": ("pcie-pci-bridge",),
}
NAMES = one_of(*(name for names in MODEL_NAMES.values() for name in names))

VIRTIO_SCSI = "virtio-scsi"
# What is called by another name, or is QEMU's choice.
SCSI_DEFAULT = "lsilogic"
# SCSI controllers that QEMU has for a PC → whether disks on it are numbered by target alone (a narrow bus).
SCSI_MODELS = {
    "lsilogic": True,
    VIRTIO_SCSI: False,
    "lsisas1068": False,
    "lsisas1078": False,
    "vmpvscsi": False,
    "dc390": True,
    "am53c974": True,
}

CHASSIS_NUMBER = Integer(low=1, high=255, any_base=True, refusal=errors.ConfigUnsupported)


@dataclass(frozen=True, slots=True, kw_only=True)
class ControllerTarget:
    """What the guest sees of a PCI bridge or port; ``node``: of the guest's NUMA nodes, the nearest one."""

    chassis_number: Annotated[int | None, attribute("chassisNr", CHASSIS_NUMBER)] = None
    chassis: Annotated[int | None, attribute("chassis", Integer(high=255, any_base=True))] = None
    port: Annotated[int | None, attribute("port", Integer(high=255, width=1))] = None
    bus_number: Annotated[int | None, attribute("busNr", Integer(low=1, high=254, any_base=True))] = None
    hotplug: Annotated[bool | None, attribute("hotplug", ON_OFF)] = None
    node: Annotated[int | None, leaf("node", UINT)] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ControllerDriver:
    """How a virtio controller does its work: one of SCSI by all of it, another by ``virtio.VirtioDriver``'s."""

    queues: Annotated[int | None, attribute("queues", UINT, silent=("0",))] = None
    cmd_per_lun: Annotated[int | None, attribute("cmd_per_lun", UINT, silent=("0",))] = None
    max_sectors: Annotated[int | None, attribute("max_sectors", UINT, silent=("0",))] = None
    ioeventfd: Annotated[bool | None, attribute("ioeventfd", ON_OFF)] = None
    iothread: Annotated[int | None, attribute("iothread", UINT, silent=("0",))] = None
    iommu: Annotated[bool | None, attribute("iommu", ON_OFF)] = None
    ats: Annotated[bool | None, attribute("ats", ON_OFF)] = None
    packed: Annotated[bool | None, attribute("packed", ON_OFF)] = None
    page_per_vq: Annotated[bool | None, attribute("page_per_vq", ON_OFF)] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Controller:
    """A bus. ``index`` None: the next free one of its type. ``model_name``: QEMU's name of a PCI controller."""

    type: Annotated[
        str, attribute("type", one_of("pci", "usb", "scsi", "ide", "sata", "fdc", "virtio-serial", "ccid"))
    ]
    index: Annotated[int | None, attribute("index", Integer(high=255))] = None
    model: Annotated[
        str | None,
        attribute("model", one_of(*PCI_MODELS, *USB_MODELS, *SCSI_MODELS, *virtio.MODELS.words), silent=("auto",)),
    ] = None
    ports: Annotated[int | None, attribute("ports", Integer(low=1, high=511))] = None
    vectors: Annotated[int | None, attribute("vectors", UINT)] = None
    model_name: Annotated[str | None, lone("model", "name", NAMES)] = None
    target: Annotated[ControllerTarget | None, child("target", ControllerTarget)] = None
    pcihole64: Annotated[int | None, amount("pcihole64")] = None
    driver: Annotated[ControllerDriver | None, child("driver", ControllerDriver, hollow=ANY)] = None
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
