"""Processes seen through /proc: whose they are, what processor time they took, how they are ended.

A *mark* is an environment variable with a value nobody else has; every process a marked process starts inherits it
(a daemon is told to pass it on to its QEMUs), so what belongs to a test is found for certain, also when its parent is
gone.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterable
from pathlib import Path

MARK = "CULVERT_TEST_ROOT"
TICKS = os.sysconf("SC_CLK_TCK")


def marked(root: Path) -> list[int]:
    """The ids of all living processes that carry the mark ``root`` (``MARK=root`` in their environment)."""
    wanted = f"{MARK}={root}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            if wanted in (entry / "environ").read_bytes().split(b"\0") and state(int(entry.name)) not in ("Z", "X"):
                found.append(int(entry.name))
        except OSError:
            continue  # it ended, or is another user's
    return sorted(found)


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the third on (proc(5)); the second may hold blanks and brackets."""
    return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()


def state(pid: int) -> str:
    """The state letter of proc(5); ``X`` when there is no such process."""
    try:
        return _stat(pid)[0]
    except OSError:
        return "X"


def cpu_seconds(pid: int) -> float:
    """Processor time the process has taken, user and system, in seconds; 0 when it is gone."""
    try:
        fields = _stat(pid)
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / TICKS  # utime, stime: fields 14 and 15


def resident(pid: int) -> int:
    """Bytes of memory the process holds."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
    return int(status.split("VmRSS:")[1].split()[0]) << 10


def descriptors(pid: int) -> int:
    """How many descriptors the process has open."""
    return len(os.listdir(f"/proc/{pid}/fd"))


def threads(pid: int) -> int:
    """How many threads the process has."""
    return len(os.listdir(f"/proc/{pid}/task"))


def program(pid: int) -> str:
    """The name of the program a process runs; empty when it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0].decode("utf-8", "replace").rpartition("/")[2]
    except OSError:
        return ""


def wait_gone(pids: Iterable[int], timeout: float) -> list[int]:
    """Wait up to ``timeout`` seconds for ``pids`` to end; those that still live are returned."""
    deadline = time.monotonic() + timeout
    left = list(pids)
    while left := [pid for pid in left if state(pid) not in ("Z", "X")]:
        if time.monotonic() > deadline:
            break
        time.sleep(0.01)
    return left


def end_marked(root: Path) -> list[int]:
    """SIGKILL everything that carries the mark ``root``; returns what was found."""
    found = marked(root)
    for pid in found:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    wait_gone(found, 10)
    return found


def niceness(pid: int) -> dict[int, int]:
    """The nice value of each of its threads, by thread id."""
    found = {}
    for entry in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError, ValueError):
            found[int(entry.name)] = os.getpriority(os.PRIO_PROCESS, int(entry.name))
    return found
