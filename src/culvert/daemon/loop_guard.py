"""A guard over the event loop for the tests: says in the log which callback has held the loop, and with what.

The environment variable ``CULVERT_LOOP_GUARD`` names how many seconds one callback may hold the loop; without it
nothing here runs. asyncio's debug mode (``loop.slow_callback_duration``) looks at the time of day, so a busy machine
makes every callback slow; and it changes how tasks and futures are made. Here only what the loop's thread does itself
counts:

* processor time that the thread has taken in one callback, by its own clock: while it waits for a processor, or for
  the interpreter lock, that clock stands;
* time in which a second thread finds it asleep in one system call. Runnable but not running is not asleep, and a
  futex is what it sleeps in when it waits for the interpreter lock, so neither counts: no lock is seen here, but
  files, devices, names and processes are.

Source of the two files below /proc/self/task: proc(5).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import platform
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

log = logging.getLogger(__name__)

VARIABLE = "CULVERT_LOOP_GUARD"
HELD = "event loop held"
"""What its lines in the log begin with."""
PERIOD = 0.01  # seconds between two looks at the loop's thread
FRAMES = 8  # innermost calls that a line in the log names
FUTEX = {"x86_64": 202, "aarch64": 98}.get(platform.machine(), -1)
"""The number of futex(2): asm/unistd_64.h on x86-64, asm-generic/unistd.h on AArch64."""


@dataclass(slots=True)
class _Turn:
    """One callback that runs: ``asleep`` seconds so far, in which system call, and where the thread was then."""

    began: float
    asleep: float = 0.0
    call: str = ""
    stack: str = ""


class LoopGuard:
    """Logs each callback that holds the loop of the thread this is made in for more than ``limit`` seconds."""

    def __init__(self, limit: float) -> None:
        self.limit = limit
        self._thread = threading.get_ident()
        self._place = Path("/proc/self/task", str(threading.get_native_id()))
        self._turn: _Turn | None = None
        self._done = threading.Event()

    def asleep(self) -> float:
        """Seconds for which the callback that runs now has been found asleep in a system call."""
        turn = self._turn
        return turn.asleep if turn is not None else 0.0

    @contextlib.contextmanager
    def on(self) -> Iterator[None]:
        """Watch in the block."""
        original = asyncio.Handle._run
        guard = self

        def run(handle: asyncio.Handle) -> None:
            if threading.get_ident() != guard._thread:
                original(handle)
                return
            turn = guard._turn = _Turn(time.monotonic())
            taken = time.thread_time()
            try:
                original(handle)
            finally:
                taken = time.thread_time() - taken
                guard._turn = None
                if taken > guard.limit or turn.asleep > guard.limit:
                    guard._tell(handle, turn, taken)

        watcher = threading.Thread(target=self._look, name="loop-guard", daemon=True)
        asyncio.Handle._run = run  # type: ignore[method-assign, assignment]
        watcher.start()
        try:
            yield
        finally:
            asyncio.Handle._run = original  # type: ignore[method-assign]
            self._done.set()
            watcher.join()

    def _tell(self, handle: asyncio.Handle, turn: _Turn, taken: float) -> None:
        log.error(
            "%s processor=%.3f asleep=%.3f syscall=%s callback=%r at=%s",
            *(HELD, taken, turn.asleep, turn.call or "-", handle, turn.stack or "not seen"),
        )

    def _look(self) -> None:
        before, last = "", time.monotonic()
        while not self._done.wait(PERIOD):
            now = time.monotonic()
            # When this thread itself was not let run, nothing is known of the time between.
            passed, last = min(now - last, 2 * PERIOD), now
            turn = self._turn
            if turn is None or now - turn.began < PERIOD:
                before = ""
                continue
            found = self._sleeping_in()
            # Twice the same, arguments and stack pointer included: it has slept there all the time.
            if found and found == before:
                turn.asleep += passed
                turn.call = found.split()[0]
            before = found
            frame = sys._current_frames().get(self._thread)
            if frame is not None and self._turn is turn:
                turn.stack = _told(frame)

    def _sleeping_in(self) -> str:
        """The system call the loop's thread sleeps in, with its arguments; empty when it does not, or in a futex."""
        try:
            state = (self._place / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[0]
            call = (self._place / "syscall").read_text(encoding="ascii").strip()
        except OSError:
            return ""
        number = call.split()[0]
        # -1: asleep outside of a system call, for a page of its memory; "running" is said of what is not asleep.
        return call if state in "SD" and number not in (str(FUTEX), "-1", "running") else ""


def _told(frame: FrameType) -> str:
    """Where a thread is, innermost first, on one line."""
    calls: list[str] = []
    at: FrameType | None = frame
    while at is not None and len(calls) < FRAMES:
        calls.append(f"{os.path.basename(at.f_code.co_filename)}:{at.f_lineno} {at.f_code.co_name}")
        at = at.f_back
    return " < ".join(calls)


@contextlib.contextmanager
def from_environment() -> Iterator[None]:
    """Watch the loop of this thread in the block, when the environment asks for it."""
    text = os.environ.get(VARIABLE)
    if text is None:
        yield
        return
    with LoopGuard(float(text)).on():
        yield
