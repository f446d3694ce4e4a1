"""Volumes that are made, copied, changed, deleted, and whose bytes come and go by streams."""

from __future__ import annotations

import asyncio
import functools
import os
from uuid import UUID

from culvert.daemon.handlers.storage import volume_on_wire
from culvert.daemon.service import Service, no_flags
from culvert.drivers.storage import making
from culvert.drivers.storage.volumes import Volume
from culvert.ground import errors
from culvert.protocol import remote_object, remote_storage
from culvert.rpc.answer import StreamBody
from culvert.rpc.dispatch import Handlers
from culvert.rpc.session import Session
from culvert.rpc.stream import Stream
from culvert.xdr.struct import Void

SPARSE = 1  # VIR_STORAGE_VOL_UPLOAD_SPARSE_STREAM and that of downloads
PIECE = 256 * 1024  # bytes that are read at once
CREATE = making.PREALLOC_METADATA | making.REFLINK | making.VALIDATE
DELETE = 1 | 2  # VIR_STORAGE_VOL_DELETE_ZEROED, …_WITH_SNAPSHOTS


class VolumeHandlers:
    """Handlers of the volume group."""

    def __init__(self, service: Service) -> None:
        self._service = service

    @functools.cached_property
    def _making(self) -> making.Making:
        return making.Making(self._service.pools, self._service.driver.host.secrets)

    def register(self, handlers: Handlers) -> None:
        """The procedures served here."""
        handlers.add(remote_storage.STORAGE_VOL_CREATE_XML, self.create)
        handlers.add(remote_storage.STORAGE_VOL_CREATE_XML_FROM, self.create_from)
        handlers.add(remote_storage.STORAGE_VOL_DELETE, self.delete)
        handlers.add(remote_storage.STORAGE_VOL_RESIZE, self.resize)
        handlers.add(remote_storage.STORAGE_VOL_WIPE, self.wipe)
        handlers.add(remote_storage.STORAGE_VOL_WIPE_PATTERN, self.wipe_pattern)
        handlers.add_stream(remote_storage.STORAGE_VOL_UPLOAD, self.upload)
        handlers.add_stream(remote_storage.STORAGE_VOL_DOWNLOAD, self.download)

    async def _found(self, vol: remote_object.StorageVol) -> Volume:
        pools = self._service.pools
        return await pools.volume(pools.by_name(vol.pool), vol.name)

    async def create(self, session: Session, args: remote_storage.PoolXMLFlagsArgs) -> remote_object.StorageVolRet:
        no_flags(args.flags, "storageVolCreateXML", making.PREALLOC_METADATA | making.VALIDATE)
        pool = self._service.pools.by_uuid(UUID(bytes=args.pool.uuid))
        made = await self._making.create(pool, args.xml, args.flags)
        return remote_object.StorageVolRet(volume_on_wire(made))

    async def create_from(
        self, session: Session, args: remote_storage.VolCreateFromArgs
    ) -> remote_object.StorageVolRet:
        no_flags(args.flags, "storageVolCreateXMLFrom", CREATE)
        pool = self._service.pools.by_uuid(UUID(bytes=args.pool.uuid))
        source = await self._found(args.clonevol)
        made = await self._making.create_from(pool, args.xml, source, args.flags)
        return remote_object.StorageVolRet(volume_on_wire(made))

    async def delete(self, session: Session, args: remote_storage.VolFlagsArgs) -> Void:
        no_flags(args.flags, "virStorageBackendVolDeleteLocal")
        await self._making.delete(await self._found(args.vol))
        return Void()

    async def resize(self, session: Session, args: remote_storage.VolResizeArgs) -> Void:
        no_flags(args.flags, "storageVolResize", making.ALLOCATE | making.DELTA | making.SHRINK)
        pool = self._service.pools.by_name(args.vol.pool)
        await self._making.resize(pool, await self._found(args.vol), args.capacity, args.flags)
        return Void()

    async def wipe(self, session: Session, args: remote_storage.VolFlagsArgs) -> Void:
        no_flags(args.flags, "storageVolWipePattern")
        await self._making.wipe(await self._found(args.vol), making.ZEROES)
        return Void()

    async def wipe_pattern(self, session: Session, args: remote_storage.VolWipePatternArgs) -> Void:
        no_flags(args.flags, "storageVolWipePattern")
        await self._making.wipe(await self._found(args.vol), args.algorithm)
        return Void()

    async def upload(self, session: Session, args: remote_storage.VolBytesArgs) -> tuple[Void, StreamBody]:
        _check(args.flags, "storageVolUpload")
        volume = await self._found(args.vol)
        fd = await _opened(volume.path, os.O_WRONLY)

        async def body(stream: Stream) -> None:
            try:
                with self._making.writing(volume):
                    await _receive(stream, fd, args.offset, args.length)
            finally:
                await asyncio.to_thread(os.close, fd)

        return Void(), body

    async def download(self, session: Session, args: remote_storage.VolBytesArgs) -> tuple[Void, StreamBody]:
        _check(args.flags, "storageVolDownload")
        volume = await self._found(args.vol)
        fd = await _opened(volume.path, os.O_RDONLY)

        async def body(stream: Stream) -> None:
            try:
                with self._making.reading(volume):
                    await _send(stream, fd, args.offset, args.length)
            finally:
                await asyncio.to_thread(os.close, fd)

        return Void(), body


def _check(flags: int, function: str) -> None:
    no_flags(flags, function, SPARSE)
    if flags & SPARSE:
        raise errors.ArgumentUnsupported("streams with holes are not supported by culvert: leave --sparse out")


async def _opened(path: str, how: int) -> int:
    try:
        return await asyncio.to_thread(os.open, path, how | os.O_CLOEXEC)
    except OSError as err:
        raise errors.SystemCallError(f"Unable to open file '{path}': {err.strerror}", errno=err.errno) from err


async def _receive(stream: Stream, fd: int, offset: int, length: int) -> None:
    """Raises ``errors.OperationFailed`` for more than ``length`` bytes, ``errors.SystemCallError``."""
    place, end = offset, offset + length if length else None
    while data := await stream.recv():
        if end is not None and place + len(data) > end:
            raise errors.OperationFailed(f"more than the {length} bytes that were announced have come")
        try:
            left = memoryview(data)
            while left:
                done = await asyncio.to_thread(os.pwrite, fd, left, place)
                place, left = place + done, left[done:]
        except (OSError, OverflowError) as err:
            raise errors.SystemCallError(f"Unable to write to a volume: {err}") from err
    await asyncio.to_thread(os.fsync, fd)


async def _send(stream: Stream, fd: int, offset: int, length: int) -> None:
    place, end = offset, offset + length if length else None
    while end is None or place < end:
        wanted = PIECE if end is None else min(PIECE, end - place)
        try:
            data = await asyncio.to_thread(os.pread, fd, wanted, place)
        except (OSError, OverflowError) as err:
            raise errors.SystemCallError(f"Unable to read from a volume: {err}") from err
        if not data:
            return
        await stream.send(data)
        place += len(data)
