"""What the daemon logs is written by a thread of its own: a slow disk, or a terminal that nobody reads, holds nobody.

A record is put into words where it is made, because what it tells of may change, and written in the order of the
queue. Nothing is lost when the daemon ends, by an exception too: ``LogQueue`` waits until all is written. Where
nothing can be written any more, the queue has an end: what does not fit is counted, and the number is logged.
"""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import sys
import threading
import time
from collections.abc import Sequence
from io import TextIOWrapper
from logging.handlers import RotatingFileHandler
from pathlib import Path
from types import TracebackType
from typing import Self

from culvert.ground.units import MiB

FORMAT = "%(asctime)s %(levelname)s %(name)s %(message)s"
MOST_WAITING = 100_000  # records
FLUSH_TIMEOUT = 10.0  # seconds for what waits to be written at the end
FILE_SIZE = 16 * MiB
BACKUPS = 3
FILE_MODE = 0o600

_ESCAPES = {code: f"\\x{code:02x}" for code in (*range(32), 127)}


class OneLine(logging.Formatter):
    """One event, one line: nothing that a peer has sent can begin a line of its own. Tracebacks are our own."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        return super().formatMessage(record).translate(_ESCAPES)


class LogFile(RotatingFileHandler):
    """A file of at most ``FILE_SIZE`` bytes; before it gets longer it becomes ``NAME.1``, and so on to ``BACKUPS``.

    What cannot be written is said once on standard error, not for each line.
    """

    def __init__(self, path: Path, *, at_once: bool = False) -> None:
        """``at_once``: it is there before the first line."""
        super().__init__(
            path, maxBytes=FILE_SIZE, backupCount=BACKUPS, encoding="utf-8", errors="backslashreplace", delay=True
        )
        self._complained = False
        if at_once:
            with contextlib.suppress(OSError):  # said with the first line that cannot be written
                self.stream = self._open()

    def _open(self) -> TextIOWrapper:
        """For the daemon's user alone: what it tells of guests and of those who use them is nobody else's."""
        flags = os.O_CREAT | os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC
        made = os.open(self.baseFilename, flags, FILE_MODE)
        return TextIOWrapper(os.fdopen(made, "ab"), self.encoding, self.errors)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        if not self._complained:
            self._complained = True
            print(f"culvertd: cannot write log file '{self.baseFilename}': {sys.exc_info()[1]}", file=sys.stderr)


class LogQueue(logging.Handler):
    """Passes every record on to ``targets`` in a thread. Used as ``with``: all is written when the block ends."""

    def __init__(self, targets: Sequence[logging.Handler], most: int = MOST_WAITING) -> None:
        super().__init__()
        self._targets = targets
        self._waiting: queue.Queue[logging.LogRecord | None] = queue.Queue(most)
        self._left_out = 0
        self._thread = threading.Thread(target=self._write, name="log", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        deadline = time.monotonic() + FLUSH_TIMEOUT
        try:
            self._waiting.put(None, timeout=FLUSH_TIMEOUT)
        except queue.Full:
            return  # nothing is taken any more: to wait longer would hold up the end for ever
        self._thread.join(max(0.0, deadline - time.monotonic()))

    def emit(self, record: logging.LogRecord) -> None:
        """Put it into the queue, in words; never waits."""
        try:
            record.msg, record.args = record.getMessage(), None
            self._waiting.put_nowait(record)
        except queue.Full:
            self._left_out += 1
        except Exception:
            self.handleError(record)

    def _write(self) -> None:
        while (record := self._waiting.get()) is not None:
            self._pass_on(record)
            left_out, self._left_out = self._left_out, 0
            if left_out:
                words = (f"log lines left out because nothing could be written for some time: {left_out}", None, None)
                self._pass_on(logging.LogRecord(__name__, logging.ERROR, __file__, 0, *words))
        for target in self._targets:
            target.flush()

    def _pass_on(self, record: logging.LogRecord) -> None:
        for target in self._targets:
            target.handle(record)


def to(path: Path) -> LogQueue:
    """For the log file ``path`` and standard error: the terminal, or the journal."""
    targets: list[logging.Handler] = [logging.StreamHandler(sys.stderr), LogFile(path)]
    for target in targets:
        target.setFormatter(OneLine(FORMAT))
    return LogQueue(targets)
