"""Before QEMU opens them: where volumes are, what images stand on, which media may be missing, and their passwords.

Source: qemu/qemu_process.c (qemuProcessPrepareHostStorage) and qemu/qemu_domain.c (qemuDomainDetermineDiskChain,
qemuDomainCheckDiskPresence) of libvirt 9.0.
"""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace
from uuid import UUID

from culvert.domain.definition import DomainDef
from culvert.domain.disk import Disk, DiskDriver
from culvert.domain.disk_source import BackingStore, DiskSource
from culvert.drivers.qemu import chain
from culvert.drivers.qemu.command import command_source
from culvert.drivers.qemu.host import QemuHost
from culvert.ground import errors
from culvert.io import blocking

LOOK_TIMEOUT = 30.0  # seconds for the headers of one disk's images; a server that is gone must not hold a start

# What the secret of an object is for, in the words of the secret driver (qemuDomainSecretStorageSourcePrepare).
_PURPOSES = {"rbd": "ceph"}


async def prepared(host: QemuHost, definition: DomainDef, *, missing_allowed: bool = True) -> DomainDef:
    """``definition`` with the places of its volumes and what its images stand on; without media that may be missing.

    ``missing_allowed``: whether a medium of startupPolicy ``requisite`` may be missing too; not of a guest that
    arrives.
    Raises ``errors.SystemCallError`` for an image that is not there, and as ``chain.below``.
    """
    found = [await _one(host, disk, missing_allowed=missing_allowed) for disk in definition.devices.disks]
    disks = tuple(disk for disk in found if disk is not None)
    return replace(definition, devices=replace(definition.devices, disks=disks))


async def disk(host: QemuHost, wanted: Disk) -> Disk:
    """The same for one disk that is plugged in, whose medium must be there."""
    found = await _one(host, replace(wanted, source=_insisting(wanted.source)), missing_allowed=False)
    assert (found is not None and found.source is not None) or wanted.is_empty
    return wanted if found is None else replace(found, source=_as_before(found.source, wanted.source))


def _insisting(source: DiskSource | None) -> DiskSource | None:
    return replace(source, startup_policy=None) if source else None


def _as_before(source: DiskSource | None, told: DiskSource | None) -> DiskSource | None:
    return replace(source, startup_policy=told.startup_policy if told else None) if source else None


async def _one(host: QemuHost, disk: Disk, *, missing_allowed: bool) -> Disk | None:
    """None: the disk is left out, for its image is not there and need not be."""
    if disk.is_empty or disk.source is None:
        return _emptied(disk, disk.source) if disk.is_removable else disk
    located = await located_disk(host, disk)
    if located.type == "network":
        return located
    policy = disk.source.startup_policy
    try:
        store = await _looked(located)
    except errors.SystemCallError:
        optional = policy == "optional" or (policy == "requisite" and missing_allowed)
        if not optional or await _exists(located.path or ""):
            raise
        if not disk.is_removable:
            return None
        return _emptied(disk, None)
    return replace(located, backing_store=store)


def _emptied(disk: Disk, source: DiskSource | None) -> Disk:
    """A drive without a medium, of which no format is known."""
    driver = replace(disk.driver, type=None) if disk.driver else None
    return replace(disk, driver=driver, source=source, backing_store=None)


async def _exists(path: str) -> bool:
    async with asyncio.timeout(LOOK_TIMEOUT):
        return await blocking.left_behind(lambda: os.path.exists(path), name="exists")


async def located_disk(host: QemuHost, disk: Disk) -> Disk:
    """``disk`` with the place and the format of the volume that it is, if it is one.

    Raises as ``Volumes.locate``, and ``errors.XMLError`` for what only other pools have.
    """
    source = disk.source
    if disk.type != "volume" or source is None or source.pool is None or source.volume is None:
        return disk
    if source.mode is not None:  # of pools that culvert has none of; libvirt's words for one in a folder
        raise errors.XMLError("disk source mode is only valid when storage pool is of iscsi type")
    found = await host.volumes.locate(source.pool, source.volume)
    place = replace(source, dev=found.path) if found.is_block else replace(source, file=found.path)
    driver = disk.driver or DiskDriver()
    return replace(disk, source=place, driver=replace(driver, type=driver.type or found.format))


async def _looked(disk: Disk) -> BackingStore | None:
    path = disk.path or ""

    def look() -> BackingStore | None:
        if not os.path.exists(path):
            raise errors.SystemCallError(f"Cannot access storage file '{path}': No such file or directory", errno=2)
        last = disk.layers[-1] if disk.layers else None
        if last is None:
            return disk.backing_store or _marked(chain.below(path, disk.format))
        for layer in disk.layers:
            if layer.type != "network" and layer.path is not None and not os.path.exists(layer.path):
                raise errors.SystemCallError(
                    f"Cannot access backing file '{layer.path}' of storage file '{path}': No such file or directory",
                    errno=2,
                )
        if last.backing_store is not None or last.type == "network" or last.path is None:
            return disk.backing_store
        return _under(disk.backing_store, _marked(chain.below(last.path, last.format or "raw")))

    try:
        async with asyncio.timeout(LOOK_TIMEOUT):
            return await blocking.left_behind(look, name=f"chain-{disk.target.dev}")
    except TimeoutError as err:
        raise errors.OperationTimeout(
            f"disk '{disk.target.dev}': its image '{path}' does not answer for {LOOK_TIMEOUT:g} s"
        ) from err


def _marked(store: BackingStore | None) -> BackingStore | None:
    """``store`` as what was read and not told."""
    if store is None:
        return None
    return replace(store, detected=True, backing_store=_marked(store.backing_store))


def _under(store: BackingStore | None, found: BackingStore | None) -> BackingStore | None:
    """The chain that was told with what was found below its end."""
    if store is None:
        return found
    return replace(store, backing_store=_under(store.backing_store, found))


def passwords(host: QemuHost, disk: Disk) -> dict[str, bytes]:
    """Name of an object → the password that it holds. Raises ``errors.NoSecret``."""
    found: dict[str, bytes] = {}
    protocol = disk.source.protocol if disk.source else None
    for one in command_source.secrets(disk):
        if one.value is not None:
            found[one.id] = one.value.encode()
            continue
        kind = "volume" if one.kind == "encryption" else _PURPOSES.get(protocol or "", "iscsi")
        found[one.id] = host.secrets.value(UUID(one.uuid) if one.uuid else None, one.usage, kind)
    return found
