"""PCI buses as libvirt counts their slots: who may sit where, what is taken, and where the next device goes.

::

    pci-root (pc)        slots 1-31   conventional devices (everything, on pc), pci-bridge
    pcie-root (q35)      slots 1-31   root ports, eight to a slot; other devices only when the XML says so
    pcie-root-port       slot 0       one PCI Express device, or a pcie-to-pci-bridge
    pcie-to-pci-bridge   slots 1-31   conventional devices, pci-bridge
    pci-bridge           slots 1-31   conventional devices, pci-bridge

Source: conf/domain_addr.c of libvirt 9.0 (virDomainPCIAddressBusSetModel, …GetNextAddr, …SetGrow).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from culvert.domain.address import PciAddress
from culvert.ground import errors


class PciConnect(Enum):
    """What kind of place a device needs."""

    CONVENTIONAL = "pci"
    EXPRESS = "pcie"
    ROOT_PORT = "pcie-root-port"
    PCIE_TO_PCI_BRIDGE = "pcie-to-pci-bridge"
    PCI_BRIDGE = "pci-bridge"
    DMI_TO_PCI_BRIDGE = "dmi-to-pci-bridge"
    SWITCH_UPSTREAM_PORT = "pcie-switch-upstream-port"
    SWITCH_DOWNSTREAM_PORT = "pcie-switch-downstream-port"
    PCI_EXPANDER = "pci-expander-bus"
    EXPRESS_EXPANDER = "pcie-expander-bus"
    INTEGRATED = "integrated"
    """Express, and on the root bus itself."""


_ENDPOINTS = frozenset({PciConnect.CONVENTIONAL, PciConnect.PCI_BRIDGE})

_PORT = frozenset({PciConnect.EXPRESS, PciConnect.PCIE_TO_PCI_BRIDGE, PciConnect.SWITCH_UPSTREAM_PORT})

# controller model → (what is placed there automatically, first slot, last slot)
BUSES: dict[str, tuple[frozenset[PciConnect], int, int]] = {
    "pci-root": (_ENDPOINTS | {PciConnect.EXPRESS, PciConnect.PCI_EXPANDER, PciConnect.INTEGRATED}, 1, 31),
    "pcie-root": (
        frozenset(
            {
                *(PciConnect.ROOT_PORT, PciConnect.DMI_TO_PCI_BRIDGE),
                *(PciConnect.EXPRESS_EXPANDER, PciConnect.INTEGRATED),
            }
        ),
        1,
        31,
    ),
    "pcie-root-port": (_PORT, 0, 0),
    "pcie-switch-upstream-port": (frozenset({PciConnect.SWITCH_DOWNSTREAM_PORT}), 0, 31),
    "pcie-switch-downstream-port": (_PORT, 0, 0),
    "pcie-to-pci-bridge": (_ENDPOINTS, 1, 31),
    # Nothing is put there of itself, but bridges.
    "dmi-to-pci-bridge": (frozenset({PciConnect.PCI_BRIDGE}), 0, 31),
    "pci-bridge": (_ENDPOINTS, 1, 31),
    "pci-expander-bus": (_ENDPOINTS, 0, 31),
    "pcie-expander-bus": (frozenset({PciConnect.ROOT_PORT, PciConnect.DMI_TO_PCI_BRIDGE}), 0, 31),
}
EXPRESS_ROOTS = frozenset({"pcie-root", "pcie-expander-bus"})

# Kinds that share one slot, a function each.
SHARING = frozenset({PciConnect.ROOT_PORT})

# controller model → the place it needs itself
PLACE_OF_MODEL = {model: PciConnect(model) for model in BUSES if model not in ("pci-root", "pcie-root")}


@dataclass(slots=True)
class Bus:
    """One bus: slot → functions in use; ``shared`` are the slots root ports share.

    What is taken stays taken. So a search goes on where the last one for the same kind has ended, and all searches
    together look at each slot about once.
    """

    model: str
    used: dict[int, set[int]] = field(default_factory=dict)
    shared: set[int] = field(default_factory=set)
    begin: dict[PciConnect, int] = field(default_factory=dict)

    def next_free(self, connect: PciConnect) -> tuple[int, int] | None:
        """The first (slot, function) a device of this kind is given here, if any."""
        accepted, first, last = BUSES[self.model]
        if connect not in accepted:
            return None
        for slot in range(self.begin.get(connect, first), last + 1):
            self.begin[connect] = slot
            functions = self.used.get(slot)
            if not functions:
                return slot, 0
            if connect in SHARING and slot in self.shared and len(functions) < 8:
                return slot, min(set(range(8)) - functions)
        self.begin[connect] = last + 1
        return None


MOST_BUSES = 256  # the number of a bus is one byte


def most_places(connect: PciConnect, *, express: bool) -> int:
    """More devices of this kind than that have no room, whatever buses there are. ``express``: on a q35."""
    if express and connect in (PciConnect.EXPRESS, PciConnect.PCIE_TO_PCI_BRIDGE):
        return MOST_BUSES - 1  # a root port each
    if connect is PciConnect.ROOT_PORT:
        return 31 * 8
    return (MOST_BUSES - 1 if express else MOST_BUSES) * 31


# Kinds for which no bus is added.
ALONE = frozenset(
    {
        *(PciConnect.DMI_TO_PCI_BRIDGE, PciConnect.SWITCH_DOWNSTREAM_PORT, PciConnect.PCI_EXPANDER),
        *(PciConnect.EXPRESS_EXPANDER, PciConnect.INTEGRATED),
    }
)


class Full(Exception):
    """No bus has a free place of this kind, and none may be added."""

    def __init__(self, connect: PciConnect) -> None:
        super().__init__(connect.value)
        self.connect = connect


class Slots:
    """All PCI buses of a domain, by index, and what is taken on them.

    ``grow``: a bus is added where no free place is left (``added`` lists them); otherwise ``Full`` is raised.
    """

    def __init__(self, models: dict[int, str], *, grow: bool) -> None:
        self.buses = {index: Bus(model) for index, model in sorted(models.items())}
        self.grow = grow
        self.added: dict[int, str] = {}
        # Buses in order; for each kind, how many of the first ones have no place for it, and never will have again.
        self._order = list(self.buses)
        self._full: dict[PciConnect, int] = {}

    @property
    def is_express(self) -> bool:
        return self.buses[0].model == "pcie-root"

    def reserve(self, address: PciAddress, who: str, connect: PciConnect | None = None) -> None:
        """Take the place ``address``. Raises ``errors.XMLError`` where it does not exist or is taken."""
        bus = self.buses.get(address.bus)
        if bus is None:
            raise errors.XMLError(
                f"XML error: {who} is on PCI bus {address.bus}, but there is no such PCI controller"
            )
        _, first, last = BUSES[bus.model]
        if address.domain != 0 or not first <= address.slot <= last:
            raise errors.XMLError(
                f"XML error: Invalid PCI address {address} of {who}: {bus.model} has slots {first} to {last}"
            )
        if connect is PciConnect.ROOT_PORT and bus.model not in EXPRESS_ROOTS:
            raise errors.XMLError(f"XML error: {who} is a root port on PCI bus {address.bus}, which is no pcie-root")
        functions = bus.used.setdefault(address.slot, set())
        if address.function in functions:
            raise errors.XMLError(f"XML error: Attempted double use of PCI Address {address} by {who}")
        if connect in SHARING and (not functions or address.slot in bus.shared):
            bus.shared.add(address.slot)
        functions.add(address.function)

    def is_free(self, bus: int, slot: int) -> bool:
        return not self.buses[bus].used.get(slot)

    def take_next(self, connect: PciConnect, who: str) -> PciAddress:
        """Take the first free place of this kind. Raises ``Full``, see above."""
        while True:
            for place in range(self._full.get(connect, 0), len(self._order)):
                self._full[connect] = place
                index = self._order[place]
                found = self.buses[index].next_free(connect)
                if found is not None:
                    address = PciAddress(bus=index, slot=found[0], function=found[1])
                    self.reserve(address, who, connect)
                    return address
            self._full[connect] = len(self._order)
            if not self.grow:
                raise Full(connect)
            self._add_bus_for(connect)

    def _add_bus_for(self, connect: PciConnect) -> None:
        if connect is PciConnect.ROOT_PORT:
            raise errors.XMLError("XML error: no more PCI slots are available for root ports")
        if connect in ALONE:
            raise errors.XMLError(f"XML error: no more PCI slots are available for a {connect.value}")
        if connect in _PORT and self.is_express:
            self.add("pcie-root-port")
            return
        bridges = any(PciConnect.PCI_BRIDGE in BUSES[bus.model][0] for bus in self.buses.values())
        if self.is_express and not bridges:
            # The bridge needs a port: libvirt always adds a new one with it.
            port = self.add("pcie-root-port")
            self.buses[port].used[0] = {0}
            self.add("pcie-to-pci-bridge")
        else:
            self.add("pci-bridge")

    def add(self, model: str) -> int:
        """Add a bus; its index."""
        index = self._order[-1] + 1
        if index >= MOST_BUSES:
            raise errors.XMLError("XML error: no more PCI buses are available")
        self.buses[index] = Bus(model)
        self._order.append(index)
        self.added[index] = model
        return index
