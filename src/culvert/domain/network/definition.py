"""The parts of ``<network>``, in the order in which libvirt writes them.

Source: libvirt docs/formatnetwork; conf/network_conf.c of libvirt 9.0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from culvert.domain.bandwidth import Bandwidth
from culvert.domain.binding import ANY, BLANK, attribute, child, children, content, leaf, lone, verbatim
from culvert.domain.network import addresses
from culvert.domain.network.addresses import ADDRESS, IPV4
from culvert.domain.scalars import MAC, NAME, ON_OFF, PATH, UINT, ULONG, UUID, YES_NO, Integer, one_of

ROUTED = ("nat", "route", "open")
"""Modes whose network has a bridge of its own, as one without any mode has."""
DIRECT = ("private", "vepa", "passthrough")
"""Modes whose cards sit on a device of the host by a macvtap, as ``bridge`` without a bridge does."""
MODES = (*ROUTED, "bridge", *DIRECT)

_PORT = Integer(high=65535)
_PREFIX = Integer(high=128)


@dataclass(frozen=True, slots=True, kw_only=True)
class AddressRange:
    """Of the addresses that go out for the guests'."""

    start: Annotated[str, attribute("start", IPV4)]
    end: Annotated[str, attribute("end", IPV4)]


@dataclass(frozen=True, slots=True, kw_only=True)
class PortRange:
    """Of the ports that go out for the guests'."""

    start: Annotated[int, attribute("start", _PORT)]
    end: Annotated[int, attribute("end", _PORT)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Nat:
    """What addresses and ports the guests' are turned into."""

    ipv6: Annotated[bool | None, attribute("ipv6", YES_NO)] = None
    address: Annotated[AddressRange | None, child("address", AddressRange)] = None
    port: Annotated[PortRange | None, child("port", PortRange)] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HostDevice:
    """A network device of the host. ``connections``: as it is shown."""

    dev: Annotated[str, attribute("dev", addresses.DEVICE)]
    connections: Annotated[int | None, attribute("connections", UINT)] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Forward:
    """Where packets go that leave the network. ``dev`` is the first of ``interfaces``."""

    dev: Annotated[str | None, attribute("dev", addresses.DEVICE, silent=BLANK)] = None
    mode: Annotated[str, attribute("mode", one_of(*MODES), silent=BLANK)] = "nat"
    nat: Annotated[Nat | None, child("nat", Nat, hollow=ANY)] = None
    interfaces: Annotated[tuple[HostDevice, ...], children("interface", HostDevice)] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Bridge:
    """The bridge. ``delay``: seconds until a port that was plugged in may send."""

    name: Annotated[str | None, attribute("name", addresses.BRIDGE_NAME, silent=BLANK)] = None
    zone: Annotated[str | None, attribute("zone", silent=BLANK)] = None
    stp: Annotated[bool | None, attribute("stp", ON_OFF)] = None
    delay: Annotated[int | None, attribute("delay", ULONG)] = None
    mac_table_manager: Annotated[str | None, attribute("macTableManager", one_of("kernel"))] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DnsDomain:
    """The domain of the guests' names. ``local_only``: nobody else is asked for names in it."""

    name: Annotated[str, attribute("name", addresses.DOMAIN_NAME)]
    local_only: Annotated[bool | None, attribute("localOnly", YES_NO)] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DnsForwarder:
    """Who is asked for names that nobody here knows."""

    domain: Annotated[str | None, attribute("domain", addresses.DOMAIN_NAME)] = None
    addr: Annotated[str | None, attribute("addr", ADDRESS)] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DnsTxt:
    """A TXT record."""

    name: Annotated[str, attribute("name", addresses.WORD)]
    value: Annotated[str | None, attribute("value", addresses.LINE)] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DnsSrv:
    """An SRV record."""

    service: Annotated[str | None, attribute("service", addresses.SERVICE)] = None
    protocol: Annotated[str | None, attribute("protocol", addresses.PROTOCOL)] = None
    domain: Annotated[str | None, attribute("domain", addresses.DOMAIN_NAME)] = None
    target: Annotated[str | None, attribute("target", addresses.DOMAIN_NAME)] = None
    port: Annotated[int | None, attribute("port", Integer(low=1, high=65535))] = None
    priority: Annotated[int | None, attribute("priority", _PORT, silent=("0",))] = None
    weight: Annotated[int | None, attribute("weight", _PORT, silent=("0",))] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Hostname:
    """One name of a host."""

    name: Annotated[str, content(addresses.HOST_NAME)]


@dataclass(frozen=True, slots=True, kw_only=True)
class DnsHost:
    """An address and its names."""

    ip: Annotated[str | None, attribute("ip", ADDRESS)] = None
    hostnames: Annotated[tuple[Hostname, ...], children("hostname", Hostname)] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Dns:
    """What names the guests find."""

    enable: Annotated[bool | None, attribute("enable", YES_NO)] = None
    forward_plain_names: Annotated[bool | None, attribute("forwardPlainNames", YES_NO)] = None
    forwarders: Annotated[tuple[DnsForwarder, ...], children("forwarder", DnsForwarder)] = ()
    txts: Annotated[tuple[DnsTxt, ...], children("txt", DnsTxt)] = ()
    srvs: Annotated[tuple[DnsSrv, ...], children("srv", DnsSrv)] = ()
    hosts: Annotated[tuple[DnsHost, ...], children("host", DnsHost)] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseTime:
    """For how long an address is given out; 0: for ever."""

    expiry: Annotated[int, attribute("expiry", ULONG)]
    unit: Annotated[str | None, attribute("unit", one_of("seconds", "minutes", "hours"))] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DhcpRange:
    """Addresses to be given out."""

    start: Annotated[str, attribute("start", ADDRESS)]
    end: Annotated[str, attribute("end", ADDRESS)]
    lease: Annotated[LeaseTime | None, child("lease", LeaseTime)] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DhcpHost:
    """An address, a name, for one guest."""

    mac: Annotated[str | None, attribute("mac", MAC)] = None
    id: Annotated[str | None, attribute("id", addresses.CLIENT_ID)] = None
    name: Annotated[str | None, attribute("name", addresses.HOST_NAME)] = None
    ip: Annotated[str | None, attribute("ip", ADDRESS)] = None
    lease: Annotated[LeaseTime | None, child("lease", LeaseTime)] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Bootp:
    """What a guest that boots from the network is told."""

    file: Annotated[str, attribute("file", addresses.WORD)]
    server: Annotated[str | None, attribute("server", ADDRESS)] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Dhcp:
    """Who gets which address."""

    ranges: Annotated[tuple[DhcpRange, ...], children("range", DhcpRange)] = ()
    hosts: Annotated[tuple[DhcpHost, ...], children("host", DhcpHost)] = ()
    bootp: Annotated[Bootp | None, child("bootp", Bootp)] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkIp:
    """An address that the host has in the network, and what is given out with it."""

    family: Annotated[str | None, attribute("family", one_of("ipv4", "ipv6"), silent=BLANK)] = None
    address: Annotated[str, attribute("address", ADDRESS)]
    netmask: Annotated[str | None, attribute("netmask", ADDRESS, silent=BLANK)] = None
    prefix: Annotated[int | None, attribute("prefix", _PREFIX, silent=("0",))] = None
    local_ptr: Annotated[bool | None, attribute("localPtr", YES_NO)] = None
    tftp: Annotated[str | None, lone("tftp", "root", PATH)] = None
    dhcp: Annotated[Dhcp | None, child("dhcp", Dhcp, hollow=ANY)] = None

    @property
    def version(self) -> int:
        """4 or 6."""
        return 6 if ":" in self.address else 4

    @property
    def length(self) -> int:
        """Of the network's part of the address. Raises ``errors.InternalError``."""
        return addresses.prefix(self.address, self.netmask, self.prefix)

    @property
    def subnet(self) -> addresses.Subnet:
        return addresses.subnet(self.address, self.length)

    @property
    def gives(self) -> bool:
        """Addresses are given out."""
        return self.dhcp is not None and bool(self.dhcp.ranges or self.dhcp.hosts)


@dataclass(frozen=True, slots=True, kw_only=True)
class StaticRoute:
    """A way to another network through a guest of this one."""

    family: Annotated[str | None, attribute("family", one_of("ipv4", "ipv6"), silent=BLANK)] = None
    address: Annotated[str, attribute("address", ADDRESS)]
    netmask: Annotated[str | None, attribute("netmask", ADDRESS, silent=BLANK)] = None
    prefix: Annotated[int | None, attribute("prefix", _PREFIX)] = None
    gateway: Annotated[str, attribute("gateway", ADDRESS)]
    metric: Annotated[int | None, attribute("metric", Integer(low=1, high=2**32 - 1))] = None

    @property
    def destination(self) -> addresses.Subnet:
        zero = self.address.strip("0.:") == "" and self.netmask is None and not self.prefix
        return addresses.subnet(
            self.address, 0 if zero else addresses.prefix(self.address, self.netmask, self.prefix)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class VlanTag:
    id: Annotated[int, attribute("id", Integer(high=4095))]
    native_mode: Annotated[str | None, attribute("nativeMode", one_of("tagged", "untagged"))] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Vlan:
    """Tags of packets, which no network here can have: it is read to be refused in libvirt's words."""

    trunk: Annotated[bool | None, attribute("trunk", YES_NO)] = None
    tags: Annotated[tuple[VlanTag, ...], children("tag", VlanTag)] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PortGroup:
    """What holds for the cards that name it, or no other when it is the default."""

    name: Annotated[str, attribute("name")]
    default: Annotated[bool | None, attribute("default", YES_NO)] = None
    vlan: Annotated[Vlan | None, child("vlan", Vlan, hollow=ANY)] = None
    bandwidth: Annotated[Bandwidth | None, child("bandwidth", Bandwidth, hollow=ANY)] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkDef:
    """The definition of a network. ``connections``: of how many cards, as it is shown."""

    connections: Annotated[int | None, attribute("connections", UINT)] = None
    ipv6: Annotated[bool | None, attribute("ipv6", YES_NO)] = None
    name: Annotated[str, leaf("name", NAME)]
    uuid: Annotated[str | None, leaf("uuid", UUID)] = None
    metadata: Annotated[str | None, verbatim("metadata")] = None
    forward: Annotated[Forward | None, child("forward", Forward)] = None
    bridge: Annotated[Bridge | None, child("bridge", Bridge, hollow=ANY)] = None
    mtu: Annotated[int | None, lone("mtu", "size", UINT, silent=("0",))] = None
    mac: Annotated[str | None, lone("mac", "address", MAC)] = None
    domain: Annotated[DnsDomain | None, child("domain", DnsDomain)] = None
    dns: Annotated[Dns | None, child("dns", Dns, hollow=ANY)] = None
    vlan: Annotated[Vlan | None, child("vlan", Vlan, hollow=ANY)] = None
    bandwidth: Annotated[Bandwidth | None, child("bandwidth", Bandwidth, hollow=ANY)] = None
    isolated: Annotated[bool | None, lone("port", "isolated", YES_NO)] = None
    ips: Annotated[tuple[NetworkIp, ...], children("ip", NetworkIp)] = ()
    routes: Annotated[tuple[StaticRoute, ...], children("route", StaticRoute)] = ()
    portgroups: Annotated[tuple[PortGroup, ...], children("portgroup", PortGroup)] = ()

    @property
    def mode(self) -> str | None:
        """Of ``<forward>``; ``None``: nothing leaves it."""
        return None if self.forward is None else self.forward.mode

    @property
    def is_virtual(self) -> bool:
        """Its bridge is made for it."""
        return self.forward is None or self.forward.mode in ROUTED

    @property
    def bridge_name(self) -> str | None:
        return None if self.bridge is None else self.bridge.name

    @property
    def is_direct(self) -> bool:
        """Its cards sit on a device of the host."""
        return not self.is_virtual and self.bridge_name is None

    @property
    def devices(self) -> tuple[str, ...]:
        """The host's devices that are named by ``<forward>``."""
        return () if self.forward is None else tuple(one.dev for one in self.forward.interfaces)

    def portgroup(self, name: str | None) -> PortGroup | None:
        """That of this name, or the default one where no name is given."""
        for one in self.portgroups:
            if one.default if name is None else one.name == name:
                return one
        return None
