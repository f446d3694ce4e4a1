"""What addresses a guest's cards have: as its networks have given them, and as the host has seen them.

Source: qemu/qemu_driver.c of libvirt 9.0 (qemuGetDHCPInterfaces, qemuARPGetInterfaces).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field

from culvert.domain.interface import Interface
from culvert.drivers.network import tool
from culvert.drivers.qemu.domain import Domain
from culvert.ground import errors


@dataclass(frozen=True, slots=True)
class CardAddresses:
    """``name``: of the card's device on the host; each address with the length of its network's part, 0: unknown."""

    name: str
    mac: str
    addresses: list[tuple[str, int]] = field(default_factory=list)


def _cards(domain: Domain) -> Iterator[tuple[Interface, CardAddresses]]:
    for card in domain.require_active().definition.devices.interfaces:
        name = card.target.dev if card.target is not None else None
        if card.mac is not None:
            yield card, CardAddresses(name or "", card.mac)


async def by_lease(domain: Domain) -> list[CardAddresses]:
    """As the dnsmasq of each card's network has given them. Raises ``errors.NoNetwork``."""
    found = []
    for card, told in _cards(domain):
        if card.network is not None:
            leases = await domain.host.networks.leases(card.network, card.mac)
            told.addresses.extend((lease.ip, lease.prefix) for lease in leases)
            if told.addresses:
                found.append(told)
    return found


async def by_arp(domain: Domain) -> list[CardAddresses]:
    """As the host knows its neighbours. Raises ``errors.InternalError``."""
    neighbours = json.loads(await tool.run("ip", ["-json", "neighbour", "show"]) or "[]")
    found = []
    for _, told in _cards(domain):
        told.addresses.extend(
            (str(one["dst"]), 0)
            for one in neighbours
            if str(one.get("lladdr", "")).lower() == told.mac and "NOARP" not in one.get("state", ())
        )
        if told.addresses:
            found.append(told)
    return found


async def hostname(domain: Domain) -> str:
    """The name with which the guest has asked for its address. Raises ``errors.NoHostname`` where none is known."""
    for card, _ in _cards(domain):
        if card.network is not None:
            for lease in await domain.host.networks.leases(card.network, card.mac):
                if lease.hostname is not None:
                    return lease.hostname
    raise errors.NoHostname(f"no hostname found for domain {domain.name}")
