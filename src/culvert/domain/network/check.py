"""What libvirt refuses of a network's definition, in its words.

Source: conf/network_conf.c (virNetworkDefParseXML) and network/bridge_driver.c (networkValidate) of libvirt 9.0.
"""

from __future__ import annotations

import ipaddress

from culvert.domain import bandwidth
from culvert.domain.network import addresses
from culvert.domain.network.definition import (
    DIRECT,
    ROUTED,
    Bridge,
    DhcpHost,
    DhcpRange,
    Dns,
    DnsSrv,
    LeaseTime,
    Nat,
    NetworkDef,
    NetworkIp,
    StaticRoute,
)
from culvert.ground import errors

MOST_ADDRESSES = 65535  # of one range (virSocketAddrGetRange)


def check_read(network: NetworkDef, *, stp_given: bool) -> None:
    """Raise for what makes no sense in itself: a reader's refusals. ``stp_given``: it is said in so many words."""
    if network.mac is not None and addresses.multicast(network.mac):
        raise _xml(f"Invalid multicast bridge mac address '{network.mac}' in network '{network.name}'")
    if network.dns is not None:
        _check_dns(network.dns, network.name)
    for ip in network.ips:
        check_ip(ip, network.name)
    for route in network.routes:
        _check_route(network, route)
    bandwidth.check(network.bandwidth, floor=False)
    for group in network.portgroups:
        bandwidth.check(group.bandwidth, floor=False)
    _check_forward(network, stp_given)
    if network.mtu is not None and not network.is_virtual:
        raise _xml(
            "mtu size only allowed in open, route, nat, and isolated mode, not in"
            f" {network.mode} (network '{network.name}')"
        )


def _xml(text: str) -> errors.XMLError:
    return errors.XMLError(f"XML error: {text}")


_detail = errors.XMLDetail


def _check_forward(network: NetworkDef, stp_given: bool) -> None:
    forward, name, mode = network.forward, network.name, network.mode
    if forward is None:
        return
    if forward.nat is not None:
        _check_nat(forward.nat, network)
    if mode in ROUTED:
        if not network.ips:
            raise _xml(f"{mode} forwarding requested, but no IP address provided for network '{name}'")
        if len(forward.interfaces) > 1:
            raise _xml(f"multiple forwarding interfaces specified for network '{name}', only one is supported")
        if mode == "open" and forward.interfaces:
            raise _xml(f"forward dev not allowed for network '{name}' with forward mode='{mode}'")
        return
    if network.bridge is not None:
        _check_bridge(network, network.bridge, stp_given)


def _check_nat(nat: Nat, network: NetworkDef) -> None:
    name, ports = network.name, nat.port
    if network.mode != "nat":
        raise _xml(f"The <nat> element can only be used when <forward> 'mode' is 'nat' in network {name}")
    if ports is not None and ports.end < ports.start:
        raise _detail(f"Missing or invalid 'end' attribute in <port> in <nat> in <forward> in network {name}")
    if nat.address is not None:
        check_range(nat.address.start, nat.address.end)


def _check_bridge(network: NetworkDef, bridge: Bridge, stp_given: bool) -> None:
    """Of a network whose bridge, if it has one, is the host's."""
    name, mode = network.name, network.mode
    if mode in DIRECT:
        for given, what in (
            (bridge.name, "bridge name not allowed"),
            (bridge.zone, "bridge zone not allowed"),
            (bridge.mac_table_manager, "bridge macTableManager setting not allowed"),
        ):
            if given:
                raise _xml(f"{what} in {mode} mode (network '{name}')")
    if bridge.delay or stp_given or bridge.zone:
        raise _xml(
            "bridge delay/stp/zone options only allowed in route, nat, and isolated mode, not in"
            f" {mode} (network '{name}')"
        )
    if bridge.name is not None and network.devices:
        raise _xml(
            f"A network with forward mode='{mode}' can specify a bridge name or a forward dev, but not both"
            f" (network '{name}')"
        )


def _check_dns(dns: Dns, name: str) -> None:
    for one in dns.forwarders:
        if one.addr is None and one.domain is None:
            raise _xml("Invalid forwarder element, must contain at least one of addr or domain")
    for host in dns.hosts:
        if host.ip is None:
            raise _detail(f"Missing IP address in network '{name}' DNS HOST record")
        if not host.hostnames:
            raise _detail(f"Missing hostname in network '{name}' DNS HOST record")
    for srv in dns.srvs:
        _check_srv(srv, name)
    for txt in dns.txts:
        if txt.value is None:
            raise _detail(f"missing required value attribute in DNS TXT record named '{txt.name}' of network {name}")
    if dns.enable is False and (dns.forwarders or dns.hosts or dns.srvs or dns.txts):
        raise _xml(f"Extra data in disabled network '{name}'")


def _check_srv(srv: DnsSrv, name: str) -> None:
    if srv.service is None:
        raise _detail(f"missing required service attribute in DNS SRV record of network '{name}'")
    if srv.protocol is None:
        raise _detail(f"missing required protocol attribute in DNS SRV record '{srv.service}' of network '{name}'")
    for what, given in (("port", srv.port), ("priority", srv.priority), ("weight", srv.weight)):
        if given is not None and srv.target is None:
            raise _detail(
                f"DNS SRV {what} attribute not permitted without target for service '{srv.service}'"
                f" in network '{name}'"
            )


def check_ip(ip: NetworkIp, name: str) -> None:
    """Raise for an address that is no whole one, and for what is given out with it."""
    if ip.family != "ipv6":
        if ip.version == 6:
            said = "no" if ip.family is None else "ipv4"
            raise errors.ConfigUnsupported(
                f"{said} family specified for non-IPv4 address '{ip.address}' in network '{name}'"
            )
        if ip.netmask is not None and ":" in ip.netmask:
            raise errors.ConfigUnsupported(
                f"Invalid netmask '{ip.netmask}' for address '{ip.address}' in network '{name}' (both must be IPv4)"
            )
        if ip.netmask is not None and ip.prefix:
            raise errors.ConfigUnsupported(f"Network '{name}' IP address cannot have both a prefix and a netmask")
        if ip.prefix is not None and ip.prefix > 32:
            raise errors.ConfigUnsupported(f"Invalid IPv4 prefix '{ip.prefix}' in network '{name}'")
    else:
        if ip.version != 6:
            raise errors.ConfigUnsupported(
                f"Family 'ipv6' specified for non-IPv6 address '{ip.address}' in network '{name}'"
            )
        if ip.netmask is not None:
            raise errors.ConfigUnsupported(f"netmask not allowed for IPv6 address '{ip.address}' in network '{name}'")
        if ip.tftp is not None:
            raise errors.ConfigUnsupported(f"Unsupported <tftp> element in an IPv6 element in network '{name}'")
    if ip.dhcp is not None:
        for one in ip.dhcp.ranges:
            check_dhcp_range(ip, one)
        for host in ip.dhcp.hosts:
            check_dhcp_host(ip, host, name)


def check_range(start: str, end: str) -> None:
    """Raise ``errors.InternalError`` for two addresses that are no range."""
    first, last = ipaddress.ip_address(start), ipaddress.ip_address(end)
    if first.version != last.version:
        raise errors.InternalError(f"internal error: mismatch of address family in range {start} - {end}")
    if int(last) < int(first):
        raise errors.InternalError(f"internal error: range {start} - {end} is reversed ")
    if int(last) - int(first) + 1 > MOST_ADDRESSES:
        raise errors.InternalError(f"internal error: range {start} - {end} is too large (> {MOST_ADDRESSES})")


def check_dhcp_range(ip: NetworkIp, wanted: DhcpRange) -> None:
    """Raise for a range that is not in the network of ``ip``. Source: virSocketAddrGetRange."""
    start, end, network = wanted.start, wanted.end, ip.subnet
    shown = f"{ip.address}/{ip.length}"
    for one in (start, end):
        if ipaddress.ip_address(one).version != ip.version:
            raise errors.InternalError(
                f"internal error: mismatch of address family in range {start} - {end} for network {ip.address}"
            )
    check_range(start, end)
    for one in (start, end):
        if ipaddress.ip_address(one) not in network:
            raise errors.InternalError(
                f"internal error: range {start} - {end} is not entirely within network {shown}"
            )
    if ip.version == 4 and network.prefixlen < 31:
        if ipaddress.ip_address(start) == network.network_address:
            raise errors.InternalError(
                f"internal error: start of range {start} - {end} in network {shown} is the network address"
            )
        if ipaddress.ip_address(end) == network.broadcast_address:
            raise errors.InternalError(
                f"internal error: end of range {start} - {end} in network {shown} is the broadcast address"
            )
    _check_lease(wanted.lease)


def _check_lease(lease: LeaseTime | None) -> None:
    if lease is not None and 0 < lease.expiry < {"seconds": 120, "hours": 0}.get(lease.unit or "minutes", 2):
        raise errors.ConfigUnsupported("The minimum lease time should be greater than 2 minutes")


def check_dhcp_host(ip: NetworkIp, host: DhcpHost, name: str, *, partial: bool = False) -> None:
    """Raise for an entry that says too little; ``partial``: it is only to be found by what it says."""
    if host.mac is not None and ip.version == 6:
        raise _xml(f"Invalid to specify MAC address '{host.mac}' in network '{name}' IPv6 static host definition")
    if host.mac is not None and addresses.multicast(host.mac):
        raise _xml(f"expected unicast mac address, found multicast '{host.mac}' in network '{name}'")
    if partial:
        if not (host.mac or host.name or host.ip):
            raise _xml(
                "At least one of name, mac, or ip attribute must be specified for static host definition"
                f" in network '{name}' "
            )
        return
    if ip.version == 6 and not (host.id or host.name):
        raise _xml(f"Static host definition in IPv6 network '{name}' must have id or name attribute")
    if ip.version == 4 and not (host.mac or host.name):
        raise _xml(f"Static host definition in IPv4 network '{name}' must have mac or name attribute")
    if host.ip is None:
        raise _xml(f"Missing IP address in static host definition for network '{name}'")
    _check_lease(host.lease)


def _check_route(network: NetworkDef, route: StaticRoute) -> None:
    """Source: conf/networkcommon_conf.c, virNetDevIPRouteCreate."""
    name, gateway = network.name, route.gateway
    found, address = ipaddress.ip_address(gateway), ipaddress.ip_address(route.address)
    version, most = (6, 128) if route.family == "ipv6" else (4, 32)
    said = route.family or "No family"
    for what, one in (("address", address), ("gateway address", found)):
        if one.version != version:
            raise _xml(f"{name}: {said} specified for non-IPv{version} {what} '{one}' in route definition")
    if route.netmask is not None and (version == 6 or ":" in route.netmask):
        raise _xml(f"{name}: Invalid netmask '{route.netmask}' for address '{route.address}' (both must be IPv4)")
    if route.netmask is not None and route.prefix is not None:
        raise _xml(f"{name}: Route definition cannot have both a prefix and a netmask")
    if route.prefix is not None and route.prefix > most:
        raise _xml(f"{name}: Invalid prefix {route.prefix} specified in route definition, must be 0 - {most}")
    if route.destination.network_address != address:
        raise _xml(f"{name}: Address '{route.address}' in route definition is not a network address")
    if not any(ip.version == found.version and found in ip.subnet for ip in network.ips):
        raise errors.ConfigUnsupported(
            f"unreachable static route gateway '{gateway}' specified for network '{network.name}'"
        )


def check(network: NetworkDef) -> None:
    """Raise ``errors.ConfigUnsupported`` for what does not go together: the network driver's refusals."""
    name, mode = network.name, network.mode
    if not network.is_virtual:
        dns = network.dns
        for given, what in (
            (network.mac, "mac"),
            (network.ips, "ip"),
            (dns is not None and (dns.txts or dns.hosts or dns.srvs), "dns"),
            (network.domain, "domain"),
        ):
            if given:
                raise errors.ConfigUnsupported(
                    f"Unsupported <{what}> element in network {name} with forward mode='{mode}'"
                )
    limited = network.is_virtual or (mode == "bridge" and network.bridge_name is not None)
    if network.bandwidth is not None and not limited:
        raise errors.ConfigUnsupported(
            f"Unsupported network-wide <bandwidth> element in network {name} with forward mode='{mode}'"
        )
    for version in (4, 6):
        if sum(ip.version == version and ip.gives for ip in network.ips) > 1:
            raise errors.ConfigUnsupported(
                f"Multiple IPv{version} dhcp sections found -- dhcp is supported only for a single IPv{version}"
                " address on each network"
            )
    _check_portgroups(network, limited)


def _check_portgroups(network: NetworkDef, limited: bool) -> None:
    name, groups = network.name, network.portgroups
    defaults = [one.name for one in groups if one.default]
    if len(defaults) > 1:
        raise errors.ConfigUnsupported(
            f"network '{name}' has multiple default <portgroup> elements ({defaults[0]} and {defaults[1]}), "
            "but only one default is allowed"
        )
    names = [one.name for one in groups]
    for one in groups:
        if names.count(one.name) > 1:
            raise errors.ConfigUnsupported(
                f"multiple <portgroup> elements with the same name ({one.name}) in network '{name}'"
            )
        if one.bandwidth is not None and not limited:
            raise errors.ConfigUnsupported(
                f"Unsupported <bandwidth> element in network '{name}' in portgroup '{one.name}' with forward"
                f" mode='{network.mode}'"
            )
    tagged = network.vlan is not None and bool(network.vlan.tags)
    if network.mode != "passthrough" and (tagged or any(one.vlan is not None for one in groups)):
        raise errors.ConfigUnsupported(
            f"<vlan> element specified for network {name}, whose type doesn't support vlan configuration"
        )
