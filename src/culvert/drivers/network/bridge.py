"""The bridge of a network: made, given its addresses, taken away. By iproute2 and the kernel's settings in /proc/sys.

Source: network/bridge_driver.c of libvirt 9.0 (networkStartNetworkVirtual, networkSetIPv6Sysctls); ip(8).
"""

from __future__ import annotations

import contextlib
import ipaddress
import logging
from pathlib import Path

from culvert.domain.network.definition import NetworkDef
from culvert.drivers.network import device, tool
from culvert.ground import errors
from culvert.io import blocking

log = logging.getLogger(__name__)

SETTINGS = Path("/proc/sys/net")
ROUTES = Path("/proc/net/route")
HUNDREDTHS = 100  # of a second, ip's unit of a delay


async def make(network: NetworkDef) -> None:
    """The bridge, without addresses, switched off. Nothing of it is there when it raises.

    Raises ``errors.SystemCallError`` when there is a device of that name already.
    """
    name, bridge = network.bridge_name, network.bridge
    assert name is not None
    assert bridge is not None
    if await blocking.to_its_end(lambda: device.exists(name)):
        raise errors.SystemCallError(f"Unable to create bridge {name}: File exists", errno=17)
    # The delay first: while the protocol is on, the kernel takes none that is shorter than it should be.
    delay = (bridge.delay or 0) * HUNDREDTHS
    await _ip([f"link add name {name} address {network.mac} type bridge stp_state 0 forward_delay {delay}"])
    try:
        await _ip(
            [
                *([f"link set dev {name} mtu {network.mtu}"] if network.mtu else []),
                *([f"link set dev {name} type bridge stp_state 1"] if bridge.stp else []),
            ]
        )
        await blocking.to_its_end(lambda: _settle_ipv6(name, any(ip.version == 6 for ip in network.ips)))
    except BaseException:
        await remove(name)
        raise


def is_ours(network: NetworkDef) -> bool:
    """Whether the bridge of that name is the one that was made for ``network``, by its address: another program may
    have one of the same name. It may wait: call it in a thread."""
    return network.bridge_name is not None and device.mac(network.bridge_name) == network.mac


async def open_up(network: NetworkDef) -> None:
    """Give the host its addresses in the network, switch the bridge on, and let packets through the host."""
    name = network.bridge_name
    lines = [
        f"address add {ip.address}/{ip.length} {'brd + ' if ip.version == 4 and ip.length < 31 else ''}dev {name}"
        for ip in network.ips
    ]
    await _ip([*lines, f"link set dev {name} up"])
    for route in network.routes:
        metric = f" metric {route.metric}" if route.metric is not None else ""
        try:
            await _ip([f"route add {route.destination} via {route.gateway} dev {name} proto static{metric}"])
        except errors.RequestError as err:  # libvirt goes on without it, too
            log.warning("network=%s route=%s is not set reason=%r", network.name, route.destination, err.message)
    if network.forward is not None:
        await blocking.to_its_end(lambda: _forward({ip.version for ip in network.ips}))


async def remove(name: str) -> None:
    """Raises ``errors.InternalError``; it may be gone already."""
    if await blocking.to_its_end(lambda: device.exists(name)):
        await _ip([f"link delete dev {name} type bridge"])


async def _ip(lines: list[str]) -> None:
    if lines:
        await tool.run("ip", ["-batch", "-"], text="".join(f"{line}\n" for line in lines))


def _settle_ipv6(name: str, wanted: bool) -> None:
    """No IPv6 on a bridge that has no address of it; else nothing that routers on it say is believed."""
    folder = SETTINGS / "ipv6" / "conf" / name
    if not folder.is_dir():
        if wanted:
            raise errors.ConfigUnsupported(f"IPv6 is not there on this host: no address of it for bridge {name}")
        return
    _set(folder / "disable_ipv6", "0" if wanted else "1")
    if wanted:
        _set(folder / "accept_ra", "0")
        _set(folder / "autoconf", "0")


def _forward(versions: set[int]) -> None:
    """The host passes packets on; it is left so when the network ends, as libvirt leaves it."""
    if 4 in versions:
        _set(SETTINGS / "ipv4" / "ip_forward", "1")
    if 6 in versions:
        _set(SETTINGS / "ipv6" / "conf" / "all" / "forwarding", "1")


def _set(path: Path, value: str) -> None:
    with contextlib.suppress(OSError):
        if path.read_text(encoding="ascii").strip() == value:
            return  # a host whose settings cannot be written may have it as it should be
    try:
        path.write_text(value, encoding="ascii")
    except OSError as err:
        raise errors.SystemCallError(f"cannot write to {path}: {err.strerror}", errno=err.errno) from err


def check_routes(network: NetworkDef, text: str) -> None:
    """Raise ``errors.InternalError`` when the host has a network of these addresses already. ``text``: its routes.

    Source: network/bridge_driver_linux.c of libvirt 9.0, networkCheckRouteCollision.
    """
    for line in text.splitlines()[1:]:
        parts = line.split()
        if len(parts) < 8:
            continue
        holder, where, mask = parts[0], int(parts[1], 16), int(parts[7], 16)
        if mask == 0:
            continue
        theirs = ipaddress.ip_network((where.to_bytes(4, "little"), bin(mask).count("1")), strict=False)
        for ip in network.ips:
            if ip.version == 4 and ip.subnet.prefixlen == theirs.prefixlen and ip.subnet == theirs:
                raise errors.InternalError(f"Network is already in use by interface {holder}")
        for route in network.routes:
            if route.destination == theirs:
                raise errors.InternalError(
                    f"Route address '{theirs.network_address}' conflicts with IP address for '{holder}'"
                )


def routes() -> str:
    """The host's IPv4 routes, as the kernel lists them. It touches the disk."""
    try:
        return ROUTES.read_text(encoding="ascii")
    except OSError:
        return ""
