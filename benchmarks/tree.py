"""Processes below others, and what they have taken: seen through /proc.

A tree hangs below a ``tini -s``, which adopts the orphans of everything it has started: so a QEMU that its daemon has
let go of is still found, and is reaped at once.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections import defaultdict
from collections.abc import Collection, Iterable
from pathlib import Path

from tests.support import processes

_CPUCLOCK_SCHED = 2  # the kernel's number of the clock that counts what the scheduler gave (posix-timers.h)
_RESET_PEAK = "5"  # proc(5), clear_refs: forget the peak resident size


def descendants(roots: Collection[int]) -> list[int]:
    """The living processes below ``roots``, without these; parents before children."""
    children = defaultdict(list)
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(OSError, IndexError):
                fields = Path(f"/proc/{entry}/stat").read_text(errors="replace").rpartition(")")[2].split()
                if fields[0] not in ("Z", "X"):
                    children[int(fields[1])].append(int(entry))
    found: list[int] = []
    waiting = list(roots)
    while waiting:
        below = children.get(waiting.pop(0), [])
        found += below
        waiting += below
    return found


def cpu_ns(pid: int) -> int | None:
    """Processor time of a process with all its threads, those that have ended too; ``None`` when it is gone.

    By the process's own clock (clock_getcpuclockid(3)): /proc/PID/stat counts in steps of 10 ms.
    """
    try:
        return time.clock_gettime_ns((~pid << 3) | _CPUCLOCK_SCHED)
    except OSError:
        return None


def peak_bytes(pid: int) -> int:
    """The most memory the process has held (VmHWM) since it began or ``reset_peak``; 0 when it is gone."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(errors="replace")
    except OSError:
        return 0
    _, found, rest = status.partition("VmHWM:")
    return int(rest.split()[0]) << 10 if found else 0


def reset_peak(pid: int) -> None:
    """Begin the peak anew from what it holds now."""
    with contextlib.suppress(OSError):
        Path(f"/proc/{pid}/clear_refs").write_text(_RESET_PEAK)


def end(roots: Iterable[int], timeout: float = 10) -> None:
    """SIGKILL everything below ``roots``, what appears there meanwhile too; the roots themselves stay."""
    listed = list(roots)
    deadline = time.monotonic() + timeout
    while (found := descendants(listed)) and time.monotonic() < deadline:
        for pid in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        processes.wait_gone(found, 1)
