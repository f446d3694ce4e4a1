"""What the kernel knows of a process and of its threads: times, the CPU it is on, where it may run, its memory.

Source: proc(5), and Documentation/scheduler/sched-stats.rst of Linux for ``schedstat``.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from culvert.drivers.qemu.process import NS_PER_TICK


@dataclass(frozen=True, slots=True)
class Times:
    """Nanoseconds. ``delay``: runnable, but another one had the CPU; ``cpu``: where it last ran."""

    user: int = 0
    system: int = 0
    delay: int = 0
    cpu: int = 0

    @property
    def total(self) -> int:
        return self.user + self.system


def of_process(pid: int) -> Times:
    """The process as a whole; zeros once it has ended."""
    return _times(Path(f"/proc/{pid}"))


def of_thread(pid: int, thread: int) -> Times:
    """One thread of it; zeros once it has ended."""
    return _times(Path(f"/proc/{pid}/task/{thread}"))


def affinity(thread: int) -> frozenset[int]:
    """The CPUs a thread may run on; empty once it has ended."""
    try:
        return frozenset(os.sched_getaffinity(thread))
    except OSError:
        return frozenset()


def resident_kib(pid: int) -> int:
    """Memory that the process has in RAM; 0 once it has ended."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    except (OSError, ValueError, IndexError):
        return 0
    return pages * (os.sysconf("SC_PAGE_SIZE") // 1024)


def _times(place: Path) -> Times:
    try:
        # The name in brackets may itself hold blanks and brackets.
        fields = (place / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        user, system, cpu = int(fields[11]), int(fields[12]), int(fields[36])
    except (OSError, ValueError, IndexError):
        return Times()
    try:
        delay = int((place / "schedstat").read_text(encoding="ascii").split()[1])
    except (OSError, ValueError, IndexError):
        delay = 0
    return Times(user * NS_PER_TICK, system * NS_PER_TICK, delay, cpu)
