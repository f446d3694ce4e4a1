"""Functions that other threads want called in a worker's."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable


class Inbox:
    """A queue with a descriptor: ``fd`` is readable when there is something in it."""

    def __init__(self) -> None:
        self.fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._lock = threading.Lock()
        self._functions: deque[Callable[[], None]] = deque()
        self._closed = False

    def post(self, function: Callable[[], None]) -> bool:
        """Have ``function`` called; false when the worker has ended and nobody calls it any more."""
        with self._lock:
            if self._closed:
                return False
            self._functions.append(function)
            os.eventfd_write(self.fd, 1)
            return True

    def run(self) -> None:
        """Call what has been posted, in that order."""
        with self._lock:
            if not self._functions:
                return
            os.eventfd_read(self.fd)
            functions, self._functions = self._functions, deque()
        for function in functions:
            function()

    def close(self) -> None:
        """Call what has been posted for the last time. Idempotent."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            os.close(self.fd)
        for function in self._functions:
            function()
