"""Volumes are made, copied, resized, wiped and deleted.

A new image comes into being under a hidden name, which nobody lists, and gets its own when it is whole; whatever a
daemon that was killed has left behind of one goes with the next one that is made in the folder.

Source: storage/storage_driver.c and storage/storage_util.c of libvirt 9.0, for what is refused and its words.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno as errnos
import logging
import os
import uuid as uuids
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import replace
from uuid import UUID

from culvert.domain import volume as volume_xml
from culvert.domain.pool import SAME
from culvert.domain.volume import VolumeDef
from culvert.drivers.qemu.outside import SecretValues
from culvert.drivers.storage.pools import Pool, Pools, require_active, space
from culvert.drivers.storage.volumes import Volume
from culvert.ground import errors
from culvert.ground.units import KiB, MiB
from culvert.io import apart, command
from culvert.io.blocking import to_its_end

log = logging.getLogger(__name__)

IMAGE_TIMEOUT = 60.0  # seconds for qemu-img where it writes tables only
COPY_TIMEOUT = 6 * 3600.0  # seconds for an image that is copied, or filled
PREALLOC_METADATA, REFLINK, VALIDATE = 1, 2, 4  # VIR_STORAGE_VOL_CREATE_*
ALLOCATE, DELTA, SHRINK = 1, 2, 4  # VIR_STORAGE_VOL_RESIZE_*
ZEROES = 0  # VIR_STORAGE_VOL_WIPE_ALG_ZERO
WIPE_ALGORITHMS = 9  # how many libvirt 9.0 has a number for
_PART = ".culvert-part-"


class Making:
    """What is done with the volumes of ``pools``; ``secrets`` has the passwords of encrypted ones."""

    def __init__(self, pools: Pools, secrets: SecretValues) -> None:
        self._pools = pools
        self._secrets = secrets
        self._building: set[str] = set()
        self._used: dict[str, int] = {}

    async def create(self, pool: Pool, text: str, flags: int) -> Volume:
        """Make an image. Raises as ``volume.parse`` and ``volume.check``, ``errors.StorageVolExists``,
        ``errors.OperationInvalid``, ``errors.SystemCallError``, and what ``qemu-img`` says."""
        require_active(pool)
        wanted = await apart.run(volume_xml.parse, text)
        preallocated = bool(flags & PREALLOC_METADATA)
        if await self._there(pool, wanted.name):
            raise errors.StorageVolExists(f"storage volume '{wanted.name}' exists already")
        volume_xml.check(wanted, preallocated=preallocated)
        async with self._new(pool, wanted) as part:
            if wanted.format == "raw" and wanted.target.encryption is None:
                await to_its_end(lambda: _raw(part, wanted))
            else:
                await self._image(part, wanted, pool, preallocated=preallocated)
        return await self._pools.volume(pool, wanted.name)

    async def create_from(self, pool: Pool, text: str, source: Volume, flags: int) -> Volume:
        """Make an image that has what ``source`` has, in the wanted format. Raises as ``create``."""
        require_active(pool)
        wanted = await apart.run(lambda: volume_xml.parse(text, like=source.sizes.capacity))
        if await self._there(pool, wanted.name):
            raise errors.InternalError(f"storage volume name '{wanted.name}' already in use.")
        volume_xml.check(wanted, preallocated=bool(flags & PREALLOC_METADATA))
        if wanted.target.encryption is not None:
            raise errors.ConfigUnsupported("a volume is not encrypted while it is copied: /volume/target/encryption")
        with self._using(source):
            async with self._new(pool, wanted) as part:
                await self._copy(part, wanted, source)
        return await self._pools.volume(pool, wanted.name)

    async def delete(self, volume: Volume) -> None:
        """Raises ``errors.OperationInvalid`` while it is used, ``errors.SystemCallError``."""
        self._check_free(volume)
        try:
            await to_its_end(lambda: os.unlink(volume.path))
        except OSError as err:
            raise errors.SystemCallError(
                f"cannot unlink file '{volume.path}': {err.strerror}", errno=err.errno
            ) from err

    async def resize(self, pool: Pool, volume: Volume, told: int, flags: int) -> None:
        """Raises ``errors.InvalidArgument`` for what would lose something and was not asked for so, and as
        ``delete``."""
        self._check_free(volume)
        sizes = volume.sizes
        capacity = told
        if flags & DELTA:
            capacity = sizes.capacity - min(told, sizes.capacity) if flags & SHRINK else sizes.capacity + told
        if capacity < sizes.allocation:
            raise errors.InvalidArgument("can't shrink capacity below existing allocation")
        if capacity < sizes.capacity and not flags & SHRINK:
            raise errors.InvalidArgument(
                "Can't shrink capacity below current capacity unless shrink flag explicitly specified"
            )
        _, free = await asyncio.to_thread(space, pool)
        if flags & ALLOCATE and capacity - sizes.allocation > free:
            raise errors.OperationFailed("Not enough space left in storage pool")
        with self._building_of(volume.path):
            if volume.format in ("raw", "iso"):
                await to_its_end(lambda: _resize(volume.path, capacity, allocate=bool(flags & ALLOCATE)))
                return
            if flags & ALLOCATE:
                raise errors.NoSupport("preallocate is only supported for raw type volume")
            shrink = ["--shrink"] if capacity < sizes.capacity else []
            words = ["qemu-img", "resize", *shrink, "-f", volume.format, volume.path, str(capacity)]
            await command.run(words, timeout=IMAGE_TIMEOUT)

    async def wipe(self, volume: Volume, algorithm: int) -> None:
        """Nothing of what was written to it can be read any more. Raises as ``delete``, ``errors.NoSupport``."""
        if algorithm >= WIPE_ALGORITHMS:
            raise errors.InvalidArgument(f"wiping algorithm {algorithm} not supported")
        if algorithm != ZEROES:
            raise errors.NoSupport("culvert wipes a volume with zeroes only: leave --algorithm out")
        self._check_free(volume)
        with self._building_of(volume.path):
            await _wipe(volume.path)

    @contextlib.contextmanager
    def writing(self, volume: Volume) -> Iterator[None]:
        """While its bytes are sent here. Raises ``errors.OperationInvalid`` while it is used."""
        self._check_free(volume)
        with self._using(volume):
            yield

    @contextlib.contextmanager
    def reading(self, volume: Volume) -> Iterator[None]:
        """While its bytes are sent away. Raises ``errors.OperationInvalid`` while it is being made."""
        self._check_built(volume)
        with self._using(volume):
            yield

    # one at a time

    def _check_built(self, volume: Volume) -> None:
        if volume.path in self._building:
            raise errors.OperationInvalid(f"volume '{volume.name}' is still being allocated.")

    def _check_free(self, volume: Volume) -> None:
        if self._used.get(volume.path):
            raise errors.OperationInvalid(f"volume '{volume.name}' is still in use.")
        self._check_built(volume)

    @contextlib.contextmanager
    def _using(self, volume: Volume) -> Iterator[None]:
        self._check_built(volume)
        self._used[volume.path] = self._used.get(volume.path, 0) + 1
        try:
            yield
        finally:
            self._used[volume.path] -= 1
            if not self._used[volume.path]:
                del self._used[volume.path]

    @contextlib.contextmanager
    def _building_of(self, path: str) -> Iterator[None]:
        if path in self._building:
            raise errors.OperationInvalid(f"volume '{os.path.basename(path)}' is still being allocated.")
        self._building.add(path)
        try:
            yield
        finally:
            self._building.discard(path)

    async def _there(self, pool: Pool, name: str) -> bool:
        return any(one.name == name for one in await self._pools.volumes(pool))

    @contextlib.asynccontextmanager
    async def _new(self, pool: Pool, wanted: VolumeDef) -> AsyncIterator[str]:
        """The path of a file that gets the volume's name, owner and mode afterwards, and is gone if that fails."""
        path = f"{pool.path}/{wanted.name}"
        part = f"{pool.path}/{_PART}{os.getpid()}-{uuids.uuid4().hex}"
        with self._building_of(path):
            await asyncio.to_thread(_sweep, pool.path)
            try:
                yield part
                await to_its_end(lambda: _settle(part, path, wanted))
            except OSError as err:
                raise errors.SystemCallError(
                    f"Failed to create file '{path}': {err.strerror}", errno=err.errno
                ) from err
            finally:
                await to_its_end(lambda: _remove(part))

    async def _image(self, part: str, wanted: VolumeDef, pool: Pool, *, preallocated: bool) -> None:
        """By ``qemu-img``, as libvirt calls it."""
        base = wanted.base
        if base is not None:
            await asyncio.to_thread(_check_base, base.path or "", pool.path)
        capacity = wanted.capacity.bytes if wanted.capacity else 0
        size = -(-capacity // KiB)
        with contextlib.ExitStack() as opened:
            secret, fds = self._secret(wanted, opened)
            told = volume_xml.image_options(wanted, preallocated=preallocated, secret="sec0" if secret else None)
            words = [
                *("qemu-img", "create", "-f", volume_xml.image_format(wanted)),
                *(("-b", base.path or "") if base is not None else ()),
                *secret,
                *(("-o", ",".join(told)) if told else ()),
                part,
                *((f"{size}K",) if size or base is None else ()),
            ]
            await command.run(words, timeout=COPY_TIMEOUT if preallocated else IMAGE_TIMEOUT, pass_fds=fds)

    def _secret(self, wanted: VolumeDef, opened: contextlib.ExitStack) -> tuple[Sequence[str], Sequence[int]]:
        """Words with an object that has the password by a descriptor, and that."""
        encryption = wanted.target.encryption
        if encryption is None:
            return (), ()
        use = encryption.secrets[0]
        value = self._secrets.value(UUID(use.uuid) if use.uuid else None, use.usage, "volume")
        fd = os.memfd_create("secret", os.MFD_CLOEXEC)
        opened.callback(os.close, fd)
        os.write(fd, value)
        os.lseek(fd, 0, os.SEEK_SET)
        return ("--object", f"secret,id=sec0,file=/proc/self/fd/{fd}"), (fd,)

    async def _copy(self, part: str, wanted: VolumeDef, source: Volume) -> None:
        form = "raw" if source.format == "iso" else source.format
        told = volume_xml.image_options(replace(wanted, backing=None), preallocated=False)
        words = [
            *("qemu-img", "convert", "-f", form, "-O", volume_xml.image_format(wanted)),
            *(("-o", ",".join(told)) if told else ()),
            source.path,
            part,
        ]
        await command.run(words, timeout=COPY_TIMEOUT)
        capacity = wanted.capacity.bytes if wanted.capacity else 0
        allocation = wanted.allocation.bytes if wanted.allocation else 0
        if wanted.format == "raw":
            # Of a lower allocation the copy has holes where the source has nothing.
            filled = allocation >= source.sizes.capacity
            await to_its_end(lambda: _resize(part, capacity, allocate=filled))


def _check_base(path: str, folder: str) -> None:
    whole = path if path.startswith("/") else f"{folder}/{path}"
    try:
        with open(whole, "rb"):
            return
    except OSError as err:
        raise errors.SystemCallError(
            f"inaccessible backing store volume {path}: {err.strerror}", errno=err.errno
        ) from err


def _raw(path: str, wanted: VolumeDef) -> None:
    capacity = wanted.capacity.bytes if wanted.capacity else 0
    allocation = wanted.allocation.bytes if wanted.allocation else 0
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.ftruncate(fd, capacity)
        if allocation:
            _allocate(fd, min(allocation, capacity) if capacity else allocation, path)
        os.fsync(fd)
    finally:
        os.close(fd)


def _allocate(fd: int, size: int, path: str) -> None:
    """Take the space; zeroes are written where the file system can do no better."""
    try:
        os.posix_fallocate(fd, 0, size)
    except OSError as err:
        raise errors.SystemCallError(
            f"cannot allocate {size} bytes in file '{path}': {err.strerror}", errno=err.errno
        ) from err


def _resize(path: str, capacity: int, *, allocate: bool) -> None:
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            os.ftruncate(fd, capacity)
            if allocate and capacity:
                _allocate(fd, capacity, path)
            os.fsync(fd)
        finally:
            os.close(fd)
    except OSError as err:
        raise errors.SystemCallError(f"Failed to truncate file '{path}': {err.strerror}", errno=err.errno) from err


def _settle(part: str, path: str, wanted: VolumeDef) -> None:
    told = wanted.target.permissions
    os.chmod(part, wanted.mode)
    owner, group = (
        -1 if one in (None, SAME) else one for one in ((told.owner, told.group) if told else (None, None))
    )
    if (owner, group) != (-1, -1):
        os.chown(part, owner, group)
    try:
        os.link(part, path)  # never over one that is there
    except FileExistsError as err:
        raise errors.OperationInvalid(f"volume target path '{path}' already exists") from err
    except OSError as err:
        if err.errno not in (errnos.EPERM, errnos.EOPNOTSUPP, errnos.EMLINK):
            raise
        os.rename(part, path)  # a file system without hard links


def _remove(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


def _sweep(folder: str) -> None:
    """Remove what daemons that are no more have left half made."""
    for entry in list(os.scandir(folder)):
        if not entry.name.startswith(_PART):
            continue
        pid = entry.name.removeprefix(_PART).partition("-")[0]
        if not pid.isdigit() or not os.path.exists(f"/proc/{pid}"):
            log.warning("file=%s was left half made by a daemon that is gone: removed", entry.path)
            _remove(entry.path)


async def _wipe(path: str) -> None:
    """A file with holes is cut and made as long again, another one written over (virStorageBackendVolWipeLocal)."""
    try:
        fd = await asyncio.to_thread(os.open, path, os.O_RDWR | os.O_CLOEXEC)
    except OSError as err:
        raise errors.SystemCallError(f"failed to open storage volume with path '{path}': {err.strerror}") from err
    try:
        about = os.fstat(fd)
        if about.st_blocks < about.st_size // 512:
            await to_its_end(lambda: os.ftruncate(fd, 0))
            await to_its_end(lambda: os.ftruncate(fd, about.st_size))
            return
        zeroes = bytes(MiB)
        for offset in range(0, about.st_size, MiB):
            piece = memoryview(zeroes)[: about.st_size - offset]
            await asyncio.to_thread(os.pwrite, fd, piece, offset)
        await asyncio.to_thread(os.fsync, fd)
    except OSError as err:
        raise errors.SystemCallError(f"failed to wipe '{path}': {err.strerror}", errno=err.errno) from err
    finally:
        await asyncio.to_thread(os.close, fd)
