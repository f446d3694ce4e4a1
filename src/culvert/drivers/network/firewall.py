"""The rules of a network, in a table of its own: one is put up, replaced and taken down as a whole.

What libvirt's rules let through and turn back, for its bridge alone. Every network has a table, so no rule of
anybody's is looked for, and none is touched. A rule of another table that drops these packets goes on doing so.

Source: network/network_nftables.c of libvirt 11.3, network/bridge_driver_linux.c of 9.0; nft(8).
"""

from __future__ import annotations

import re
from dataclasses import replace

from culvert.domain.network.definition import Nat, NetworkDef, NetworkIp, PortRange
from culvert.drivers.network import tool

PREFIX = "culvert_network_"
LOCAL = {4: ("255.255.255.255/32", "224.0.0.0/24"), 6: ("ff02::/16",)}
"""What never leaves a network, and so is not turned into the host's address."""
LOWEST_PORT, HIGHEST_PORT = 1024, 65535  # else a guest could seem to be a privileged program of the host
FAMILY = {4: "ip", 6: "ip6"}
PROTOCOL = {4: "ipv4", 6: "ipv6"}


def table(bridge: str) -> str:
    """The name of the table of a network with that bridge."""
    return PREFIX + re.sub(r"[^A-Za-z0-9_]", lambda found: f".{ord(found[0]):02x}", bridge)


def rules(network: NetworkDef) -> str:
    """The table of ``network``, for ``nft -f``: it replaces the one that is there."""
    bridge = network.bridge_name
    assert bridge is not None
    name = table(bridge)
    forward = [f'iifname "{bridge}" oifname "{bridge}" counter accept']
    versions = [4] + ([6] if network.ipv6 or any(ip.version == 6 for ip in network.ips) else [])
    forward += [rule for ip in network.ips for rule in _coming(network, ip, bridge)]
    forward += [f'oifname "{bridge}" meta nfproto {PROTOCOL[version]} counter reject' for version in versions]
    forward += [rule for ip in network.ips for rule in _going(network, ip, bridge)]
    forward += [f'iifname "{bridge}" meta nfproto {PROTOCOL[version]} counter reject' for version in versions]
    chains = [_chain("forward", "type filter hook forward priority filter; policy accept;", forward)]
    turned = [rule for ip in network.ips if _is_turned(network, ip) for rule in _turning(network, ip)]
    if turned:
        chains.append(_chain("postrouting", "type nat hook postrouting priority srcnat; policy accept;", turned))
    return f"{removal(bridge)}table inet {name} {{\n{''.join(chains)}}}\n"


def settled(network: NetworkDef) -> NetworkDef:
    """``network`` with the ports that its guests' become, where it does not say which: so libvirt shows one that is
    active."""
    forward = network.forward
    if forward is None or not any(_is_turned(network, ip) for ip in network.ips):
        return network
    nat = forward.nat or Nat()
    ports = nat.port or PortRange(start=LOWEST_PORT, end=HIGHEST_PORT)
    return replace(network, forward=replace(forward, nat=replace(nat, port=ports)))


def removal(bridge: str) -> str:
    """Takes the table down, be it there or not."""
    return f"add table inet {table(bridge)}\ndelete table inet {table(bridge)}\n"


async def put_up(network: NetworkDef) -> None:
    """Raises ``errors.InternalError`` with nft's words."""
    await tool.run("nft", ["-f", "-"], text=rules(network))


async def take_down(bridge: str) -> None:
    """Raises as ``put_up``."""
    await tool.run("nft", ["-f", "-"], text=removal(bridge))


def _chain(name: str, hook: str, lines: list[str]) -> str:
    return "".join([f"  chain {name} {{\n", f"    {hook}\n", *(f"    {line}\n" for line in lines), "  }\n"])


def _is_turned(network: NetworkDef, ip: NetworkIp) -> bool:
    nat = network.forward.nat if network.forward is not None else None
    return network.mode == "nat" and (ip.version == 4 or (nat is not None and nat.ipv6 is True))


def _device(network: NetworkDef, way: str) -> str:
    return f'{way}ifname "{network.devices[0]}" ' if network.devices else ""


def _coming(network: NetworkDef, ip: NetworkIp, bridge: str) -> list[str]:
    if network.mode not in ("nat", "route"):
        return []
    state = "ct state related,established " if _is_turned(network, ip) else ""
    to = f"{FAMILY[ip.version]} daddr {ip.subnet}"
    return [f'{_device(network, "i")}oifname "{bridge}" {to} {state}counter accept']


def _going(network: NetworkDef, ip: NetworkIp, bridge: str) -> list[str]:
    if network.mode not in ("nat", "route"):
        return []
    of = f"{FAMILY[ip.version]} saddr {ip.subnet}"
    return [f'{of} iifname "{bridge}" {_device(network, "o")}counter accept']


def _turning(network: NetworkDef, ip: NetworkIp) -> list[str]:
    family, subnet, device = FAMILY[ip.version], ip.subnet, _device(network, "o")
    of = f"{family} saddr {subnet}"
    lines = [f"{device}{of} {family} daddr {local} counter return" for local in reversed(LOCAL[ip.version])]
    nat = network.forward.nat if network.forward is not None else None
    ports = nat.port if nat is not None else None
    low, high = (ports.start, ports.end) if ports is not None else (LOWEST_PORT, HIGHEST_PORT)
    given = nat.address if nat is not None and ip.version == 4 else None
    for protocol in ("tcp", "udp", ""):
        those = f"meta l4proto {protocol} " if protocol else ""
        allowed = f":{low}-{high}" if protocol else ""
        if given is not None:
            target = f"snat ip to {given.start}-{given.end}{allowed}"
        else:
            target = "masquerade" + (f" to {allowed}" if allowed else "")
        lines.append(f"{those}{of} {family} daddr != {subnet} {device}counter {target}")
    return lines
