"""A network brought up and taken down: its bridge, its rules, its dnsmasq; all of it or nothing.

Source: network/bridge_driver.c of libvirt 9.0 (networkStartNetworkVirtual, networkShutdownNetworkVirtual).
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable

from culvert.domain.network.definition import NetworkDef
from culvert.drivers.network import bridge, device, firewall, server, traffic
from culvert.drivers.network.store import NetworkStore
from culvert.drivers.qemu.process import Process
from culvert.ground import errors
from culvert.io import blocking

log = logging.getLogger(__name__)


async def bring_up(network: NetworkDef, store: NetworkStore) -> Process | None:
    """Everything that the network needs of this host; its dnsmasq, where it has one.

    Raises ``errors.RequestError``; then there is nothing of it.
    """
    name = network.bridge_name
    if not network.is_virtual:
        if name is not None and network.bandwidth is not None:
            await traffic.limit(name, network.bandwidth, of_bridge=True)
        return None
    assert name is not None
    if network.bridge is not None and network.bridge.zone is not None:
        raise errors.ConfigUnsupported(
            f"zone {network.bridge.zone} requested for network {network.name} but firewalld is not active"
        )
    bridge.check_routes(network, await blocking.to_its_end(bridge.routes))
    await bridge.make(network)
    try:
        if network.mode != "open":
            await firewall.put_up(network)
        await bridge.open_up(network)
        process = await server.start(network, store.files(name))
        if network.bandwidth is not None:
            await traffic.limit(name, network.bandwidth, of_bridge=True)
        limit = network.bandwidth.inbound if network.bandwidth is not None else None
        await traffic.mend_checksums(name, limited=limit is not None)
    except BaseException:
        await take_down(network, store, None)
        raise
    return process


async def take_down(network: NetworkDef, store: NetworkStore, process: Process | None) -> None:
    """Nothing of the network is left but what its dnsmasq knows of guests; what cannot be taken back is logged."""
    name = network.bridge_name
    if name is None:
        return
    if not network.is_virtual:
        if network.bandwidth is not None:
            await _try(network, traffic.clear(name))
        return
    where = store.files(name)
    process = process or await server.find(network, where)
    await _try(network, server.stop(process))
    if process is not None:
        process.forget()
    await blocking.to_its_end(lambda: server.forget(where, leases=False))
    there, ours = await blocking.to_its_end(lambda: (device.exists(name), bridge.is_ours(network)))
    if there and not ours:
        log.warning("network=%s bridge=%s is somebody else's: it is left alone", network.name, name)
        return
    await _try(network, firewall.take_down(name))
    await _try(network, bridge.remove(name))


async def _try(network: NetworkDef, step: Awaitable[None]) -> None:
    try:
        await step
    except errors.RequestError as err:
        log.error("network=%s is not taken down as a whole reason=%r", network.name, err.message)
