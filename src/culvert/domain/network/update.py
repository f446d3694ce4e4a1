"""One part of a network changed: what ``virsh net-update`` asks for.

Source: conf/network_conf.c of libvirt 9.0, virNetworkDefUpdateSection.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Any, TypeVar

from lxml import etree

from culvert.domain import binding, xml
from culvert.domain.network import check, text
from culvert.domain.network.definition import (
    Dhcp,
    DhcpHost,
    DhcpRange,
    Dns,
    DnsHost,
    DnsSrv,
    DnsTxt,
    Forward,
    HostDevice,
    NetworkDef,
    NetworkIp,
    PortGroup,
)
from culvert.ground import errors

T = TypeVar("T")


class Command(IntEnum):
    """``virNetworkUpdateCommand``: VIR_NETWORK_UPDATE_COMMAND_*."""

    MODIFY = 1
    DELETE = 2
    ADD_LAST = 3
    ADD_FIRST = 4


class Section(IntEnum):
    """``virNetworkUpdateSection``: VIR_NETWORK_SECTION_*."""

    BRIDGE = 1
    DOMAIN = 2
    IP = 3
    IP_DHCP_HOST = 4
    IP_DHCP_RANGE = 5
    FORWARD = 6
    FORWARD_INTERFACE = 7
    FORWARD_PF = 8
    PORTGROUP = 9
    DNS_HOST = 10
    DNS_TXT = 11
    DNS_SRV = 12


FIXED = {
    Section.BRIDGE: "bridge",
    Section.DOMAIN: "domain",
    Section.IP: "ip",
    Section.FORWARD: "forward",
    Section.FORWARD_PF: "forward pf",
}
"""What cannot be changed, and libvirt's name for it."""

# What counts only when dnsmasq is started anew.
RESTARTS = (Section.IP_DHCP_RANGE, Section.DNS_TXT, Section.DNS_SRV)
ADDS = (Command.ADD_FIRST, Command.ADD_LAST)


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked for: a ``Command``, a ``Section``, of which ``<ip>`` (-1: the fitting one), and the element."""

    command: int
    section: int
    parent: int
    markup: str


@dataclass(frozen=True, slots=True)
class Change:
    """What is to be done: ``command``, to which part, and the element. ``parent``: of which ``<ip>``, -1: the fitting
    one."""

    network: NetworkDef
    command: int
    element: etree._Element
    parent: int = -1

    def read(self, cls: type[T], tag: str) -> T:
        """Raises ``errors.XMLError`` for another element."""
        if self.element.tag != tag:
            raise errors.XMLError(
                f"XML error: unexpected element <{self.element.tag}>, expecting <{tag}>, while updating network"
                f" '{self.network.name}'"
            )
        return binding.read(cls, self.element, f"/{tag}")

    def only_added(self, what: str) -> None:
        if self.command == Command.MODIFY:
            raise errors.OperationUnsupported(f"{what} cannot be modified, only added or deleted")

    def listed(self, held: tuple[T, ...], one: T, found: list[int]) -> tuple[T, ...]:
        """``held`` with ``one`` more, without the one found, or with that replaced."""
        if self.command == Command.ADD_FIRST:
            return (one, *held)
        if self.command == Command.ADD_LAST:
            return (*held, one)
        if self.command == Command.DELETE:
            return tuple(other for place, other in enumerate(held) if place != found[0])
        if self.command == Command.MODIFY:
            return tuple(one if place == found[0] else other for place, other in enumerate(held))
        raise errors.OperationUnsupported(f"unrecognized network update command code {self.command}")


def changed(network: NetworkDef, request: Request) -> NetworkDef:
    """``network`` with one part changed.

    Raises ``errors.OperationUnsupported`` for what cannot be, ``errors.OperationInvalid`` where there is no such
    entry, or already one, and what the reader refuses.
    """
    section = request.section
    if section in FIXED:
        raise errors.OperationUnsupported(
            f"can't update '{FIXED[Section(section)]}' section of network '{network.name}'"
        )
    if section not in _SECTIONS:
        raise errors.OperationUnsupported("can't update unrecognized section of network")
    element = xml.read(request.markup)
    wanted = _SECTIONS[Section(section)](Change(network, request.command, element, request.parent))
    # What has been added may be what no definition may have.
    checked = text.parse(text.format(wanted))
    check.check(checked)
    return checked


def _ip(change: Change) -> tuple[int, NetworkIp]:
    """The address whose guests it is about."""
    ips, name = change.network.ips, change.network.name
    if change.parent >= 0:
        if change.parent < len(ips):
            return change.parent, ips[change.parent]
        raise errors.OperationInvalid(
            f"couldn't update dhcp host entry - no <ip> element found at index {change.parent} in network '{name}'"
        )
    order = sorted(enumerate(ips), key=lambda found: (not found[1].gives, found[1].version))
    if not order:
        raise errors.OperationInvalid(f"couldn't update dhcp host entry - no <ip> element found in network '{name}'")
    return order[0]


def _only_dhcp(change: Change, ip: NetworkIp) -> None:
    for other in change.network.ips:
        if other is not ip and other.version == ip.version and other.gives:
            raise errors.OperationInvalid(
                f"dhcp is supported only for a single IPv{ip.version} address on each network"
            )


def _with_dhcp(change: Change, place: int, dhcp: Dhcp) -> NetworkDef:
    ips = list(change.network.ips)
    ips[place] = replace(ips[place], dhcp=dhcp)
    return replace(change.network, ips=tuple(ips))


def _dhcp_host(change: Change) -> NetworkDef:
    place, ip = _ip(change)
    name, dhcp, partial = change.network.name, ip.dhcp or Dhcp(), change.command == Command.DELETE
    host = change.read(DhcpHost, "host")
    check.check_dhcp_host(ip, host, name, partial=partial)
    if not partial and host.ip is not None and (":" in host.ip) != (ip.version == 6):
        raise errors.OperationInvalid(
            "the address family of a host entry IP must match the address family of the dhcp element's parent"
        )

    def same(other: DhcpHost) -> bool:
        pairs = ((host.mac, other.mac), (host.name, other.name), (host.ip, other.ip))
        if partial:
            return all(ours in (None, theirs) for ours, theirs in pairs)
        return any(ours is not None and ours == theirs for ours, theirs in pairs)

    found = [number for number, other in enumerate(dhcp.hosts) if same(other)]
    shown = f"mac='{host.mac or 'unknown'}' name='{host.name or '(null)'}' ip='{host.ip or 'unknown'}'"
    if change.command in ADDS:
        _only_dhcp(change, ip)
        if found:
            raise errors.OperationInvalid(
                f"there is an existing dhcp host entry in network '{name}' that matches \"<host {shown}/>\""
            )
    elif not found:
        quoted = " ".join(f'"{part}"' for part in shown.split())
        raise errors.OperationInvalid(
            f"couldn't locate a matching dhcp host entry in network '{name}'"
            if partial
            else f"couldn't locate an existing dhcp host entry with {quoted} in network '{name}'"
        )
    return _with_dhcp(change, place, replace(dhcp, hosts=change.listed(dhcp.hosts, host, found)))


def _dhcp_range(change: Change) -> NetworkDef:
    place, ip = _ip(change)
    name, dhcp = change.network.name, ip.dhcp or Dhcp()
    change.only_added("dhcp ranges")
    wanted = change.read(DhcpRange, "range")
    if (":" in wanted.start) != (ip.version == 6):
        raise errors.OperationInvalid(
            "the address family of a dhcp range must match the address family of the dhcp element's parent"
        )
    check.check_dhcp_range(ip, wanted)
    ends = (wanted.start, wanted.end)
    found = [number for number, other in enumerate(dhcp.ranges) if (other.start, other.end) == ends]
    if change.command in ADDS:
        _only_dhcp(change, ip)
        if found:
            raise errors.OperationInvalid(
                f"there is an existing dhcp range entry in network '{name}' that matches"
                f" \"<range start='{wanted.start}' end='{wanted.end}'/>\""
            )
    elif not found:
        raise errors.OperationInvalid(f"couldn't locate a matching dhcp range entry in network '{name}'")
    return _with_dhcp(change, place, replace(dhcp, ranges=change.listed(dhcp.ranges, wanted, found)))


def _interface(change: Change) -> NetworkDef:
    network, name = change.network, change.network.name
    change.only_added("forward interface entries")
    device = change.read(HostDevice, "interface")
    forward = network.forward or Forward()
    found = [number for number, other in enumerate(forward.interfaces) if other.dev == device.dev]
    if change.command in ADDS and found:
        raise errors.OperationInvalid(
            f"there is an existing interface entry in network '{name}' that matches"
            f" \"<interface dev='{device.dev}'>\""
        )
    if change.command == Command.DELETE and not found:
        raise errors.OperationInvalid(
            f"couldn't find an interface entry in network '{name}' matching <interface dev='{device.dev}'>"
        )
    listed = change.listed(forward.interfaces, replace(device, connections=None), found)
    return replace(network, forward=replace(forward, dev=listed[0].dev if listed else None, interfaces=listed))


def _portgroup(change: Change) -> NetworkDef:
    network, name = change.network, change.network.name
    group = change.read(PortGroup, "portgroup")
    found = [number for number, other in enumerate(network.portgroups) if other.name == group.name]
    if change.command in ADDS and found:
        raise errors.OperationInvalid(
            f"there is an existing portgroup entry in network '{name}' that matches"
            f" \"<portgroup name='{group.name}'>\""
        )
    if change.command in (Command.MODIFY, Command.DELETE) and not found:
        raise errors.OperationInvalid(
            f"couldn't find a portgroup entry in network '{name}' matching <portgroup name='{group.name}'>"
        )
    others = any(other.default and other.name != group.name for other in network.portgroups)
    if change.command != Command.DELETE and group.default and others:
        raise errors.OperationInvalid(
            f"a different portgroup entry in network '{name}' is already set as the default. "
            "Only one default is allowed."
        )
    return replace(network, portgroups=change.listed(network.portgroups, group, found))


def _record(change: Change, kind: str, found: list[int], where: str = "") -> None:
    """Raise unless what is to be added is not there, and what is to be deleted is there once."""
    name = change.network.name
    if change.command in ADDS and found:
        raise errors.OperationInvalid(
            f"there is already at least one DNS {kind} record {where} in network {name}"
            if kind != "TXT"
            else f"there is already a DNS TXT record {where} in network {name}"
        )
    if change.command == Command.DELETE and not found:
        raise errors.OperationInvalid(f"couldn't locate a matching DNS {kind} record in network {name}")
    if change.command == Command.DELETE and len(found) > 1:
        matching = f"multiple matching DNS {kind} records were found"
        if kind == "SRV":
            matching = "multiple DNS SRV records matching all specified fields were found"
        raise errors.OperationInvalid(f"{matching} in network {name}")


def _dns_host(change: Change) -> NetworkDef:
    change.only_added("DNS HOST records")
    host, dns = change.read(DnsHost, "host"), change.network.dns or Dns()
    adds = change.command in ADDS
    if host.ip is None and (adds or not host.hostnames):
        missing = "IP address" if adds else "ip and hostname"
        raise errors.XMLDetail(f"Missing {missing} in network '{change.network.name}' DNS HOST record")
    if adds and not host.hostnames:
        raise errors.XMLDetail(f"Missing hostname in network '{change.network.name}' DNS HOST record")

    def same(other: DnsHost) -> bool:
        return (host.ip is not None and host.ip == other.ip) or (
            not adds and any(one in other.hostnames for one in host.hostnames)
        )

    found = [number for number, other in enumerate(dns.hosts) if same(other)]
    _record(change, "HOST", found, "with a matching field")
    return replace(change.network, dns=replace(dns, hosts=change.listed(dns.hosts, host, found)))


def _dns_txt(change: Change) -> NetworkDef:
    change.only_added("DNS TXT records")
    txt, dns = change.read(DnsTxt, "txt"), change.network.dns or Dns()
    found = [number for number, other in enumerate(dns.txts) if other.name == txt.name]
    _record(change, "TXT", found, f"with name '{txt.name}'")
    return replace(change.network, dns=replace(dns, txts=change.listed(dns.txts, txt, found)))


def _dns_srv(change: Change) -> NetworkDef:
    change.only_added("DNS SRV records")
    srv, dns = change.read(DnsSrv, "srv"), change.network.dns or Dns()

    def said(one: DnsSrv) -> tuple[Any, ...]:
        return one.domain, one.service, one.protocol, one.target

    found = [
        number
        for number, other in enumerate(dns.srvs)
        if all(ours in (None, theirs) for ours, theirs in zip(said(srv), said(other), strict=True))
    ]
    _record(change, "SRV", found, "matching all specified fields")
    return replace(change.network, dns=replace(dns, srvs=change.listed(dns.srvs, srv, found)))


_SECTIONS: dict[Section, Callable[[Change], NetworkDef]] = {
    Section.IP_DHCP_HOST: _dhcp_host,
    Section.IP_DHCP_RANGE: _dhcp_range,
    Section.FORWARD_INTERFACE: _interface,
    Section.PORTGROUP: _portgroup,
    Section.DNS_HOST: _dns_host,
    Section.DNS_TXT: _dns_txt,
    Section.DNS_SRV: _dns_srv,
}
