"""What waits for a socket that takes nothing: the order of its bytes, and in how few pieces the transport has it."""

from __future__ import annotations

import asyncio
from typing import cast

from hypothesis import given
from hypothesis import strategies as st

from culvert.rpc.limits import WRITE_HIGH, WRITE_LOW
from culvert.rpc.outbox import BATCH, Outbox
from culvert.rpc.turns import Turns


class Transport:
    """As asyncio's: it takes what it is given, tells once when something waits, and once when nothing does."""

    def __init__(self) -> None:
        self.sent = bytearray()
        self.waiting: list[bytes] = []
        self.room = 0
        self.told: Outbox | None = None
        self.closing = False

    def set_write_buffer_limits(self, high: int) -> None:
        assert high == 0

    def get_write_buffer_size(self) -> int:
        return sum(map(len, self.waiting))

    def is_closing(self) -> bool:
        return self.closing

    def write(self, data: bytes) -> None:
        assert isinstance(data, bytes)
        if not data:
            return
        was_waiting = bool(self.waiting)
        self.waiting.append(data)
        self._push()
        if self.waiting and not was_waiting and self.told is not None:
            self.told.pause()

    def takes(self, room: int) -> None:
        """The socket has room for so many bytes more."""
        self.room += room
        was_waiting = bool(self.waiting)
        self._push()
        if was_waiting and not self.waiting and self.told is not None:
            self.told.resume()

    def _push(self) -> None:
        while self.waiting and self.room:
            part = self.waiting[0][: self.room]
            self.sent += part
            self.room -= len(part)
            self.waiting[0] = self.waiting[0][len(part) :]
            if not self.waiting[0]:
                self.waiting.pop(0)


def outbox() -> tuple[Outbox, Transport, Turns]:
    transport, turns = Transport(), Turns()
    made = Outbox(cast(asyncio.WriteTransport, transport), turns)
    transport.told = made
    return made, transport, turns


@given(st.lists(st.integers(1, 3 * BATCH) | st.integers(-1000, -1), max_size=40))
def test_every_byte_in_its_order_and_one_piece_in_the_transport(steps: list[int]) -> None:
    """A positive step is room in the socket, a negative one so many bytes written."""
    made, transport, _ = outbox()
    written = bytearray()
    for number, step in enumerate(steps):
        if step < 0:
            data = bytes([number % 251]) * -step
            made.write(data)
            written += data
        else:
            transport.takes(step)
        assert len(transport.waiting) <= 1
        assert transport.sent == written[: len(transport.sent)]
        assert made.size == len(written) - len(transport.sent)
    made.flush()
    transport.takes(len(written))
    assert transport.sent == written
    assert made.size == 0


def test_small_writes_are_joined_and_producers_wait() -> None:
    made, transport, turns = outbox()
    message = bytes(220)
    for _ in range(WRITE_HIGH // len(message)):
        made.write(message)
    assert turns.open
    assert len(transport.waiting) == 1
    made.write(message)
    made.write(message)
    assert not turns.open
    pieces = 0
    while made.size:
        transport.takes(transport.get_write_buffer_size())
        pieces += 1
        assert turns.open is (made.size - transport.get_write_buffer_size() <= WRITE_LOW)
    assert pieces <= WRITE_HIGH // BATCH + 3


def test_a_transport_that_closes_gets_no_more() -> None:
    made, transport, _ = outbox()
    made.write(b"first")
    made.write(b"second")
    transport.closing = True
    transport.takes(100)
    assert transport.sent == b"first"
    assert made.size == len(b"second")


def test_what_is_written_may_be_changed_again() -> None:
    made, transport, _ = outbox()
    made.write(b"full")
    kept = bytearray(b"as it was")
    made.write(memoryview(kept))
    kept[:] = b"changed.."
    transport.takes(100)
    assert transport.sent == b"fullas it was"
