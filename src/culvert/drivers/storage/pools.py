"""Storage pools: folders that are known by a name, so that clients can choose disk images among their files.

Definitions are kept in ``etc/storage``, a JSON text each. A pool is active or not only in memory; those that start by
themselves are active when the daemon starts. A folder can be made; nothing in one is ever changed.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import uuid as uuids
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from culvert.domain import pool as pool_xml
from culvert.domain import xml
from culvert.domain.pool import PoolDef, PoolTarget
from culvert.drivers.qemu import image
from culvert.drivers.qemu.state.layout import check_name
from culvert.ground import errors
from culvert.io import files

log = logging.getLogger(__name__)

_MODE = 0o711  # of a pool's folder that is made here (libvirt's docs/formatstorage: permissions)
_QCOW2 = b"QFI\xfb"
_ISO = (32769, b"CD001")  # offset and text of ISO 9660's first volume descriptor


@dataclass(slots=True)
class Pool:
    """One pool. ``persistent``: it has a file of its own and outlives the daemon."""

    name: str
    uuid: UUID
    path: str
    autostart: bool = False
    active: bool = False
    persistent: bool = True

    @property
    def definition(self) -> PoolDef:
        return PoolDef(type="dir", name=self.name, uuid=str(self.uuid), target=PoolTarget(path=self.path))


@dataclass(frozen=True, slots=True)
class Volume:
    """A file of a pool's folder; its path is also its key."""

    pool: str
    name: str
    path: str
    format: str
    sizes: image.Sizes


class Pools:
    """All pools of this host, by name."""

    def __init__(self, folder: Path) -> None:
        """``folder`` keeps the definitions; it is made with the first one."""
        self._folder = folder
        self._pools: dict[str, Pool] = {}

    async def load(self) -> None:
        """Read the definitions; a file that cannot be used is set aside."""
        for path in sorted(await asyncio.to_thread(lambda: list(self._folder.glob("*.json")))):
            try:
                raw = json.loads(await asyncio.to_thread(path.read_text, encoding="utf-8"))
                pool = Pool(str(raw["name"]), UUID(raw["uuid"]), str(raw["path"]), bool(raw["autostart"]))
            except (OSError, ValueError, KeyError, TypeError) as err:
                await asyncio.to_thread(files.set_aside, path, err)
                continue
            pool.active = pool.autostart and await asyncio.to_thread(os.path.isdir, pool.path)
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

    async def define(self, text: str, *, start: bool = False) -> Pool:
        """Keep a pool; with ``start`` a transient one that is active at once.

        Raises ``errors.XMLError``, ``errors.ConfigUnsupported``, and ``errors.OperationFailed`` for a name or UUID
        of another pool.
        """
        wanted = pool_xml.parse(text)
        check_name(wanted.name)
        known = self._pools.get(wanted.name)
        uuid = UUID(wanted.uuid) if wanted.uuid else known.uuid if known else uuids.uuid4()
        for other in self._pools.values():
            if (other.name == wanted.name) != (other.uuid == uuid) or (start and other.name == wanted.name):
                raise errors.OperationFailed(f"pool '{other.name}' already exists with uuid {other.uuid}")
        pool = Pool(wanted.name, uuid, _tidy(wanted.target.path), persistent=not start)
        if known is not None:
            pool.active, pool.autostart = known.active, known.autostart
        if start:
            await self.start(pool)
        else:
            await self._keep(pool)
        self._pools[pool.name] = pool
        return pool

    async def start(self, pool: Pool) -> None:
        """Raises ``errors.OperationInvalid`` when it is active, ``errors.SystemCallError`` without its folder."""
        if pool.active:
            raise errors.OperationInvalid(f"storage pool '{pool.name}' is already active")
        await self._list(pool)
        pool.active = True

    async def build(self, pool: Pool) -> None:
        """Make the folder if it is not there. Raises ``OperationInvalid`` while active, ``SystemCallError``."""
        if pool.active:
            raise errors.OperationInvalid(f"storage pool '{pool.name}' is already active")
        try:
            await asyncio.to_thread(os.makedirs, pool.path, _MODE, exist_ok=True)
        except OSError as err:
            raise errors.SystemCallError(
                f"cannot create path '{pool.path}': {err.strerror}", errno=err.errno
            ) from err

    def stop(self, pool: Pool) -> None:
        """Raises ``errors.OperationInvalid`` when it is not active."""
        require_active(pool)
        pool.active = False
        if not pool.persistent:
            del self._pools[pool.name]

    async def undefine(self, pool: Pool) -> None:
        """Raises ``errors.OperationInvalid`` while it is active."""
        if pool.active:
            raise errors.OperationInvalid(f"storage pool '{pool.name}' is still active")
        await asyncio.to_thread(files.remove, self._file(pool))
        del self._pools[pool.name]

    async def set_autostart(self, pool: Pool, wanted: bool) -> None:
        """Raises ``errors.InvalidArgument`` for a transient pool."""
        if not pool.persistent:
            raise errors.InvalidArgument("pool has no config file")
        pool.autostart = wanted
        await self._keep(pool)

    async def volumes(self, pool: Pool) -> list[Volume]:
        """The files of the folder, by name. Raises ``errors.OperationInvalid``, ``errors.SystemCallError``."""
        require_active(pool)
        return await self._list(pool)

    async def volume(self, pool: Pool, name: str) -> Volume:
        """Raises ``errors.NoStorageVol``."""
        for volume in await self.volumes(pool):
            if volume.name == name:
                return volume
        raise errors.NoStorageVol(f"no storage vol with matching name '{name}'")

    async def volume_by_path(self, path: str) -> Volume:
        """Raises ``errors.NoStorageVol``."""
        for pool in self.all():
            if pool.active and path.startswith(f"{pool.path}/"):
                for volume in await self.volumes(pool):
                    if volume.path == path:
                        return volume
        raise errors.NoStorageVol(f"no storage vol with matching path '{path}'")

    async def _list(self, pool: Pool) -> list[Volume]:
        try:
            return await asyncio.to_thread(_files, pool)
        except OSError as err:
            raise errors.SystemCallError(f"cannot open path '{pool.path}': {err.strerror}", errno=err.errno) from err

    def _file(self, pool: Pool) -> Path:
        return self._folder / f"{pool.name}.json"

    async def _keep(self, pool: Pool) -> None:
        kept = {"name": pool.name, "uuid": str(pool.uuid), "path": pool.path, "autostart": pool.autostart}

        def write() -> None:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            files.write_atomically(self._file(pool), json.dumps(kept, indent=1) + "\n")

        await asyncio.to_thread(write)


def _tidy(path: str) -> str:
    """``path`` without needless slashes and dots, links not looked at."""
    return os.path.normpath(path)


def require_active(pool: Pool) -> None:
    """Raises ``errors.OperationInvalid``."""
    if not pool.active:
        raise errors.OperationInvalid(f"storage pool '{pool.name}' is not active")


def space(pool: Pool) -> tuple[int, int]:
    """Bytes of the file system, and those that are free; zeros while it is not active. Blocks."""
    if not pool.active:
        return 0, 0
    try:
        found = os.statvfs(pool.path)
    except OSError:
        return 0, 0
    return found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize


def describe(pool: Pool, capacity: int, available: int) -> str:
    """The pool's XML."""
    node = pool_xml.node(pool.definition)
    told = {"capacity": capacity, "allocation": capacity - available, "available": available}
    place = next(number for number, one in enumerate(node.children) if getattr(one, "tag", "") == "uuid") + 1
    node.children[place:place] = [xml.Node(name, {"unit": "bytes"}, str(value)) for name, value in told.items()]
    return xml.render(node)


def describe_volume(volume: Volume) -> str:
    """A volume's XML."""
    sizes = volume.sizes
    told = {"capacity": sizes.capacity, "allocation": sizes.allocation, "physical": sizes.physical}
    children: list[xml.Node | xml.Verbatim] = [
        xml.Node("name", text=volume.name),
        xml.Node("key", text=volume.path),
        *(xml.Node(name, {"unit": "bytes"}, str(value)) for name, value in told.items()),
        xml.Node(
            "target", children=[xml.Node("path", text=volume.path), xml.Node("format", {"type": volume.format})]
        ),
    ]
    return xml.render(xml.Node("volume", {"type": "file"}, children=children))


def _files(pool: Pool) -> list[Volume]:
    found = []
    for entry in sorted(os.scandir(pool.path), key=lambda entry: entry.name):
        if not entry.is_file() or entry.name.startswith("."):
            continue
        path = f"{pool.path}/{entry.name}"
        try:
            kind = _format(path)
            found.append(Volume(pool.name, entry.name, path, kind, image.sizes(path, kind)))
        except (OSError, errors.SystemCallError) as err:
            log.debug("pool=%s file=%s cannot be looked at reason=%r", pool.name, entry.name, str(err))
    return found


def _format(path: str) -> str:
    """What kind of image it is, for show: how a guest's disk is opened is said by its definition alone."""
    with open(path, "rb") as file:
        if file.read(len(_QCOW2)) == _QCOW2:
            return "qcow2"
        file.seek(_ISO[0])
        return "iso" if file.read(len(_ISO[1])) == _ISO[1] else "raw"
