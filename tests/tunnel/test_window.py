"""Windows: the bytes come out as they went in, whatever is cut and replayed, and no peer is believed everything."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from culvert.ground import errors
from culvert.tunnel.window import IncomingWindow, OutgoingWindow, Ring


def put(window: OutgoingWindow | IncomingWindow, data: bytes) -> int:
    """Fill in as much of ``data`` as fits in one piece."""
    room = window.room(len(data))
    room[:] = data[: len(room)]
    window.filled(len(room))
    return len(room)


class Transfer(RuleBasedStateMachine):
    """An outgoing window, a network that loses everything at any moment, and an incoming window."""

    def __init__(self) -> None:
        super().__init__()
        self.outgoing = OutgoingWindow(13)
        self.incoming = IncomingWindow(7)
        self.written = bytearray()
        self.delivered = bytearray()
        self.network: list[tuple[int, bytes]] = []
        self.aside = bytearray()

    @rule(data=st.binary(min_size=1, max_size=9))
    def qemu_writes(self, data: bytes) -> None:
        self.written += data[: put(self.outgoing, data)]

    @rule(limit=st.integers(1, 9))
    def send(self, limit: int) -> None:
        view = self.outgoing.pending(limit)
        self.network.append((self.outgoing.sent, bytes(view)))
        self.outgoing.taken(len(view))

    @precondition(lambda self: self.network and self.incoming.room(1))
    @rule()
    def receive(self) -> None:
        offset, data = self.network.pop(0)
        self.incoming.expect(offset)
        done = put(self.incoming, data)
        if data[done:]:
            self.network.insert(0, (offset + done, data[done:]))

    @precondition(lambda self: self.network and not self.incoming.held)
    @rule()
    def receive_aside(self) -> None:
        offset, data = self.network.pop(0)
        self.incoming.expect(offset)
        self.incoming.put_aside(len(data))
        self.aside += data

    @rule(limit=st.integers(1, 9))
    def qemu_reads(self, limit: int) -> None:
        if self.aside:
            self.delivered += self.aside[:limit]
            self.incoming.aside -= len(self.aside[:limit])
            del self.aside[:limit]
        else:
            view = self.incoming.pending(limit)
            self.delivered += view
            self.incoming.taken(len(view))

    @rule()
    def acknowledge(self) -> None:
        self.outgoing.acknowledge(self.incoming.received)

    @rule()
    def lose_and_replay(self) -> None:
        self.network.clear()
        self.outgoing.rewind(self.incoming.received)

    @invariant()
    def nothing_is_lost_or_doubled(self) -> None:
        assert self.written.startswith(bytes(self.delivered))
        assert self.incoming.delivered == len(self.delivered)
        assert self.outgoing.acked <= self.incoming.received <= self.outgoing.highest <= len(self.written)
        assert self.outgoing.written == len(self.written)

    def teardown(self) -> None:
        """Whatever has happened, everything arrives in the end."""
        self.lose_and_replay()
        while self.outgoing.unsent or self.network or self.incoming.waiting:
            self.send(9)
            while self.network and self.incoming.room(1):
                self.receive()
            self.qemu_reads(9)
            self.acknowledge()
        assert self.delivered == self.written


TestTransfer = Transfer.TestCase
TestTransfer.settings = settings(max_examples=60)


@given(st.lists(st.tuples(st.integers(1, 30), st.integers(0, 30)), max_size=40))
def test_a_ring_holds_what_it_holds(steps: list[tuple[int, int]]) -> None:
    ring, kept, count = Ring(17), bytearray(), 0
    for fill, release in steps:
        room = ring.room(fill)
        assert len(room) <= ring.free
        for at in range(len(room)):
            room[at] = count % 251
            kept.append(count % 251)
            count += 1
        ring.filled(len(room))
        ring.release(min(ring.head, ring.tail + release))
        held = b"".join(bytes(ring.view(at, 1)) for at in range(ring.tail, ring.head))
        assert held == bytes(kept[ring.tail :])


def test_no_more_is_taken_than_may_wait_to_be_sent() -> None:
    window = OutgoingWindow(100)
    window.ahead = 10
    assert len(window.room(50)) == 10
    window.filled(10)
    assert window.full
    assert not window.room(1)
    window.taken(4)
    assert len(window.room(50)) == 4
    window.filled(4)
    window.taken(10)
    window.acknowledge(14)
    window.ahead = 100
    assert len(window.room(200)) == 100


def test_more_than_may_wait_is_there_to_be_sent_again() -> None:
    window = OutgoingWindow(100)
    window.filled(50)
    window.taken(50)
    window.ahead = 10
    window.rewind(0)
    assert window.full
    assert not window.room(1)
    window.taken(45)
    assert len(window.room(50)) == 5


def test_a_full_window_has_no_room() -> None:
    window = OutgoingWindow(4)
    assert put(window, b"abcdef") == 4
    assert window.full
    assert not window.room(1)


def sent(count: int) -> OutgoingWindow:
    window = OutgoingWindow(64)
    put(window, bytes(range(20)))
    window.taken(count)
    return window


@pytest.mark.parametrize("offset", [11, 20, 1000])
def test_what_was_never_sent_is_not_acknowledged(offset: int) -> None:
    window = sent(10)
    with pytest.raises(errors.ProtocolViolation, match="10 have been sent"):
        window.acknowledge(offset)
    assert window.acked == 0


def test_an_acknowledgement_is_not_taken_back() -> None:
    window = sent(10)
    window.acknowledge(8)
    with pytest.raises(errors.ProtocolViolation, match="8 were before"):
        window.acknowledge(7)


def test_after_a_replay_only_what_went_again_is_acknowledged() -> None:
    window = sent(10)
    window.rewind(5)
    with pytest.raises(errors.ProtocolViolation):
        window.acknowledge(8)
    assert window.taken(10) == 5
    window.acknowledge(15)


@pytest.mark.parametrize("offset", [4, 11, 10**9])
def test_what_cannot_be_replayed_changes_nothing(offset: int) -> None:
    window = sent(10)
    window.acknowledge(5)
    with pytest.raises(errors.InvalidStream, match="between 5 and 10"):
        window.rewind(offset)
    assert (window.acked, window.sent) == (5, 10)


def test_the_end_is_acknowledged_once_everything_is() -> None:
    window = sent(20)
    with pytest.raises(errors.ProtocolViolation, match="has not been sent"):
        window.finish(20)
    window.ended = True
    with pytest.raises(errors.ProtocolViolation):
        window.finish(19)
    window.finish(20)
    assert window.finished


def test_gaps_overlaps_and_data_after_the_end_are_violations() -> None:
    window = IncomingWindow(16)
    put(window, b"abcd")
    for offset in (3, 5):
        with pytest.raises(errors.ProtocolViolation, match="4 comes next"):
            window.expect(offset)
        with pytest.raises(errors.ProtocolViolation, match="4 comes next"):
            window.end(offset)
    window.end(4)
    window.end(4)
    with pytest.raises(errors.ProtocolViolation, match="after the end"):
        window.expect(4)
    assert not window.finished
    window.taken(4)
    assert window.finished
