"""Devices that leave a running guest: QEMU is asked, the guest lets go when it likes, then the rest is cleared away.

Source: qemu/qemu_hotplug.c of libvirt 9.0 (qemuDomainDetachDeviceLive, qemuDomainRemoveDevice).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from dataclasses import replace
from typing import Any

from culvert.domain import pluggable as kinds
from culvert.domain.definition import DomainDef
from culvert.domain.disk import Disk
from culvert.domain.interface import Interface
from culvert.domain.pluggable import PluggableKind
from culvert.drivers.qemu import attach, plugs, vcpus
from culvert.drivers.qemu.command import command_disk, command_network, command_source
from culvert.drivers.qemu.domain import Domain
from culvert.drivers.qemu.run import Run
from culvert.ground import errors
from culvert.protocol.constants_state import EventID

log = logging.getLogger(__name__)

GUEST_TIMEOUT = 5.0  # seconds that a caller waits for the guest to let go; libvirt waits as long


def pluggable(run: Run) -> dict[str, Any]:
    """Alias → device, of the kinds that can leave."""
    devices = run.definition.devices
    held = [*devices.disks, *devices.interfaces, *(one for field in kinds.FIELDS for one in getattr(devices, field))]
    return {one.alias: one for one in held if one.alias}


async def unplug(domain: Domain, run: Run, alias: str) -> None:
    """Ask for the device to leave, and wait a while for the guest.

    A guest that takes longer is waited for no more: what is left is cleared away when it has let go. Raises
    ``errors.OperationFailed`` when QEMU or the guest refuses.
    """
    left = run.unplugging.setdefault(alias, asyncio.get_running_loop().create_future())
    try:
        await domain.monitor.execute("device_del", {"id": alias})
    except errors.RequestError:
        run.unplugging.pop(alias, None)
        raise
    try:
        async with asyncio.timeout(GUEST_TIMEOUT):
            await asyncio.shield(left)
    except TimeoutError:
        log.info("domain=%s device=%s its guest has not let go of it yet", domain.name, alias)


async def clear_away(domain: Domain, run: Run, alias: str) -> None:
    """QEMU has no such device any more: what was behind it goes too, and the definition; event DEVICE_REMOVED."""
    device = pluggable(run).get(alias)
    try:
        if device is not None:
            await _remove_backends(domain, run, device)
            if domain.run is run:
                run.definition = _without(run, alias)
                with contextlib.suppress(errors.SystemCallError):
                    await domain.persist()
        if domain.run is run:
            domain.tell(EventID.DEVICE_REMOVED, dev_alias=alias)
    finally:
        waiting = run.unplugging.pop(alias, None)
        if waiting is not None and not waiting.done():
            waiting.set_result(None)


async def find_gone(domain: Domain, run: Run) -> None:
    """Clear away what the guest let go of while no daemon was there."""
    there = {
        str(entry["name"]) for entry in await domain.monitor.execute("qom-list", {"path": "/machine/peripheral"})
    }
    for alias, device in pluggable(run).items():
        # Some are no devices of their own: of the machine, or objects.
        if alias not in there and not kinds.is_part_of_the_machine(device):
            await clear_away(domain, run, alias)
    await vcpus.look(domain, run)


def _kind(device: Any) -> PluggableKind | None:
    return next((kind for kind in kinds.KINDS.values() if isinstance(device, kind.cls)), None)


async def _remove_backends(domain: Domain, run: Run, device: Any) -> None:
    if (kind := _kind(device)) is not None:
        await attach.remove_backends(domain, run.definition, kind, device)
    elif isinstance(device, Interface):
        await remove_netdev(domain, device)
        await plugs.unplug(domain.host.networks, domain.name, device)
    else:
        await remove_nodes(domain, device)


async def remove_nodes(domain: Domain, disk: Disk) -> None:
    """Close a disk's image; what is closed already is no harm."""
    if not disk.is_empty:
        for name in command_disk.all_nodes(disk):
            with contextlib.suppress(errors.RequestError):
                await domain.monitor.execute("blockdev-del", {"node-name": name})
        for one in command_source.secrets(disk):
            with contextlib.suppress(errors.RequestError):
                await domain.monitor.execute("object-del", {"id": one.id})


async def remove_netdev(domain: Domain, interface: Interface) -> None:
    """Close what is behind a card; what is closed already is no harm."""
    with contextlib.suppress(errors.RequestError):
        await domain.monitor.execute("netdev_del", {"id": command_network.netdev_name(interface)})


def _without(run: Run, alias: str) -> DomainDef:
    device = pluggable(run)[alias]
    if (kind := _kind(device)) is not None:
        return kinds.removed(run.definition, kind, device)
    devices = run.definition.devices
    left = replace(
        devices,
        disks=tuple(disk for disk in devices.disks if disk.alias != alias),
        interfaces=tuple(card for card in devices.interfaces if card.alias != alias),
    )
    return replace(run.definition, devices=left)
