"""Where a device sits: ``<address>`` in its kinds, and the ``<boot>``, ``<alias>`` every device may have.

Source: docs/formatdomain, "Device Addresses".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from culvert.domain.binding import attribute
from culvert.domain.scalars import ON_OFF, Integer, Pattern
from culvert.ground import errors

USB_PORT = Pattern(r"[0-9]{1,3}(\.[0-9]{1,3}){0,3}", "USB port", refusal=errors.InternalError)


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class PciAddress:
    """domain:bus:slot.function; bus is the index of a PCI controller. All zero asks for an automatic one."""

    domain: Annotated[int, attribute("domain", Integer(high=0xFFFF, width=4))] = 0
    bus: Annotated[int, attribute("bus", Integer(high=0xFF, width=2))] = 0
    slot: Annotated[int, attribute("slot", Integer(high=0x1F, width=2))] = 0
    function: Annotated[int, attribute("function", Integer(high=7, width=1))] = 0
    multifunction: Annotated[bool | None, attribute("multifunction", ON_OFF)] = None

    @property
    def wanted(self) -> bool:
        """Nothing is said yet: one is to be assigned (virPCIDeviceAddressIsEmpty)."""
        return not (self.domain or self.bus or self.slot or self.function)

    @property
    def place(self) -> tuple[int, int, int]:
        """(bus, slot, function)."""
        return self.bus, self.slot, self.function

    def __str__(self) -> str:
        return f"{self.domain:04x}:{self.bus:02x}:{self.slot:02x}.{self.function:x}"


@dataclass(frozen=True, slots=True, kw_only=True)
class DriveAddress:
    """Controller, bus on it, target and unit, of an ide or sata disk."""

    controller: Annotated[int, attribute("controller", Integer(high=255))] = 0
    bus: Annotated[int, attribute("bus", Integer(high=255))] = 0
    target: Annotated[int, attribute("target", Integer(high=255))] = 0
    unit: Annotated[int, attribute("unit", Integer(high=255))] = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class SerialPortAddress:
    """A port of a virtio-serial controller; 0 is reserved for a console, or asks for an automatic one."""

    controller: Annotated[int, attribute("controller", Integer(high=255))] = 0
    bus: Annotated[int, attribute("bus", Integer(high=255))] = 0
    port: Annotated[int, attribute("port", Integer(high=511))] = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class UsbAddress:
    """USB controller and the port on it, a number or, behind hubs, numbers joined by dots."""

    bus: Annotated[int, attribute("bus", Integer(high=255))] = 0
    port: Annotated[str | None, attribute("port", USB_PORT)] = None

    @property
    def wanted(self) -> bool:
        """Only the bus is said: a port is to be assigned (virDomainUSBAddressPortIsValid)."""
        return self.port in (None, "0")


@dataclass(frozen=True, slots=True, kw_only=True)
class DimmAddress:
    """The slot of a module of memory, and where the guest sees it (known in a running domain)."""

    slot: Annotated[int | None, attribute("slot", Integer(high=2**32 - 1))] = None
    base: Annotated[int | None, attribute("base", Integer(width=1), silent=("0", "0x0"))] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class IsaAddress:
    """A port and an interrupt of the old bus."""

    iobase: Annotated[int | None, attribute("iobase", Integer(high=0xFFFF, width=1))] = None
    irq: Annotated[int | None, attribute("irq", Integer(high=0xFF, width=1))] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CcidAddress:
    """A slot of a reader of cards."""

    controller: Annotated[int, attribute("controller", Integer(high=255))] = 0
    slot: Annotated[int, attribute("slot", Integer(high=255))] = 0


PCI = {"pci": PciAddress}
DRIVE = {"drive": DriveAddress}
DISK = {"pci": PciAddress, "drive": DriveAddress, "usb": UsbAddress}
SERIAL_PORT = {"virtio-serial": SerialPortAddress}
USB = {"usb": UsbAddress}
CCID = {"ccid": CcidAddress}
SERIAL = {"isa": IsaAddress, "pci": PciAddress, "usb": UsbAddress}
ISA = {"isa": IsaAddress}
PANIC = {"isa": IsaAddress, "pci": PciAddress}
AnySerialAddress = SerialPortAddress | IsaAddress | PciAddress | UsbAddress
CONSOLE = {**SERIAL_PORT, **SERIAL}
MODULE = {"pci": PciAddress, "dimm": DimmAddress}
INPUT = {"pci": PciAddress, "usb": UsbAddress}
