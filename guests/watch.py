"""Following a guest's serial output while it runs here, moves, and runs there.

Both QEMU processes of a migration append to the same file, so the file is the guest's one voice, wherever it runs.
A thread reads it every ``POLL`` seconds and stamps what has arrived.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from guests import report

POLL = 0.002  # how exact arrival times are; well below the guests' own tick of 10 ms
QUIET_TAIL = 400  # characters of output that a failed wait shows


class SerialWatch:
    """Follows the file ``path``; use as a context manager.

    All times are of ``time.monotonic``. Safe to use from any thread; the ``async`` methods do not block the loop.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._history = report.History()
        self._changed = threading.Condition()
        self._stop = threading.Event()
        self._offset = 0
        self._thread = threading.Thread(target=self._follow, name=f"serial-watch {path.name}", daemon=True)

    def __enter__(self) -> Self:
        self._read()  # what is there already is not news to a wait that begins now
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _follow(self) -> None:
        while not self._stop.wait(POLL):
            self._read()
        self._read()

    def _read(self) -> None:
        try:
            size = self.path.stat().st_size
        except FileNotFoundError:
            size = 0
        if size == self._offset:
            return
        now = time.monotonic()
        with self._changed:
            if size < self._offset:
                self._history.faults.append(f"{self.path}: shrank from {self._offset} to {size} bytes")
                self._offset = 0
            if size:
                with open(self.path, "rb") as file:
                    file.seek(self._offset)
                    data = file.read()
                self._offset += len(data)
                self._history.feed(data, now)
            self._changed.notify_all()

    # ---- what is known -------------------------------------------------------------------------------------------

    @property
    def reports(self) -> list[report.Report]:
        """A copy of all reports so far."""
        with self._changed:
            return list(self._history.reports)

    @property
    def other_lines(self) -> list[str]:
        """Every line that is not a report: boot, answers, a kernel's messages."""
        with self._changed:
            return list(self._history.other)

    @property
    def last(self) -> report.Report | None:
        """The latest report."""
        with self._changed:
            return self._history.last

    @property
    def count(self) -> int:
        """The latest counter; 0 before the first line."""
        last = self.last
        return last.count if last else 0

    @property
    def faults(self) -> list[str]:
        """What is wrong so far, in words."""
        with self._changed:
            return list(self._history.faults)

    def check(self) -> None:
        """Raise ``report.GuestFault`` if the counter had a gap or a step back, a page was bad, or it booted again."""
        with self._changed:
            self._history.check()

    def longest_silence(self, since: float = float("-inf")) -> report.Silence:
        """The longest time without a line since ``since`` (a ``time.monotonic``): downtime as seen from outside."""
        return report.longest_silence(self.reports, since)

    # ---- waiting -------------------------------------------------------------------------------------------------

    def wait(self, condition: Callable[[report.History], bool], what: str, timeout: float = 30) -> None:
        """Wait until ``condition(history)`` holds.

        Raises ``report.GuestFault`` naming ``what`` and showing the last output after ``timeout`` seconds.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: condition(self._history), timeout):
                raise report.GuestFault(f"{what}: not within {timeout} s; last output: {self._tail()!r}")

    def wait_running(self, lines: int = 5, timeout: float = 30) -> None:
        """Wait until the guest has printed ``lines`` more lines than it has now: it is alive."""
        target = len(self.reports) + lines
        self.wait(lambda history: len(history.reports) >= target, f"{lines} more lines of the guest", timeout)

    def wait_verified(self, passes: int = 1, timeout: float = 60) -> None:
        """Wait until the guest has verified all of its memory ``passes`` times, begun after this call; then check.

        Raises ``report.GuestFault`` when it does not get there in ``timeout`` seconds or anything was wrong.
        """
        self.wait(lambda history: history.last is not None, "a first line of the guest", timeout)
        last = self.last
        target = (last.passes if last else 0) + 1 + passes  # the pass under way now does not count
        self.wait(
            lambda history: bool(history.faults) or (history.last is not None and history.last.passes >= target),
            f"pass {target} over all of the guest's memory",
            timeout,
        )
        self.check()

    def assert_stopped(self, seconds: float = 0.3) -> None:
        """Raise ``report.GuestFault`` if the guest goes on printing. What it has printed until now has ``seconds`` to
        come out of QEMU's serial port, and it has as long again to betray itself."""
        time.sleep(seconds)
        before = self.count
        time.sleep(seconds)
        if self.count != before:
            raise report.GuestFault(f"the guest should be stopped, but went from {before} to {self.count}")

    async def running(self, lines: int = 5, within: float = 30) -> None:
        """``wait_running`` for coroutines."""
        await asyncio.to_thread(self.wait_running, lines, within)

    async def verified(self, passes: int = 1, within: float = 60) -> None:
        """``wait_verified`` for coroutines."""
        await asyncio.to_thread(self.wait_verified, passes, within)

    def _tail(self) -> str:
        try:
            return self.path.read_text("utf-8", "replace")[-QUIET_TAIL:]
        except OSError as err:
            return str(err)
