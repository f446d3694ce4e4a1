"""Buses, slots and who may sit where."""

from __future__ import annotations

import pytest

from culvert.domain.address import PciAddress
from culvert.domain.pci import Full, PciConnect, Slots
from culvert.ground import errors


def test_slots_are_given_in_order_and_only_once() -> None:
    slots = Slots({0: "pci-root"}, grow=False)
    slots.reserve(PciAddress(slot=2), "a card")
    given = [slots.take_next(PciConnect.CONVENTIONAL, "x").slot for _ in range(30)]
    assert given == [1, *range(3, 32)]
    with pytest.raises(Full):
        slots.take_next(PciConnect.CONVENTIONAL, "x")


def test_root_ports_share_a_slot() -> None:
    slots = Slots({0: "pcie-root"}, grow=False)
    given = [slots.take_next(PciConnect.ROOT_PORT, "port").place for _ in range(9)]
    assert given == [*((0, 1, function) for function in range(8)), (0, 2, 0)]


def test_a_root_port_does_not_join_another_device_in_its_slot() -> None:
    slots = Slots({0: "pcie-root"}, grow=False)
    slots.reserve(PciAddress(slot=1), "video 0", PciConnect.CONVENTIONAL)
    assert slots.take_next(PciConnect.ROOT_PORT, "port").place == (0, 2, 0)


def test_express_devices_get_a_root_port_each() -> None:
    slots = Slots({0: "pcie-root"}, grow=True)
    assert [slots.take_next(PciConnect.EXPRESS, "x").bus for _ in range(3)] == [1, 2, 3]
    assert set(slots.added.values()) == {"pcie-root-port"}


def test_conventional_devices_on_q35_get_a_bridge_and_its_port() -> None:
    slots = Slots({0: "pcie-root"}, grow=True)
    assert slots.take_next(PciConnect.CONVENTIONAL, "x").place == (2, 1, 0)
    assert slots.added == {1: "pcie-root-port", 2: "pcie-to-pci-bridge"}
    assert slots.take_next(PciConnect.EXPRESS, "x").bus == 3


@pytest.mark.parametrize(
    ("address", "what"),
    [
        (PciAddress(bus=1, slot=1), "no such PCI controller"),
        (PciAddress(slot=0, function=1), "has slots 1 to 31"),
        (PciAddress(domain=1, slot=1), "Invalid PCI address 0001:00:01.0"),
        (PciAddress(slot=4), "Attempted double use of PCI Address 0000:00:04.0 by b"),
    ],
)
def test_places_that_cannot_be(address: PciAddress, what: str) -> None:
    slots = Slots({0: "pci-root"}, grow=True)
    slots.reserve(PciAddress(slot=4), "a")
    with pytest.raises(errors.XMLError, match=what):
        slots.reserve(address, "b")
