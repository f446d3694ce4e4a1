"""A running guest's memory in a file, for whoever wants to know why it does not run well; and pieces of it at once.

A dump is written beside its place and renamed when it is whole: one that fails leaves what was there before. Source:
``dump-guest-memory`` (qapi/dump.json of QEMU); qemu/qemu_driver.c of libvirt 9.0 for what the guest does meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from errno import EISDIR
from pathlib import Path

from culvert.drivers.qemu import save
from culvert.drivers.qemu.domain import Domain
from culvert.drivers.qemu.monitor import MonitorGone
from culvert.drivers.qemu.run import Run
from culvert.drivers.qemu.scratch import scratch
from culvert.ground import errors
from culvert.io import files, page_cache
from culvert.protocol.constants_flag import DumpFlag, DumpFormat, PeekFlag
from culvert.protocol.constants_state import DomainState, PausedReason, RunningReason, ShutoffReason, StoppedDetail

log = logging.getLogger(__name__)

FD_NAME = "dump"
FORMATS = {
    DumpFormat.RAW: "elf",
    DumpFormat.KDUMP_ZLIB: "kdump-zlib",
    DumpFormat.KDUMP_LZO: "kdump-lzo",
    DumpFormat.KDUMP_SNAPPY: "kdump-snappy",
    DumpFormat.WIN_DMP: "win-dmp",
}
"""QEMU's words (DumpGuestMemoryFormat)."""


@dataclass(frozen=True, slots=True)
class DumpJob:
    """What the domain is busy with meanwhile."""

    description: str = "dump"


async def dump(domain: Domain, path: Path, kind: int, flags: int) -> None:
    """Put the guest's memory into the file ``path``: in a format ``DumpFormat`` with MEMORY_ONLY, else QEMU's whole
    state; the file is on the disk on return. The guest stands still meanwhile, unless LIVE, and then goes on; with
    CRASH it is ended, with RESET it boots anew. BYPASS_CACHE: see ``page_cache``.

    Raises ``errors.OperationInvalid``, ``errors.InvalidArgument`` for a format that this QEMU does not have,
    ``errors.OperationUnsupported`` for a format without MEMORY_ONLY, ``errors.SystemCallError``, and QEMU's refusals.
    """
    if kind not in FORMATS:
        raise errors.InvalidArgument(f"unknown dumpformat '{kind}'")
    if kind != DumpFormat.RAW and not flags & DumpFlag.MEMORY_ONLY:
        raise errors.OperationUnsupported("kdump-compressed format is only supported with memory-only dump")
    if bool(flags & DumpFlag.CRASH) + bool(flags & DumpFlag.LIVE) + bool(flags & DumpFlag.RESET) > 1:
        raise errors.InvalidArgument("crash, live and reset flags are mutually exclusive")
    await domain.host.carry_out(_dump(domain, path, DumpFormat(kind), flags), name=f"dump-{domain.name}")


async def _dump(domain: Domain, path: Path, kind: DumpFormat, flags: int) -> None:
    async with domain.changing("dump"):
        run = domain.require_active()
        if domain.state not in (DomainState.RUNNING, DomainState.PAUSED):
            raise errors.OperationInvalid(f"cannot dump domain '{domain.name}' in state {domain.state.name}")
        if flags & DumpFlag.MEMORY_ONLY:
            await _check_format(domain, FORMATS[kind])
        domain.job = DumpJob()
        try:
            async with _standing_still(domain, run, flags):
                await _write(domain, path, kind, flags)
                if flags & DumpFlag.RESET:
                    await domain.monitor.execute("system_reset")
        finally:
            domain.job = None
        if flags & DumpFlag.CRASH:
            await domain.kill(ShutoffReason.CRASHED, StoppedDetail.CRASHED)


@contextlib.asynccontextmanager
async def _standing_still(domain: Domain, run: Run, flags: int) -> AsyncIterator[None]:
    """Afterwards the guest runs again if it did before, whatever became of the inside; but not if it is to crash."""
    ran = domain.state is DomainState.RUNNING
    run.stop_reason = PausedReason.DUMP
    whole = False
    try:
        if ran and not flags & DumpFlag.LIVE:
            await domain.monitor.execute("stop")
        yield
        whole = True
    finally:
        run.stop_reason = None
        if ran and domain.run is run and not (whole and flags & DumpFlag.CRASH):
            run.resume_reason = RunningReason.UNPAUSED
            try:
                # Also of a live one: QEMU stands still when the last of its state has been written.
                await domain.monitor.execute("cont")
            except MonitorGone:
                pass  # the guest has ended, and that is told elsewhere
            except errors.RequestError as err:
                log.warning("domain=%s stays paused after a dump reason=%r", domain.name, str(err))


async def _check_format(domain: Domain, wanted: str) -> None:
    known = (await domain.monitor.execute("query-dump-guest-memory-capability"))["formats"]
    if wanted not in known:
        raise errors.InvalidArgument(f"unsupported dumpformat '{wanted}' for this QEMU binary")


async def _write(domain: Domain, path: Path, kind: DumpFormat, flags: int) -> None:
    fd, beside = await asyncio.to_thread(_create, path)
    try:
        async with page_cache.kept_clear(fd, wanted=bool(flags & DumpFlag.BYPASS_CACHE)):
            if flags & DumpFlag.MEMORY_ONLY:
                await _memory(domain, fd, FORMATS[kind])
            else:
                await save.stream(domain.monitor, domain, fd, "migrate")
            await asyncio.to_thread(_complete, fd, beside, path)
    except BaseException:
        with contextlib.suppress(OSError):
            await asyncio.to_thread(beside.unlink)
        raise
    finally:
        os.close(fd)


def _create(path: Path) -> tuple[int, Path]:
    try:
        if path.is_dir():
            raise IsADirectoryError(EISDIR, os.strerror(EISDIR))
        if path.exists() and not path.is_file():
            raise errors.OperationFailed(f"'{path}' is no regular file")
        fd, made = tempfile.mkstemp(prefix=".", suffix=files.BESIDE, dir=path.parent)
    except OSError as err:
        raise errors.SystemCallError(f"Failed to create file '{path}': {err.strerror}", errno=err.errno) from err
    return fd, Path(made)


def _complete(fd: int, beside: Path, path: Path) -> None:
    try:
        os.fsync(fd)
        beside.rename(path)
        files.flush_directory(path.parent)
    except OSError as err:
        raise errors.SystemCallError(f"cannot write '{path}': {err.strerror}", errno=err.errno) from err


async def _memory(domain: Domain, fd: int, kind: str) -> None:
    monitor = domain.monitor
    await monitor.send_fd(FD_NAME, fd)
    asked = {"paging": False, "protocol": f"fd:{FD_NAME}", "format": kind, "detach": True}
    try:
        async with monitor.events(["DUMP_COMPLETED"]) as told:
            await monitor.execute("dump-guest-memory", asked)
            event = await told.get(save.STREAM_TIMEOUT)
    except MonitorGone as err:
        raise await save.qemu_gone(domain, err) from err
    if event["data"]["result"]["status"] != "completed":
        raise errors.OperationFailed(f"memory-only dump failed: {event['data'].get('error', 'unknown')}")


async def peek(domain: Domain, offset: int, size: int, flags: int) -> bytes:
    """``size`` bytes of the guest's memory at ``offset``: of its RAM (PHYSICAL), or as its first processor sees it.

    Raises ``errors.InvalidArgument`` for flags that are neither, and what ``scratch`` does, and QEMU's refusals.
    """
    if flags not in (PeekFlag.VIRTUAL, PeekFlag.PHYSICAL):
        raise errors.InvalidArgument("flags parameter must be VIR_MEMORY_VIRTUAL or VIR_MEMORY_PHYSICAL")
    command = "memsave" if flags == PeekFlag.VIRTUAL else "pmemsave"
    async with scratch(domain, "peek") as made:
        await made.monitor.execute(command, {"val": offset, "size": size, "filename": made.path})
        found = await asyncio.to_thread(os.pread, made.fd, size, 0)
    if len(found) != size:
        raise errors.OperationFailed(f"QEMU has given {len(found)} of {size} bytes of memory at {offset}")
    return found


async def peek_disk(domain: Domain, name: str, offset: int, size: int) -> bytes:
    """``size`` bytes of the image of a raw disk, by its target or its source.

    Raises ``errors.InvalidArgument``, ``errors.ConfigUnsupported`` for another format, ``errors.SystemCallError``.
    """
    disk = next((one for one in domain.definition.devices.disks if name in (one.target.dev, one.path)), None)
    if disk is None or disk.path is None:
        raise errors.InvalidArgument(f"disk '{name}' not found in domain")
    if disk.format != "raw":
        raise errors.ConfigUnsupported(f"peeking is only supported for disk with 'raw' format not '{disk.format}'")
    found = await asyncio.to_thread(_read, disk.path, offset, size)
    if len(found) != size:
        raise errors.InvalidArgument(f"'{name}' starting from {offset} has only {len(found)} bytes available")
    return found


def _read(path: str, offset: int, size: int) -> bytes:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            found = os.pread(fd, size, offset)
        finally:
            os.close(fd)
    except OSError as err:
        raise errors.SystemCallError(f"failed to read from '{path}': {err.strerror}", errno=err.errno) from err
    except OverflowError as err:
        raise errors.InvalidArgument(f"there is no byte {offset} in '{path}'") from err
    return found
