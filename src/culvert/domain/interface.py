"""``<interface>``: network cards, and what of the host they are plugged into.

Source: docs/formatdomain, "Network interfaces".
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated

from culvert.domain import address
from culvert.domain.bandwidth import Bandwidth
from culvert.domain.binding import ANY, BLANK, DEFAULT, attribute, child, lone, variant
from culvert.domain.scalars import ANY_TEXT, MAC, ON_OFF, PATH, UINT, UUID, YES_NO, Integer, Pattern, one_of

DEVICE_NAME = Pattern(r"[^\s/:%]{1,15}%?d?", "network device name")  # IFNAMSIZ; "vnet%d" asks for a free number


MODELS = one_of("virtio", "e1000", "e1000e", "rtl8139")
MODES = one_of("vepa", "private", "bridge", "passthrough")
GENERATED = ("vnet", "macvtap", "macvlan")
"""What the names of devices begin with that are made for one run (VIR_NET_GENERATED_*_PREFIX)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InterfaceSource:
    """What the card is plugged into: a virtual network (the rest is known while it runs: ``portid`` and where that
    is), a bridge of the host, a device of the host."""

    network: Annotated[str | None, attribute("network", silent=BLANK)] = None
    portgroup: Annotated[str | None, attribute("portgroup", silent=BLANK)] = None
    portid: Annotated[str | None, attribute("portid", UUID, silent=BLANK)] = None
    bridge: Annotated[str | None, attribute("bridge", DEVICE_NAME, silent=BLANK)] = None
    dev: Annotated[str | None, attribute("dev", DEVICE_NAME, silent=BLANK)] = None
    mode: Annotated[str | None, attribute("mode", MODES, silent=BLANK)] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class InterfaceTarget:
    """The tap device on the host. ``managed`` False: it exists, nobody creates or removes it."""

    dev: Annotated[str | None, attribute("dev", DEVICE_NAME, silent=BLANK)] = None
    managed: Annotated[bool | None, attribute("managed", YES_NO)] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HostOffloads:
    """What the host's end of a virtio card may do for the guest; part of the migrated state."""

    csum: Annotated[bool | None, attribute("csum", ON_OFF)] = None
    gso: Annotated[bool | None, attribute("gso", ON_OFF)] = None
    tso4: Annotated[bool | None, attribute("tso4", ON_OFF)] = None
    tso6: Annotated[bool | None, attribute("tso6", ON_OFF)] = None
    ecn: Annotated[bool | None, attribute("ecn", ON_OFF)] = None
    ufo: Annotated[bool | None, attribute("ufo", ON_OFF)] = None
    mrg_rxbuf: Annotated[bool | None, attribute("mrg_rxbuf", ON_OFF)] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestOffloads:
    """What the guest may leave to a virtio card."""

    csum: Annotated[bool | None, attribute("csum", ON_OFF)] = None
    tso4: Annotated[bool | None, attribute("tso4", ON_OFF)] = None
    tso6: Annotated[bool | None, attribute("tso6", ON_OFF)] = None
    ecn: Annotated[bool | None, attribute("ecn", ON_OFF)] = None
    ufo: Annotated[bool | None, attribute("ufo", ON_OFF)] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class InterfaceDriver:
    """Of a virtio card: who moves the packets, QEMU itself or the host's kernel, and in how many queues."""

    name: Annotated[str | None, attribute("name", one_of("qemu", "vhost"))] = None
    txmode: Annotated[str | None, attribute("txmode", one_of("iothread", "timer"))] = None
    ioeventfd: Annotated[bool | None, attribute("ioeventfd", ON_OFF)] = None
    event_idx: Annotated[bool | None, attribute("event_idx", ON_OFF)] = None
    queues: Annotated[int | None, attribute("queues", Integer(high=256), silent=("0",))] = None
    rx_queue_size: Annotated[int | None, attribute("rx_queue_size", UINT, silent=("0",))] = None
    tx_queue_size: Annotated[int | None, attribute("tx_queue_size", UINT, silent=("0",))] = None
    host: Annotated[HostOffloads | None, child("host", HostOffloads, hollow=ANY)] = None
    guest: Annotated[GuestOffloads | None, child("guest", GuestOffloads, hollow=ANY)] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Backend:
    """Who is at the other end of a card of type ``user``: QEMU itself, or passt."""

    type: Annotated[str | None, attribute("type", one_of("passt"), silent=DEFAULT)] = None
    log_file: Annotated[str | None, attribute("logFile", PATH)] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rom:
    """The card's boot ROM, which is part of the migrated state. ``file`` empty or ``enabled`` False: none."""

    enabled: Annotated[bool | None, attribute("enabled", YES_NO)] = None
    bar: Annotated[bool | None, attribute("bar", ON_OFF)] = None
    file: Annotated[str | None, attribute("file", ANY_TEXT)] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Interface:
    """A network card and where its packets go."""

    type: Annotated[str, attribute("type", one_of("user", "bridge", "ethernet", "network", "direct"))] = "user"
    mac: Annotated[str | None, lone("mac", "address", MAC)] = None
    source: Annotated[InterfaceSource | None, child("source", InterfaceSource, hollow=ANY)] = None
    bandwidth: Annotated[Bandwidth | None, child("bandwidth", Bandwidth, hollow=ANY)] = None
    isolated: Annotated[bool | None, lone("port", "isolated", YES_NO)] = None
    target: Annotated[InterfaceTarget | None, child("target", InterfaceTarget, hollow=ANY)] = None
    model: Annotated[str | None, lone("model", "type", MODELS, silent=BLANK)] = None
    driver: Annotated[InterfaceDriver | None, child("driver", InterfaceDriver, hollow=ANY)] = None
    backend: Annotated[Backend | None, child("backend", Backend, hollow=ANY)] = None
    link: Annotated[str | None, lone("link", "state", one_of("up", "down"))] = None
    mtu: Annotated[int | None, lone("mtu", "size", Integer(low=68, high=65535), silent=("", "0"))] = None
    boot: Annotated[int | None, lone("boot", "order", Integer(low=1, high=2**31 - 1), needed=True)] = None
    alias: Annotated[str | None, lone("alias", "name", ANY_TEXT)] = None
    rom: Annotated[Rom | None, child("rom", Rom, hollow=ANY)] = None
    address: Annotated[address.PciAddress | None, variant("address", "type", address.PCI)] = None

    @property
    def network(self) -> str | None:
        """The virtual network that it is plugged into, also where that is a bridge of the host."""
        return None if self.source is None else self.source.network

    @property
    def bridge(self) -> str | None:
        """The bridge that it is plugged into; of a virtual network's known while it runs."""
        return None if self.source is None else self.source.bridge

    @property
    def is_passt(self) -> bool:
        return self.backend is not None and self.backend.type == "passt"

    @property
    def queues(self) -> int:
        """Of a card that has several, their number; else 1."""
        return (self.driver.queues or 1) if self.driver is not None else 1


def unplugged(card: Interface) -> Interface:
    """``card`` as it is defined: what it has been plugged into for one run is not told."""
    source, kind = card.source, card.type
    if source is not None and source.network is not None:
        kind = "network"
        source = InterfaceSource(network=source.network, portgroup=source.portgroup)
    target = card.target
    if target is not None and target.managed is not False and (target.dev or "").startswith(GENERATED):
        target = replace(target, dev=None)
        target = None if target == InterfaceTarget() else target
    return replace(card, type=kind, source=source, target=target)
