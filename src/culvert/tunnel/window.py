"""The two halves of a channel's bytes: what came from QEMU and may have to be replayed, what goes to QEMU.

One ring buffer each, which hands out the memory itself: ``recv_into`` fills it, ``send`` empties it, and what is kept
for a replay is kept where it lies. Offsets count the bytes of the direction from 0 over all connections::

    Outgoing      acked ≤ sent ≤ written ≤ acked + capacity          (sent goes back when a connection is lost)
    Incoming      delivered ≤ received ≤ delivered + capacity
"""

from __future__ import annotations

import mmap

from culvert.ground import errors


class Ring:
    """``capacity`` bytes of memory under a growing offset; the bytes from ``tail`` to ``head`` are in it.

    The memory is resident only as far as it has been used, and an empty ring begins anew at its first page, so the
    many channels that carry little cost little.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.head = 0
        self.tail = 0
        self._base = 0  # the offset that lies at the beginning of the memory
        self._memory = memoryview(mmap.mmap(-1, capacity, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))

    @property
    def free(self) -> int:
        return self.capacity - (self.head - self.tail)

    def room(self, limit: int) -> memoryview:
        """Memory for the next bytes, in one piece, ``limit`` at most; empty when the ring is full."""
        at = (self.head - self._base) % self.capacity
        return self._memory[at : at + min(limit, self.capacity - at, self.free)]

    def filled(self, count: int) -> None:
        """The first ``count`` bytes of ``room`` are there now."""
        assert 0 <= count <= self.free
        self.head += count

    def view(self, offset: int, limit: int) -> memoryview:
        """The bytes from ``offset`` on, in one piece, ``limit`` at most."""
        assert self.tail <= offset <= self.head
        at = (offset - self._base) % self.capacity
        return self._memory[at : at + min(limit, self.capacity - at, self.head - offset)]

    def release(self, offset: int) -> None:
        """The bytes before ``offset`` are needed no longer. No view of the ring may be in use if this empties it."""
        assert self.tail <= offset <= self.head
        self.tail = offset
        if self.tail == self.head:
            self._base = self.head

    def skip(self, count: int) -> None:
        """``count`` bytes go another way. Only an empty ring can be passed."""
        assert self.tail == self.head
        self.head = self.tail = self._base = self.head + count


class OutgoingWindow:
    """What QEMU has written, until the peer has it."""

    def __init__(self, capacity: int) -> None:
        self._ring = Ring(capacity)
        self.sent = 0
        self.highest = 0
        """The most that has ever been sent: what the peer may have."""
        self.ahead = capacity
        """How many bytes may wait to be sent (``ahead.Ahead``)."""
        self.ended = False
        """QEMU writes no more."""
        self.finished = False
        """The peer has acknowledged the end, and with it everything."""

    @property
    def written(self) -> int:
        return self._ring.head

    @property
    def acked(self) -> int:
        return self._ring.tail

    @property
    def full(self) -> bool:
        """QEMU is to wait."""
        return not self._ring.free or self.unsent >= self.ahead

    @property
    def unsent(self) -> int:
        return self._ring.head - self.sent

    def room(self, limit: int) -> memoryview:
        """Where QEMU's next bytes go; empty when the window is full."""
        return self._ring.room(max(0, min(limit, self.ahead - self.unsent)))

    def filled(self, count: int) -> None:
        self._ring.filled(count)

    def pending(self, limit: int) -> memoryview:
        """The next bytes to be sent, in one piece, ``limit`` at most."""
        return self._ring.view(self.sent, limit)

    def taken(self, count: int) -> int:
        """``count`` bytes of ``pending`` have been sent. Says how many of them for another time."""
        assert 0 <= count <= self.unsent
        again = max(0, min(self.highest, self.sent + count) - self.sent)
        self.sent += count
        self.highest = max(self.highest, self.sent)
        return again

    def acknowledge(self, offset: int) -> None:
        """The peer has the bytes before ``offset``. Raises ``errors.ProtocolViolation`` for a peer that cannot."""
        if not self.acked <= offset <= self.sent:
            raise errors.ProtocolViolation(
                f"{offset} bytes are acknowledged; {self.acked} were before and {self.sent} have been sent"
            )
        self._ring.release(offset)

    def finish(self, offset: int) -> None:
        """The peer has everything, and the end. Raises ``errors.ProtocolViolation`` when there is more."""
        if not self.ended or offset != self.written:
            raise errors.ProtocolViolation(f"the end is acknowledged at {offset}; it has not been sent")
        self.acknowledge(offset)
        self.finished = True

    def rewind(self, offset: int) -> None:
        """Over a new connection: the peer has the bytes before ``offset``, the rest is sent again.

        Raises ``errors.InvalidStream``, and changes nothing, when what it lacks is here no more or was never sent.
        """
        if not self.acked <= offset <= self.highest:
            raise errors.InvalidStream(
                f"the peer has received {offset} bytes; between {self.acked} and {self.highest} can be replayed"
            )
        self._ring.release(offset)
        self.sent = offset


class IncomingWindow:
    """What the peer has sent, until QEMU takes it. The peer replays exactly from ``received``: a gap or an overlap is
    never legal."""

    def __init__(self, capacity: int) -> None:
        self._ring = Ring(capacity)
        self.aside = 0
        """Received bytes that wait elsewhere (in a pipe). All others have to wait for them."""
        self.ended = False
        """The peer's QEMU writes no more: nothing comes after ``received``."""

    @property
    def received(self) -> int:
        return self._ring.head

    @property
    def delivered(self) -> int:
        return self._ring.tail - self.aside

    @property
    def waiting(self) -> int:
        """Bytes that QEMU has not taken yet."""
        return self._ring.head - self._ring.tail + self.aside

    @property
    def held(self) -> int:
        """Those of them that are here."""
        return self._ring.head - self._ring.tail

    @property
    def finished(self) -> bool:
        """QEMU has everything there will ever be."""
        return self.ended and not self.waiting

    def expect(self, offset: int) -> None:
        """Data at ``offset`` is announced. Raises ``errors.ProtocolViolation`` when it is not what comes next."""
        if self.ended:
            raise errors.ProtocolViolation(f"data at {offset} after the end at {self.received}")
        if offset != self.received:
            raise errors.ProtocolViolation(f"data at {offset} where {self.received} comes next")

    def end(self, offset: int) -> None:
        """The end is announced, on each connection anew. Raises ``errors.ProtocolViolation`` for a wrong place."""
        if offset != self.received:
            raise errors.ProtocolViolation(f"the end at {offset} where {self.received} comes next")
        self.ended = True

    def room(self, limit: int) -> memoryview:
        """Where the peer's next bytes go; empty when QEMU has to take some first."""
        return self._ring.room(0 if self.aside else limit)

    def put_aside(self, count: int) -> None:
        """The next ``count`` bytes have come, and wait elsewhere. Only when none wait here."""
        self._ring.skip(count)
        self.aside += count

    def filled(self, count: int) -> None:
        self._ring.filled(count)

    def pending(self, limit: int) -> memoryview:
        """The next bytes for QEMU, in one piece, once those put aside are gone."""
        return self._ring.view(self._ring.tail, limit)

    def taken(self, count: int) -> None:
        self._ring.release(self._ring.tail + count)
