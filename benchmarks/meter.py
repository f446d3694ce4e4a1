"""What the processes of both hosts take while something is measured."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from benchmarks import tree
from benchmarks.hosts import LabError
from benchmarks.stage import is_qemu
from tests.support import processes

SAMPLE = 0.05  # seconds between looks at the clocks; what a process takes after the last look before its end is lost
SCAN_EVERY = 4  # looks between searches for new processes
_NOT_COUNTED = ("", "tini", "nsenter", "bash")  # what only starts others


@dataclass(slots=True)
class Taken:
    """One process's processor time since the meter began, and the most memory it held."""

    host: str
    qemu: bool
    begun_ns: int
    cpu_ns: int = 0
    peak: int = 0


class Meter:
    """Watches ``pids()`` (by host) in a thread from ``start`` to ``stop``."""

    def __init__(self, pids: Callable[[], dict[str, list[int]]]) -> None:
        self._pids = pids
        self._taken: dict[int, Taken] = {}
        self._stop = threading.Event()
        self._failed: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="meter", daemon=True)

    def start(self) -> None:
        """From now on; processes there are already have taken nothing yet, and their peaks begin anew."""
        self._scan(new=False)
        for pid, taken in self._taken.items():
            if not taken.qemu:
                tree.reset_peak(pid)
        self._thread.start()

    def stop(self) -> None:
        """A last look; afterwards nothing changes. Idempotent."""
        if not self._stop.is_set():
            self._stop.set()
            self._thread.join()
            self._look()

    def cpu(self, *, qemu: bool, host: str | None = None) -> float:
        """Processor seconds of the daemons, or of the QEMUs."""
        return sum(taken.cpu_ns for taken in self._chosen(qemu, host)) / 1e9

    def peak(self, host: str) -> int:
        """Bytes: the peaks of the daemon's processes on ``host``, together."""
        return sum(taken.peak for taken in self._chosen(False, host))

    def freeze_qemu(self) -> float:
        """Processor seconds of the QEMUs up to now, not up to ``stop``."""
        self._look()
        return self.cpu(qemu=True)

    def _chosen(self, qemu: bool, host: str | None) -> list[Taken]:
        if self._failed is not None:
            raise LabError(f"the processes could not be watched: {self._failed!r}") from self._failed
        return [t for t in list(self._taken.values()) if t.qemu == qemu and host in (None, t.host)]

    def _run(self) -> None:
        try:
            self._watch()
        except Exception as err:  # told by whoever asks for figures: what was not seen must not count as nothing
            self._failed = err

    def _watch(self) -> None:
        looks = 0
        while not self._stop.wait(SAMPLE):
            looks += 1
            if looks % SCAN_EVERY == 0:
                self._scan(new=True)
            self._look()

    def _scan(self, *, new: bool) -> None:
        for host, pids in self._pids().items():
            for pid in pids:
                if processes.program(pid) in _NOT_COUNTED:
                    continue
                taken = self._taken.setdefault(pid, Taken(host, False, 0 if new else tree.cpu_ns(pid) or 0))
                # What a daemon has started may have been seen before it became a QEMU.
                taken.qemu = taken.qemu or is_qemu(pid)

    def _look(self) -> None:
        for pid, taken in list(self._taken.items()):
            now = tree.cpu_ns(pid)
            if now is not None:
                taken.cpu_ns = now - taken.begun_ns
                taken.peak = tree.peak_bytes(pid) if not taken.qemu else 0
