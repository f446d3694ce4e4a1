"""What the disks of a domain have done and how large they are: asked of QEMU, or of the files when none runs."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from culvert.domain.disk import Disk
from culvert.drivers.qemu import image, opening
from culvert.drivers.qemu.domain import Domain
from culvert.ground import errors
from culvert.protocol.constants_state import DiskErrorCode

# A device without a backend of its own is called by its id, another one by its path.
_QDEV = re.compile(r"(?:/machine/peripheral/)?([^/]+)")


@dataclass(frozen=True, slots=True)
class Work:
    """Counts, bytes and nanoseconds since the start of QEMU; ``highest``: end of what was written to."""

    reads: int = 0
    read_bytes: int = 0
    read_ns: int = 0
    writes: int = 0
    written_bytes: int = 0
    write_ns: int = 0
    flushes: int = 0
    flush_ns: int = 0
    highest: int = 0

    def __add__(self, other: Work) -> Work:
        return Work(
            self.reads + other.reads,
            self.read_bytes + other.read_bytes,
            self.read_ns + other.read_ns,
            self.writes + other.writes,
            self.written_bytes + other.written_bytes,
            self.write_ns + other.write_ns,
            self.flushes + other.flushes,
            self.flush_ns + other.flush_ns,
            max(self.highest, other.highest),
        )


@dataclass(frozen=True, slots=True)
class BlockSizes:
    """Bytes: what the guest sees of an open image, and what it takes on the host's storage."""

    capacity: int
    actual: int


def find(domain: Domain, path: str) -> Disk:
    """The disk with this target name or source. Raises ``errors.InvalidArgument``."""
    for disk in domain.definition.devices.disks:
        if path in (disk.target.dev, disk.path):
            return disk
    raise errors.InvalidArgument(f"invalid argument: invalid path {path} not assigned to domain")


async def work(domain: Domain) -> dict[str, Work]:
    """Alias of the disk → what it has done. Raises what ``Monitor.execute`` raises."""
    found: dict[str, Work] = {}
    for entry in await domain.monitor.execute("query-blockstats"):
        match = _QDEV.match(str(entry.get("qdev", "")))
        if match:
            found[match[1]] = read_work(entry)
    return found


def read_work(entry: Mapping[str, Any]) -> Work:
    """One entry of ``query-blockstats``."""
    stats = entry["stats"]
    highest = entry.get("parent", {}).get("stats", {}).get("wr_highest_offset", 0)
    return Work(
        reads=stats["rd_operations"],
        read_bytes=stats["rd_bytes"],
        read_ns=stats["rd_total_time_ns"],
        writes=stats["wr_operations"],
        written_bytes=stats["wr_bytes"],
        write_ns=stats["wr_total_time_ns"],
        flushes=stats["flush_operations"],
        flush_ns=stats["flush_total_time_ns"],
        highest=highest,
    )


async def nodes(domain: Domain) -> dict[str, BlockSizes]:
    """Name of the block node → its sizes."""
    return {
        str(entry["node-name"]): BlockSizes(entry["image"]["virtual-size"], entry["image"].get("actual-size", 0))
        for entry in await domain.monitor.execute("query-named-block-nodes", {"flat": True})
    }


def node_name(disk: Disk) -> str:
    """The node below the guest's device, as the command line names it."""
    return f"libvirt-{disk.source.index if disk.source else 0}-format"


async def sizes(domain: Domain, disk: Disk) -> image.Sizes:
    """The sizes of one disk's image, of a running domain or of one that does not run.

    Raises ``errors.InvalidArgument`` for a drive without a medium, ``errors.SystemCallError``.
    """
    disk = await opening.located_disk(domain.host, disk)
    if disk.is_empty or disk.path is None:
        raise errors.InvalidArgument(
            f"invalid argument: disk '{disk.target.dev}' does not currently have a source assigned"
        )
    if disk.type == "network":
        return await _of_server(domain, disk)
    found = await asyncio.to_thread(image.sizes, disk.path, disk.format)
    if domain.is_active:
        node = (await nodes(domain)).get(node_name(disk))
        if node is not None:
            highest = (await work(domain)).get(disk.alias or "", Work()).highest
            allocation = highest if disk.type == "block" else found.allocation
            return image.Sizes(node.capacity, allocation, found.physical)
    return found


async def _of_server(domain: Domain, disk: Disk) -> image.Sizes:
    """Of an image that only a running QEMU can look at."""
    node = (await nodes(domain)).get(node_name(disk)) if domain.is_active else None
    if node is None:
        raise errors.OperationInvalid(f"disk '{disk.target.dev}' is on a server, and its domain does not run")
    highest = (await work(domain)).get(disk.alias or "", Work()).highest
    return image.Sizes(node.capacity, highest, node.capacity)


async def resize(domain: Domain, path: str, size: int) -> None:
    """Make a disk of the running guest ``size`` bytes large.

    Raises ``errors.InvalidArgument``, ``errors.OperationInvalid``, ``errors.OperationUnsupported``, QEMU's refusals.
    """
    async with domain.changing("resize a disk of"):
        disks = domain.require_active().definition.devices.disks
        disk = next((one for one in disks if path in (one.target.dev, one.path)), None)
        if disk is None:
            raise errors.InvalidArgument(f"disk '{path}' was not found in the domain config")
        if disk.is_empty or disk.readonly:
            raise errors.OperationUnsupported(f"can't resize empty or readonly disk '{disk.target.dev}'")
        if disk.format in ("qcow2", "qed"):
            size = -(-size // image.SECTOR) * image.SECTOR
        await domain.monitor.execute("block_resize", {"node-name": node_name(disk), "size": size})


async def failed(domain: Domain) -> list[tuple[str, DiskErrorCode]]:
    """(target name, what is wrong) of every disk whose last request failed. Raises as ``work``."""
    names = {disk.alias: disk.target.dev for disk in domain.require_active().definition.devices.disks}
    codes = {"failed": DiskErrorCode.UNSPEC, "nospace": DiskErrorCode.NO_SPACE}
    found = []
    for entry in await domain.monitor.execute("query-block"):
        match = _QDEV.match(str(entry.get("qdev", "")))
        code = codes.get(str(entry.get("io-status")))
        if match and code is not None and match[1] in names:
            found.append((names[match[1]], code))
    return found
