"""This host in libvirt's terms (NODE_GET_INFO, and the topology of the capabilities), read from /proc and /sys."""

from __future__ import annotations

import os
import platform
import re
from dataclasses import dataclass
from pathlib import Path

MODEL_LIMIT = 31  # virNodeInfo.model has 32 bytes with its NUL

_CPU_DIRECTORY = re.compile(r"cpu([0-9]+)")
_NODE_DIRECTORY = re.compile(r"node([0-9]+)")


@dataclass(frozen=True, slots=True)
class HostCpu:
    """A CPU that is switched on, and where it sits."""

    id: int
    node: int
    socket: int
    core: int
    siblings: str


@dataclass(frozen=True, slots=True)
class NodeInfo:
    """``memory`` in KiB; ``sockets`` per node, ``cores`` per socket, ``threads`` per core, as virNodeInfo counts."""

    model: str
    memory: int
    cpus: int
    mhz: int
    nodes: int
    sockets: int
    cores: int
    threads: int


def _number(path: Path, default: int = 0) -> int:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return default


def _text(path: Path, default: str) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return default


def cpus(root: Path = Path("/sys/devices/system/cpu")) -> list[HostCpu]:
    """The CPUs that are switched on, by number; never empty."""
    found = []
    try:
        entries = list(root.iterdir())
    except OSError:
        entries = []
    for entry in entries:
        match = _CPU_DIRECTORY.fullmatch(entry.name)
        if match is None or not _number(entry / "online", 1):
            continue
        number = int(match.group(1))
        node = next((int(m.group(1)) for m in map(_NODE_DIRECTORY.fullmatch, os.listdir(entry)) if m), 0)
        topology = entry / "topology"
        found.append(
            HostCpu(
                id=number,
                node=node,
                socket=max(_number(topology / "physical_package_id"), 0),
                core=_number(topology / "core_id", number),
                siblings=_text(topology / "thread_siblings_list", str(number)),
            )
        )
    return sorted(found, key=lambda cpu: cpu.id) or [
        HostCpu(number, 0, 0, number, str(number)) for number in range(os.cpu_count() or 1)
    ]


def memory(path: Path = Path("/proc/meminfo")) -> int:
    """Memory of the host in KiB."""
    found = re.search(r"^MemTotal:\s+([0-9]+) kB$", _text(path, ""), re.MULTILINE)
    return int(found.group(1)) if found else 0


def mhz(path: Path = Path("/proc/cpuinfo")) -> int:
    """The clock of the first CPU, 0 where the host does not tell."""
    found = re.search(r"^cpu MHz\s*:\s*([0-9]+)", _text(path, ""), re.MULTILINE)
    return int(found.group(1)) if found else 0


def read() -> NodeInfo:
    """Ask the host. Reads a few small files of the kernel's: call it in a thread."""
    online = cpus()
    nodes = {cpu.node for cpu in online}
    sockets = {(cpu.node, cpu.socket) for cpu in online}
    cores = {(cpu.node, cpu.socket, cpu.core) for cpu in online}
    count = NodeInfo(
        model=platform.machine()[:MODEL_LIMIT],
        memory=memory(),
        cpus=len(online),
        mhz=mhz(),
        nodes=len(nodes),
        sockets=len(sockets) // len(nodes),
        cores=len(cores) // len(sockets),
        threads=len(online) // len(cores),
    )
    if count.nodes * count.sockets * count.cores * count.threads == count.cpus:
        return count
    # Not rectangular: virNodeInfo's documentation (libvirt-host.h) then asks for one node, one socket, all cores.
    return NodeInfo(count.model, count.memory, count.cpus, count.mhz, 1, 1, count.cpus, 1)


def free_memory(path: Path = Path("/proc/meminfo")) -> int:
    """Free memory of the host in bytes (NODE_GET_FREE_MEMORY); 0 when it cannot be read."""
    match = re.search(r"^MemFree:\s+([0-9]+) kB", _text(path, ""), re.MULTILINE)
    return int(match[1]) * 1024 if match else 0
