"""What is written on a connection whose socket takes nothing at the moment, kept in few pieces.

asyncio's transport keeps each write that waits as a piece of its own, and since Python 3.12 goes through all of them
at each further write to know their size. Events are many small writes: a client that reads none of them would have
the loop busy for minutes. So the transport gets nothing more while anything waits in it, and then as much at once as
a socket takes.
"""

from __future__ import annotations

import asyncio
from collections import deque

from culvert.ground.units import KiB
from culvert.rpc.limits import WRITE_HIGH, WRITE_LOW
from culvert.rpc.turns import Turns

BATCH = 256 * KiB  # bytes that are joined for one write; a packet of a stream is as long


class Outbox:
    """In front of ``transport``, whose limits it sets. ``turns`` are shut while more than ``WRITE_HIGH`` bytes wait
    here, and open again from ``WRITE_LOW`` on."""

    def __init__(self, transport: asyncio.WriteTransport, turns: Turns) -> None:
        self._transport = transport
        self._turns = turns
        self._waiting: deque[bytes] = deque()
        self._size = 0
        self._full = False
        transport.set_write_buffer_limits(high=0)

    @property
    def size(self) -> int:
        """Bytes that the socket has not taken."""
        return self._size + self._transport.get_write_buffer_size()

    def write(self, data: bytes | memoryview) -> None:
        """Send ``data``, which may be changed again afterwards, behind all that was written before."""
        if not self._full:
            self._transport.write(data if isinstance(data, bytes) else bytes(data))
            return
        self._waiting.append(bytes(data))
        self._size += len(data)
        if self._size > WRITE_HIGH:
            self._turns.shut()

    def pause(self) -> None:
        """Something waits in the transport (``pause_writing``)."""
        self._full = True

    def resume(self) -> None:
        """Nothing waits in it any more (``resume_writing``)."""
        self._full = False
        while self._waiting and not self._full and not self._transport.is_closing():
            self._transport.write(self._batch())
        if self._size <= WRITE_LOW and not self._turns.open:
            self._turns.reopen()

    def flush(self) -> None:
        """Leave all of it to the transport: it is to be closed, or to be somebody else's."""
        if self._waiting:
            self._transport.write(b"".join(self._waiting))
            self._waiting.clear()
            self._size = 0

    def _batch(self) -> bytes:
        batch = [self._waiting.popleft()]
        size = len(batch[0])
        while self._waiting and size + len(self._waiting[0]) <= BATCH:
            batch.append(self._waiting.popleft())
            size += len(batch[-1])
        self._size -= size
        return batch[0] if len(batch) == 1 else b"".join(batch)
