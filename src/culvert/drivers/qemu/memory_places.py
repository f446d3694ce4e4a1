"""Where on this host a guest's memory may come from: mounts of huge pages, NUMA nodes, a folder for files.

Every function looks at a few files of the kernel's: call it in a thread.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from culvert.domain.definition import DomainDef
from culvert.domain.platform import MemoryBacking
from culvert.domain.scalars import CPU_SET
from culvert.drivers.qemu.command.command_memory import MemoryPlaces
from culvert.drivers.qemu.state.layout import DIRECTORY_MODE, Layout
from culvert.ground import errors, units

MOUNTS = Path("/proc/self/mounts")
MEMINFO = Path("/proc/meminfo")
ONLINE = Path("/sys/devices/system/node/online")


def look(
    definition: DomainDef, layout: Layout, *, mounts: Path = MOUNTS, meminfo: Path = MEMINFO, online: Path = ONLINE
) -> MemoryPlaces:
    """What ``definition`` asks for. QEMU makes nameless files in these folders, which end with it.

    Raises ``errors.ConfigUnsupported`` for a node that the host does not have, ``errors.SystemCallError`` where the
    folder cannot be made.
    """
    _check_nodes(definition, online)
    backing = definition.memory_backing or MemoryBacking()
    usual = _usual(meminfo)
    sources = [one.source for one in definition.devices.memories if one.source]
    huge = backing.hugepages is not None or any(source.pagesize for source in sources)
    found = dict(_mounted(mounts, usual)) if huge else {}
    return MemoryPlaces(hugepages=found, usual=usual, files=_folder(layout) if _needs_files(definition) else None)


def _needs_files(definition: DomainDef) -> bool:
    backing = definition.memory_backing or MemoryBacking()
    numa = definition.cpu.numa if definition.cpu else None
    told = [backing.access, *(cell.mem_access for cell in numa.cells if numa)] if numa else [backing.access]
    return backing.source == "file" or any(told) or any(one.access for one in definition.devices.memories)


def _folder(layout: Layout) -> str:
    path = layout.state / "ram"
    try:
        path.mkdir(mode=DIRECTORY_MODE, exist_ok=True)
    except OSError as err:
        raise errors.SystemCallError(f"cannot create directory '{path}': {err.strerror}", errno=err.errno) from err
    return str(path)


def _usual(meminfo: Path) -> int:
    """KiB of a huge page of the usual size; 0 where the kernel has none."""
    found = re.search(r"^Hugepagesize:\s+(\d+) kB$", meminfo.read_text(encoding="ascii"), re.MULTILINE)
    return int(found[1]) if found else 0


def _mounted(mounts: Path, usual: int) -> Iterator[tuple[int, str]]:
    """(size in KiB, folder) of each mount of huge pages; the last of a size is the first that was made."""
    for line in reversed(mounts.read_text(encoding="utf-8", errors="surrogateescape").splitlines()):
        _, folder, kind, options, *_ = line.split()
        if kind != "hugetlbfs":
            continue
        told = re.search(r"pagesize=(\d+)([kKmMgG]?)", options)
        size = units.to_kib(int(told[1]), told[2] or "b") if told else usual
        # As the kernel writes a space.
        yield size, folder.replace("\\040", " ")


def _check_nodes(definition: DomainDef, online: Path) -> None:
    tune = definition.numatune
    wanted: set[int] = set()
    if tune is not None:
        wanted |= (tune.memory.nodeset if tune.memory else None) or set()
        wanted |= {node for one in tune.nodes for node in one.nodeset}
    for one in definition.devices.memories:
        wanted |= (one.source.nodemask if one.source else None) or set()
    if not wanted:
        return
    there = CPU_SET.read(online.read_text(encoding="ascii").strip(), str(online)) if online.exists() else {0}
    if missing := sorted(wanted - there):
        raise errors.ConfigUnsupported(f"unsupported configuration: NUMA node {missing[0]} is unavailable")
