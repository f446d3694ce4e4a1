"""Waiting for a few descriptors."""

from __future__ import annotations

import math
import select

READ = select.POLLIN
WRITE = select.POLLOUT
BROKEN = select.POLLERR | select.POLLHUP | select.POLLNVAL


class Watch:
    """``poll(2)`` over descriptors of which most are wanted in the same way again and again."""

    def __init__(self) -> None:
        self._poll = select.poll()
        self._wanted: dict[int, int] = {}

    def want(self, fd: int, events: int) -> None:
        """Wait for ``events`` of ``fd`` from now on. For 0 it is not looked at, not even when it breaks."""
        if self._wanted.get(fd, 0) == events:
            return
        if events:
            self._poll.register(fd, events)
            self._wanted[fd] = events
        else:
            self._poll.unregister(fd)
            del self._wanted[fd]

    def wait(self, seconds: float) -> dict[int, int]:
        """What has happened, within ``seconds``: descriptor → events."""
        return dict(self._poll.poll(max(0, math.ceil(seconds * 1000))))
