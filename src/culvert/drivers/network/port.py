"""A guest's card in a network: what it asks for, and where it is to be plugged in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from culvert.domain import binding, xml
from culvert.domain.bandwidth import Bandwidth
from culvert.drivers.network.leases import Lease
from culvert.ground import errors


@dataclass(frozen=True, slots=True)
class Wish:
    """Of a card of the guest ``owner``. ``uuid``: of a port that it has had, else a new one is made."""

    network: str
    owner: str
    owner_uuid: UUID
    mac: str
    portgroup: str | None = None
    bandwidth: Bandwidth | None = None
    isolated: bool | None = None
    uuid: UUID | None = None


@dataclass(frozen=True, slots=True)
class Port:
    """Where it is plugged in. ``kind``: ``network`` its own bridge, ``bridge`` one of the host's, ``direct`` on top
    of the host's ``device`` in ``mode``."""

    uuid: UUID
    wish: Wish
    kind: str
    bridge: str | None = None
    device: str | None = None
    mode: str | None = None
    bandwidth: Bandwidth | None = None
    isolated: bool | None = None

    @property
    def network(self) -> str:
        return self.wish.network


class NetworkPorts(Protocol):
    """What a guest's driver asks of the networks."""

    async def plug(self, wish: Wish) -> Port:
        """A port for a card. Raises ``errors.NoNetwork``, ``errors.OperationInvalid`` for one that is not active."""

    def unplug(self, network: str, uuid: UUID) -> None:
        """The card has gone; nothing happens when there is no such port."""

    def is_plugged(self, network: str, uuid: UUID) -> bool:
        """Whether there is such a port: a network that has been ended has none."""

    def check(self, network: str) -> None:
        """Raise as ``plug`` would."""

    async def leases(self, network: str, mac: str | None = None) -> list[Lease]:
        """Who has been given an address. Raises ``errors.NoNetwork``."""


class NoNetworks:
    """Of a driver for whom nobody keeps networks."""

    async def plug(self, wish: Wish) -> Port:
        raise missing(wish.network)

    def unplug(self, network: str, uuid: UUID) -> None:
        return

    def is_plugged(self, network: str, uuid: UUID) -> bool:
        return False

    def check(self, network: str) -> None:
        raise missing(network)

    async def leases(self, network: str, mac: str | None = None) -> list[Lease]:
        raise missing(network)


def missing(name: str) -> errors.NoNetwork:
    """In libvirt's words."""
    return errors.NoNetwork(f"no network with matching name '{name}'")


def describe(port: Port) -> str:
    """Its XML. Source: conf/virnetworkportdef.c of libvirt 9.0."""
    wish = port.wish
    owner = xml.Node(
        "owner", children=[xml.Node("name", text=wish.owner), xml.Node("uuid", text=str(wish.owner_uuid))]
    )
    node = xml.Node("networkport", children=[xml.Node("uuid", text=str(port.uuid)), owner])
    if wish.portgroup is not None:
        node.children.append(xml.Node("group", text=wish.portgroup))
    node.children.append(xml.Node("mac", {"address": wish.mac}))
    if port.bandwidth is not None:
        node.children.append(binding.write(port.bandwidth, "bandwidth"))
    if port.isolated is not None:
        node.children.append(xml.Node("port", {"isolated": "yes" if port.isolated else "no"}))
    plugged = {"bridge": port.bridge, "dev": port.device, "mode": port.mode}
    attributes = {name: value for name, value in plugged.items() if value is not None}
    node.children.append(xml.Node("plug", {"type": port.kind, **attributes}))
    return xml.render(node)
