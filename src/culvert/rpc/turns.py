"""Whose turn it is to write on a connection: first come, first served, while the socket takes what is written.

A producer waits for its turn *before* it makes a packet, so at most one packet lies above the high-water mark,
however many producers there are.
"""

from __future__ import annotations

import asyncio
from collections import deque

Waiters = set["asyncio.Future[None]"]


class Turns:
    """A queue of producers before a door that is open or shut."""

    def __init__(self) -> None:
        self._open = True
        self._error: Exception | None = None
        self._queue: deque[asyncio.Future[None]] = deque()

    @property
    def open(self) -> bool:
        """Whether the socket takes bytes."""
        return self._open

    async def take(self, waiters: Waiters | None = None) -> Turns:
        """Wait until it is this task's turn: ``with await turns.take(): write``, and no await inside.

        While waiting, the future waited on is in ``waiters``: whoever has that set may end the wait by setting an
        exception on it. Raises what ``close`` was given. Cancelling is safe: the turn goes to the next.
        """
        if self._error is not None:
            raise self._error.with_traceback(None)
        if self._open and not self._queue:
            return self
        future = asyncio.get_running_loop().create_future()
        self._queue.append(future)
        if waiters is not None:
            waiters.add(future)
        try:
            await future
        except asyncio.CancelledError:
            if not future.cancelled() and future.exception() is None:
                self.passed()
            raise
        finally:
            if waiters is not None:
                waiters.discard(future)
        return self

    def __enter__(self) -> None:
        pass

    def __exit__(self, *error: object) -> None:
        self.passed()

    def passed(self) -> None:
        """A turn is over: the next may write."""
        while self._open and self._queue:
            future = self._queue.popleft()
            if not future.done():
                future.set_result(None)
                return

    def shut(self) -> None:
        """The socket is full."""
        self._open = False

    def reopen(self) -> None:
        """The socket takes bytes again."""
        self._open = True
        self.passed()

    def close(self, error: Exception) -> None:
        """The connection is gone: everybody waiting, now and later, gets ``error``."""
        self._error = error
        for future in self._queue:
            if not future.done():
                future.set_exception(error)
        self._queue.clear()
