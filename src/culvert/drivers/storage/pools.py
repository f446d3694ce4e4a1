"""Storage pools: folders that are known by a name, so that clients can choose disk images among their files.

Definitions are kept in ``etc/storage``, a JSON text each. A pool is active or not only in memory; those that start by
themselves are active when the daemon starts. A folder can be made; what is in one is changed by ``making`` alone.

Nobody loses a pool to somebody else: what is on the disk and on the list is changed by one call at a time, and a pool
whose folder is just being looked at by a start is nobody else's to end.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import stat
import uuid as uuids
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any
from uuid import UUID

from culvert.domain import pool as pool_xml
from culvert.domain.pool import SAME, Permissions, PoolDef, PoolTarget
from culvert.drivers.qemu.outside import Located
from culvert.drivers.qemu.state.layout import check_name
from culvert.drivers.storage import volumes
from culvert.drivers.storage.volumes import Volume
from culvert.ground import errors
from culvert.io import apart, files
from culvert.io.blocking import to_its_end

log = logging.getLogger(__name__)

_MODE = 0o711  # of a pool's folder that is made here (libvirt's docs/formatstorage: permissions)


@dataclass(slots=True, eq=False)
class Pool:
    """One pool. ``kept``: its definition on the disk, by which it starts; a transient one has none. ``live``: that by
    which it is ``active``, or is being started."""

    name: str
    uuid: UUID
    kept: PoolDef | None = None
    live: PoolDef | None = None
    active: bool = False
    autostart: bool = False

    @property
    def persistent(self) -> bool:
        return self.kept is not None

    @property
    def definition(self) -> PoolDef:
        """Of now: the one it is active by, else the one it would start with."""
        found = self.live or self.kept
        assert found is not None, "a pool without any definition is on no list"
        return found

    @property
    def path(self) -> str:
        return self.definition.target.path


class Pools:
    """All pools of this host, by name."""

    def __init__(self, folder: Path) -> None:
        """``folder`` keeps the definitions; it is made with the first one."""
        self._folder = folder
        self._pools: dict[str, Pool] = {}
        self._changing = asyncio.Lock()

    async def load(self) -> None:
        """Read the definitions; a file that cannot be used is set aside."""
        await asyncio.to_thread(files.sweep, self._folder)
        for path in sorted(await asyncio.to_thread(lambda: list(self._folder.glob("*.json")))):
            try:
                pool = _from_text(await asyncio.to_thread(path.read_text, encoding="utf-8"))
            except (OSError, ValueError, KeyError, TypeError) as err:
                await asyncio.to_thread(files.set_aside, path, err)
                continue
            if pool.autostart and await asyncio.to_thread(os.path.isdir, pool.path):
                pool.live, pool.active = pool.kept, True
            self._pools[pool.name] = pool

    def all(self) -> list[Pool]:
        """By name."""
        return sorted(self._pools.values(), key=lambda pool: pool.name)

    def by_uuid(self, uuid: UUID) -> Pool:
        """Raises ``errors.NoStoragePool``."""
        for pool in self._pools.values():
            if pool.uuid == uuid:
                return pool
        raise errors.NoStoragePool(f"no storage pool with matching uuid '{uuid}'")

    def by_name(self, name: str) -> Pool:
        """Raises ``errors.NoStoragePool``."""
        if name not in self._pools:
            raise errors.NoStoragePool(f"no storage pool with matching name '{name}'")
        return self._pools[name]

    def by_target(self, path: str) -> Pool:
        """The active pool of this folder. Raises ``errors.NoStoragePool``."""
        for pool in self.all():
            if pool.active and pool.path == _tidy(path):
                return pool
        raise errors.NoStoragePool(f"no storage pool with matching target path '{path}'")

    async def define(self, text: str) -> Pool:
        """Keep a pool, or give one another definition: by that it starts from now on. A transient one stays.

        Raises ``errors.XMLError``, ``errors.ConfigUnsupported``, and ``errors.OperationFailed`` for a name, a UUID or
        a folder of another pool.
        """
        wanted = await apart.run(_complete, text)
        async with self._changing:
            pool = self._claim(wanted) or Pool(wanted.name, _uuid(wanted))

            def kept() -> None:
                pool.kept = wanted
                self._pools[pool.name] = pool

            await self._keep(wanted, pool.autostart, kept)
        return pool

    async def create(self, text: str) -> Pool:
        """Make a pool active by a definition that is not kept: one that is defined has its own again afterwards.

        Raises as ``define`` and ``start``; a pool that was not there before is not there then.
        """
        wanted = await apart.run(_complete, text)
        async with self._changing:
            pool = self._claim(wanted) or Pool(wanted.name, _uuid(wanted))
            if pool.live is not None:
                raise errors.OperationInvalid(f"pool is already active as '{pool.name}'")
            # On the list before its folder is looked at, so that nobody takes its name meanwhile.
            self._pools[pool.name] = pool
            pool.live = wanted
        await self._start(pool)
        return pool

    async def start(self, pool: Pool) -> None:
        """Raises ``errors.OperationInvalid`` when it is active, ``errors.SystemCallError`` without its folder."""
        async with self._changing:
            self._check_listed(pool)
            _check_idle(pool)
            pool.live = pool.kept
        await self._start(pool)

    async def _start(self, pool: Pool) -> None:
        """Not under the lock: a folder on a server that is gone must not stop what is done with other pools."""
        try:
            await self._list(pool)
            pool.active = True
        finally:
            if not pool.active:
                self._ended(pool)

    def _ended(self, pool: Pool) -> None:
        pool.live, pool.active = None, False
        if not pool.persistent:
            del self._pools[pool.name]

    async def build(self, pool: Pool) -> None:
        """Make the folder if it is not there, as the definition says whose it is.

        Raises ``errors.OperationInvalid`` while it is active, ``errors.SystemCallError``.
        """
        _check_idle(pool)
        target = pool.definition.target
        try:
            await to_its_end(lambda: _make(target.path, target.permissions or Permissions()))
        except OSError as err:
            raise errors.SystemCallError(
                f"cannot create path '{target.path}': {err.strerror}", errno=err.errno
            ) from err

    async def stop(self, pool: Pool) -> None:
        """Raises ``errors.OperationInvalid`` when it is not active."""
        async with self._changing:  # a definition that is just being written makes it persistent
            self._check_listed(pool)
            require_active(pool)
            self._ended(pool)

    async def undefine(self, pool: Pool) -> None:
        """Raises ``errors.OperationInvalid`` while it is active."""
        async with self._changing:
            self._check_listed(pool)
            if pool.live is not None:
                how = "still active" if pool.active else "starting up"
                raise errors.OperationInvalid(f"storage pool '{pool.name}' is {how}")

            def gone() -> None:
                pool.kept, pool.autostart = None, False
                if pool.live is None:
                    del self._pools[pool.name]

            await self._change(lambda: files.remove(self._file(pool.name)), gone)

    async def set_autostart(self, pool: Pool, wanted: bool) -> None:
        """Raises ``errors.InternalError`` for a transient pool: libvirt's code."""
        async with self._changing:
            self._check_listed(pool)
            if pool.kept is None:
                raise errors.InternalError("internal error: pool has no config file")

            def marked() -> None:
                pool.autostart = wanted

            await self._keep(pool.kept, wanted, marked)

    async def volumes(self, pool: Pool) -> list[Volume]:
        """The files of the folder, by name. Raises ``errors.OperationInvalid``, ``errors.SystemCallError``."""
        require_active(pool)
        return await self._list(pool)

    async def volume(self, pool: Pool, name: str) -> Volume:
        """Raises ``errors.NoStorageVol``."""
        require_active(pool)
        found = await asyncio.to_thread(volumes.named, pool.name, pool.path, name)
        if found is None:
            raise errors.NoStorageVol(f"no storage vol with matching name '{name}'")
        return found

    async def locate(self, pool: str, volume: str) -> Located:
        """For a guest's disk. Raises as ``by_name`` and ``volume``."""
        found = await self.volume(self.by_name(pool), volume)
        return Located(found.path, "raw" if found.format == "iso" else found.format)

    async def volume_by_path(self, path: str) -> Volume:
        """Raises ``errors.NoStorageVol``."""
        for pool in self.all():
            if pool.active and path.startswith(f"{pool.path}/"):
                name = path.removeprefix(f"{pool.path}/")
                found = await asyncio.to_thread(volumes.named, pool.name, pool.path, name)
                if found is not None:
                    return found
        raise errors.NoStorageVol(f"no storage vol with matching path '{path}'")

    async def _list(self, pool: Pool) -> list[Volume]:
        path = pool.path
        try:
            return await asyncio.to_thread(volumes.find, pool.name, path)
        except OSError as err:
            raise errors.SystemCallError(f"cannot open path '{path}': {err.strerror}", errno=err.errno) from err

    # one writer at a time

    def _check_listed(self, pool: Pool) -> None:
        """It may have been undefined while the caller waited. Raises ``errors.NoStoragePool``."""
        if self._pools.get(pool.name) is not pool:
            raise errors.NoStoragePool(f"no storage pool with matching uuid '{pool.uuid}'")

    def _claim(self, wanted: PoolDef) -> Pool | None:
        """The pool that has this name and UUID already; ``None``: all is free. Raises ``errors.OperationFailed``."""
        for other in self._pools.values():
            if other.uuid == _uuid(wanted) and other.name == wanted.name:
                continue
            if other.name == wanted.name:
                why = f"pool '{other.name}' already exists with uuid {other.uuid}"
            elif other.uuid == _uuid(wanted):
                why = f"pool '{other.name}' is already defined with uuid {other.uuid}"
            elif other.path == wanted.target.path:
                why = f"Storage source conflict with pool: '{other.name}'"
            else:
                continue
            raise errors.OperationFailed(f"operation failed: {why}")
        return self._pools.get(wanted.name)

    def _file(self, name: str) -> Path:
        return self._folder / f"{name}.json"

    async def _keep(self, wanted: PoolDef, autostart: bool, then: Callable[[], None]) -> None:
        def write() -> None:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            files.write_atomically(self._file(wanted.name), _to_text(wanted, autostart))

        await self._change(write, then)

    @staticmethod
    async def _change(work: Callable[[], None], then: Callable[[], None]) -> None:
        """Do ``work`` on the disk, and ``then`` in memory what says so: both or neither, also when cancelled."""
        done = False

        def working() -> None:
            nonlocal done
            work()
            done = True

        try:
            await to_its_end(working)
        finally:
            if done:
                then()


def _complete(text: str) -> PoolDef:
    """The definition in ``text``, with a UUID and a tidy path."""
    wanted = pool_xml.parse(text)
    check_name(wanted.name)
    target = replace(wanted.target, path=_tidy(wanted.target.path))
    return replace(wanted, uuid=wanted.uuid or str(uuids.uuid4()), target=target, source=True)


def _uuid(definition: PoolDef) -> UUID:
    return UUID(definition.uuid)


def _to_text(definition: PoolDef, autostart: bool) -> str:
    kept: dict[str, Any] = {
        "name": definition.name,
        "uuid": definition.uuid,
        "path": definition.target.path,
        "autostart": autostart,
    }
    if definition.target.permissions is not None:
        kept["permissions"] = asdict(definition.target.permissions)
    return json.dumps(kept, indent=1) + "\n"


def _from_text(text: str) -> Pool:
    """Raises ``ValueError``, ``KeyError``, ``TypeError``."""
    raw = json.loads(text)
    name, uuid = str(raw["name"]), UUID(raw["uuid"])
    permissions = Permissions(**raw["permissions"]) if "permissions" in raw else None
    target = PoolTarget(path=str(raw["path"]), permissions=permissions)
    kept = PoolDef(type="dir", name=name, uuid=str(uuid), source=True, target=target)
    return Pool(name, uuid, kept, autostart=bool(raw["autostart"]))


def _tidy(path: str) -> str:
    """``path`` without needless slashes and dots, links not looked at."""
    return os.path.normpath(path)


def _make(path: str, permissions: Permissions) -> None:
    """Raises ``OSError``. Source: storage/storage_util (virStorageBackendBuildLocal) of libvirt 9.0: what is said of
    its owner and mode is made so, a folder that is there is left alone otherwise."""
    new = not os.path.exists(path)
    os.makedirs(path, exist_ok=True)
    if permissions.mode is not None or new:
        os.chmod(path, int(permissions.mode, 8) if permissions.mode is not None else _MODE)
    owner, group = (-1 if one in (None, SAME) else one for one in (permissions.owner, permissions.group))
    if (owner, group) != (-1, -1):
        os.chown(path, owner, group)


def require_active(pool: Pool) -> None:
    """Raises ``errors.OperationInvalid``."""
    if not pool.active:
        raise errors.OperationInvalid(f"storage pool '{pool.name}' is not active")


def _check_idle(pool: Pool) -> None:
    if pool.live is not None:
        raise errors.OperationInvalid(f"storage pool '{pool.name}' is already active")


def space(pool: Pool) -> tuple[int, int]:
    """Bytes of the file system, and those that are free; zeros while it is not active. Blocks."""
    live = pool.live  # looked at once: this runs in a thread, beside a call that ends the pool
    return _space(live.target.path) if live is not None and pool.active else (0, 0)


def _space(path: str) -> tuple[int, int]:
    try:
        found = os.statvfs(path)
    except OSError:
        return 0, 0
    return found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize


def describe(pool: Pool, *, inactive: bool) -> str:
    """The XML of what ``pool`` is now, or, ``inactive``, of what it will be at its next start. Blocks.

    Raises ``errors.NoStoragePool`` for a transient one that has just ended.
    """
    live, kept = (pool.live if pool.active else None), pool.kept
    if live is None or (inactive and kept is not None):
        shown = kept or live
        if shown is None:
            raise errors.NoStoragePool(f"no storage pool with matching uuid '{pool.uuid}'")
        return pool_xml.format(shown, 0, 0)
    whole, free = _space(live.target.path)
    try:
        found = os.stat(live.target.path)
    except OSError:
        return pool_xml.format(live, whole, free)
    whose = Permissions(mode=f"{stat.S_IMODE(found.st_mode):04o}", owner=found.st_uid, group=found.st_gid)
    return pool_xml.format(replace(live, target=replace(live.target, permissions=whose)), whole, free)
