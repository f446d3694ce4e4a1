"""What this host is doing: processor time, memory, NUMA nodes, firmware tables, from /proc and /sys.

Every function reads a few small files of the kernel's: call it in a thread.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from culvert.drivers.qemu.process import NS_PER_TICK
from culvert.ground import errors
from culvert.ground.units import KiB

SYSTEM = Path("/sys/devices/system")
DMI = Path("/sys/class/dmi/id")

# /proc/meminfo's names → libvirt's (VIR_NODE_MEMORY_STATS_*)
_MEMORY = {"MemTotal": "total", "MemFree": "free", "Buffers": "buffers", "Cached": "cached"}

# Block, entry name in libvirt's XML → file of the DMI class. Source: docs/formatdomain, "SMBIOS System Information".
_DMI_FILES = {
    "bios": {"vendor": "bios_vendor", "version": "bios_version", "date": "bios_date", "release": "bios_release"},
    "system": {
        "manufacturer": "sys_vendor",
        "product": "product_name",
        "version": "product_version",
        "serial": "product_serial",
        "uuid": "product_uuid",
        "sku": "product_sku",
        "family": "product_family",
    },
    "baseBoard": {
        "manufacturer": "board_vendor",
        "product": "board_name",
        "version": "board_version",
        "serial": "board_serial",
        "asset": "board_asset_tag",
    },
    "chassis": {
        "manufacturer": "chassis_vendor",
        "version": "chassis_version",
        "serial": "chassis_serial",
        "asset": "chassis_asset_tag",
    },
}


def cpu_times(cpu: int, path: Path = Path("/proc/stat")) -> list[tuple[str, int]]:
    """Nanoseconds that a CPU (-1: all of them) has spent, by libvirt's names. Raises ``errors.InvalidArgument``."""
    name = "cpu" if cpu < 0 else f"cpu{cpu}"
    for line in path.read_text(encoding="ascii").splitlines():
        head, *ticks = line.split()
        if head == name:
            user, nice, system, idle, iowait, irq, softirq = (int(each) * NS_PER_TICK for each in ticks[:7])
            return [
                ("kernel", system + irq + softirq),
                ("user", user + nice),
                ("idle", idle),
                ("iowait", iowait),
            ]
    raise errors.InvalidArgument(f"invalid argument: Invalid cpuNum in linuxNodeGetCPUStats: {cpu}")


def memory(cell: int, root: Path = SYSTEM / "node", whole: Path = Path("/proc/meminfo")) -> list[tuple[str, int]]:
    """KiB, by libvirt's names, of a NUMA node (-1: of the host). Raises ``errors.InvalidArgument``."""
    path = whole if cell < 0 else root / f"node{cell}" / "meminfo"
    try:
        text = path.read_text(encoding="ascii")
    except OSError as err:
        raise errors.InvalidArgument(f"invalid argument: there is no NUMA node {cell}") from err
    found = dict(re.findall(r"^(?:Node \d+ )?(\w+): +(\d+) kB$", text, re.MULTILINE))
    return [(libvirts, int(found[name])) for name, libvirts in _MEMORY.items() if name in found]


def cells(root: Path = SYSTEM / "node") -> list[int]:
    """The numbers of the NUMA nodes; a host without NUMA is one node, 0."""
    found = sorted(int(path.name.removeprefix("node")) for path in root.glob("node[0-9]*"))
    return found or [0]


def free_of_cells(first: int, most: int) -> list[int]:
    """Bytes free on each NUMA node from ``first`` on. Raises ``errors.InvalidArgument`` when there is none."""
    known = cells()
    if first not in known:
        raise errors.InvalidArgument(f"invalid argument: start cell {first} out of range (0-{known[-1]})")
    wanted = [cell for cell in known if cell >= first][: max(most, 0)]
    return [dict(memory(cell if len(known) > 1 else -1))["free"] * KiB for cell in wanted]


def free_pages(size_kib: int, cell: int, root: Path = SYSTEM / "node") -> int:
    """How many pages of this size are free on a NUMA node. Raises ``errors.OperationFailed`` for an unknown size."""
    if size_kib == 4:
        return dict(memory(cell, root))["free"] // 4
    path = root / f"node{cell}" / "hugepages" / f"hugepages-{size_kib}kB" / "free_hugepages"
    try:
        return int(path.read_text(encoding="ascii"))
    except OSError as err:
        raise errors.OperationFailed(f"page size {size_kib} is not available on node {cell}") from err


def page_sizes(root: Path = Path("/sys/kernel/mm/hugepages")) -> list[int]:
    """KiB of a page, for every size this host has."""
    huge = (path.name.removeprefix("hugepages-").removesuffix("kB") for path in root.glob("hugepages-*kB"))
    return [os.sysconf("SC_PAGE_SIZE") // KiB, *sorted(map(int, huge))]


def present_cpus(root: Path = SYSTEM / "cpu") -> int:
    """How many CPUs there are, switched on or not."""
    return max(1, len([path for path in root.glob("cpu[0-9]*") if path.is_dir()]))


def sysinfo(root: Path = DMI) -> dict[str, dict[str, str]]:
    """What the firmware says of the host: block → entry → text.

    Raises ``errors.ConfigUnsupported`` for a host whose firmware says nothing.
    """
    found: dict[str, dict[str, str]] = {}
    for block, entries in _DMI_FILES.items():
        for entry, file in entries.items():
            try:
                text = (root / file).read_text(encoding="utf-8", errors="replace").strip()
            except OSError:
                continue
            if text:
                found.setdefault(block, {})[entry] = text
    if not found:
        raise errors.ConfigUnsupported("unsupported configuration: Host SMBIOS information is not available")
    return found


# What the kernel tells of merged pages (Documentation/admin-guide/mm/ksm.rst of Linux), and whether that has
# 64 bits in libvirt (util/virhostmem.c, virHostMemGetParameters).
_SHARED = (
    *(("pages_to_scan", False), ("sleep_millisecs", False), ("pages_shared", True), ("pages_sharing", True)),
    *(("pages_unshared", True), ("pages_volatile", True), ("full_scans", True), ("merge_across_nodes", False)),
)


def shared_memory(place: Path = Path("/sys/kernel/mm/ksm")) -> list[tuple[str, int, bool]]:
    """(name, value, whether it has 64 bits) of merged pages; what the kernel does not say is left out."""
    found = []
    for name, long in _SHARED:
        try:
            found.append((f"shm_{name}", int((place / name).read_text(encoding="ascii")), long))
        except (OSError, ValueError):
            continue
    return found
