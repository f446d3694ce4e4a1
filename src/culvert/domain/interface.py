"""``<interface>``: network cards, and what of the host they are plugged into.

Source: docs/formatdomain, "Network interfaces".
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated

from culvert.domain import address
from culvert.domain.bandwidth import Bandwidth
from culvert.domain.binding import ANY, BLANK, DEFAULT, attribute, child, children, lone, variant
from culvert.domain.network.addresses import ADDRESS
from culvert.domain.network.definition import Vlan
from culvert.domain.scalars import ANY_TEXT, MAC, ON_OFF, PATH, UINT, UUID, YES_NO, Integer, Pattern, one_of

DEVICE_NAME = Pattern(r"[^\s/:%]{1,15}%?d?", "network device name")  # IFNAMSIZ; "vnet%d" asks for a free number


VIRTIO = ("virtio", "virtio-transitional", "virtio-non-transitional")
MODELS = one_of(
    *(*VIRTIO, "e1000", "e1000e", "rtl8139", "pcnet", "ne2k_pci", "vmxnet3", "i82551", "i82557b", "i82559er")
)
TYPES = ("user", "bridge", "ethernet", "network", "direct", "server", "client", "mcast", "udp")
WITHOUT_DEVICE = ("user", "server", "client", "mcast", "udp")
"""Kinds whose packets no device of the host sees: they are QEMU's own, or passt's."""
MODES = one_of("vepa", "private", "bridge", "passthrough")
GENERATED = ("vnet", "macvtap", "macvlan")
"""What the names of devices begin with that are made for one run (VIR_NET_GENERATED_*_PREFIX)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalEnd:
    """Where a card of type ``udp`` is sent to."""

    address: Annotated[str | None, attribute("address")] = None
    port: Annotated[int | None, attribute("port", Integer(low=1, high=65535))] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class InterfaceSource:
    """What the card is plugged into: a virtual network (the rest is known while it runs: ``portid`` and where that
    is), a bridge of the host, a device of the host; or where the other QEMU is (``address``, ``port``)."""

    network: Annotated[str | None, attribute("network", silent=BLANK)] = None
    portgroup: Annotated[str | None, attribute("portgroup", silent=BLANK)] = None
    portid: Annotated[str | None, attribute("portid", UUID, silent=BLANK)] = None
    bridge: Annotated[str | None, attribute("bridge", DEVICE_NAME, silent=BLANK)] = None
    dev: Annotated[str | None, attribute("dev", DEVICE_NAME, silent=BLANK)] = None
    mode: Annotated[str | None, attribute("mode", MODES, silent=BLANK)] = None
    address: Annotated[str | None, attribute("address")] = None
    port: Annotated[int | None, attribute("port", Integer(low=1, high=65535))] = None
    local: Annotated[LocalEnd | None, child("local", LocalEnd)] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestIp:
    """An address that user networking gives the guest."""

    address: Annotated[str, attribute("address", ADDRESS)]
    family: Annotated[str | None, attribute("family", one_of("ipv4", "ipv6"))] = None
    prefix: Annotated[int | None, attribute("prefix", Integer(high=128), silent=("0",))] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ForwardRange:
    """Ports, up to ``end``, of which each is ``to`` and so on in the guest."""

    start: Annotated[int, attribute("start", Integer(low=1, high=65535))]
    end: Annotated[int | None, attribute("end", Integer(low=1, high=65535))] = None
    to: Annotated[int | None, attribute("to", Integer(low=1, high=65535))] = None
    exclude: Annotated[bool | None, attribute("exclude", YES_NO)] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PortForward:
    """Ports of the host that lead into the guest, by passt."""

    proto: Annotated[str, attribute("proto", one_of("tcp", "udp"))]
    address: Annotated[str | None, attribute("address", ADDRESS)] = None
    dev: Annotated[str | None, attribute("dev", DEVICE_NAME)] = None
    ranges: Annotated[tuple[ForwardRange, ...], children("range", ForwardRange)] = ()


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
    rss: Annotated[bool | None, attribute("rss", ON_OFF)] = None
    rss_hash_report: Annotated[bool | None, attribute("rss_hash_report", ON_OFF)] = None
    iommu: Annotated[bool | None, attribute("iommu", ON_OFF)] = None
    ats: Annotated[bool | None, attribute("ats", ON_OFF)] = None
    packed: Annotated[bool | None, attribute("packed", ON_OFF)] = None
    page_per_vq: Annotated[bool | None, attribute("page_per_vq", ON_OFF)] = None
    host: Annotated[HostOffloads | None, child("host", HostOffloads, hollow=ANY)] = None
    guest: Annotated[GuestOffloads | None, child("guest", GuestOffloads, hollow=ANY)] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Backend:
    """Who is at the other end of a card of type ``user``: QEMU itself, or passt."""

    type: Annotated[str | None, attribute("type", one_of("passt"), silent=DEFAULT)] = None
    log_file: Annotated[str | None, attribute("logFile", PATH)] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class VirtualPortParameters:
    """What the other end of a virtual port is told."""

    managerid: Annotated[str | None, attribute("managerid")] = None
    typeid: Annotated[str | None, attribute("typeid")] = None
    typeidversion: Annotated[str | None, attribute("typeidversion")] = None
    instanceid: Annotated[str | None, attribute("instanceid", UUID)] = None
    interfaceid: Annotated[str | None, attribute("interfaceid", UUID)] = None
    profileid: Annotated[str | None, attribute("profileid")] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class VirtualPort:
    """A port of a switch that no host of culvert's has: a card with one is defined, and refused at its start."""

    type: Annotated[str, attribute("type", one_of("openvswitch", "midonet", "802.1Qbg", "802.1Qbh"))]
    parameters: Annotated[VirtualPortParameters | None, child("parameters", VirtualPortParameters, hollow=ANY)] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FilterParameter:
    """A value for a filter's variable."""

    name: Annotated[str, attribute("name")]
    value: Annotated[str, attribute("value")]


@dataclass(frozen=True, slots=True, kw_only=True)
class FilterRef:
    """A network filter of the host's: it has none, so a card with one is defined, and refused at its start."""

    filter: Annotated[str, attribute("filter")]
    parameters: Annotated[tuple[FilterParameter, ...], children("parameter", FilterParameter)] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Rom:
    """The card's boot ROM, which is part of the migrated state. ``file`` empty or ``enabled`` False: none."""

    enabled: Annotated[bool | None, attribute("enabled", YES_NO)] = None
    bar: Annotated[bool | None, attribute("bar", ON_OFF)] = None
    file: Annotated[str | None, attribute("file", ANY_TEXT)] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Interface:
    """A network card and where its packets go."""

    type: Annotated[str, attribute("type", one_of(*TYPES))] = "user"
    mac: Annotated[str | None, lone("mac", "address", MAC)] = None
    source: Annotated[InterfaceSource | None, child("source", InterfaceSource, hollow=ANY)] = None
    vlan: Annotated[Vlan | None, child("vlan", Vlan, hollow=ANY)] = None
    virtualport: Annotated[VirtualPort | None, child("virtualport", VirtualPort)] = None
    bandwidth: Annotated[Bandwidth | None, child("bandwidth", Bandwidth, hollow=ANY)] = None
    isolated: Annotated[bool | None, lone("port", "isolated", YES_NO)] = None
    ips: Annotated[tuple[GuestIp, ...], children("ip", GuestIp)] = ()
    port_forwards: Annotated[tuple[PortForward, ...], children("portForward", PortForward)] = ()
    target: Annotated[InterfaceTarget | None, child("target", InterfaceTarget, hollow=ANY)] = None
    model: Annotated[str | None, lone("model", "type", MODELS, silent=BLANK)] = None
    driver: Annotated[InterfaceDriver | None, child("driver", InterfaceDriver, hollow=ANY)] = None
    backend: Annotated[Backend | None, child("backend", Backend, hollow=ANY)] = None
    filterref: Annotated[FilterRef | None, child("filterref", FilterRef)] = None
    link: Annotated[str | None, lone("link", "state", one_of("up", "down"))] = None
    mtu: Annotated[int | None, lone("mtu", "size", Integer(low=68, high=65535), silent=("", "0"))] = None
    boot: Annotated[int | None, lone("boot", "order", Integer(low=1, high=2**31 - 1), needed=True)] = None
    alias: Annotated[str | None, lone("alias", "name", ANY_TEXT)] = None
    rom: Annotated[Rom | None, child("rom", Rom, hollow=ANY)] = None
    acpi_index: Annotated[int | None, lone("acpi", "index", Integer(high=16383), silent=("0",))] = None
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
    def is_virtio(self) -> bool:
        return self.model in VIRTIO

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
