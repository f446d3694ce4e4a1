"""What goes out on one network connection: frames of the outgoing window, and what else is to be said."""

from __future__ import annotations

from culvert.tunnel import frame
from culvert.tunnel.compression import Choice
from culvert.tunnel.data_connection import DataConnection
from culvert.tunnel.frame import Kind
from culvert.tunnel.statistics import PumpStatistics
from culvert.tunnel.window import OutgoingWindow
from culvert.tunnel.zstd import Compressor

# Frames of one run: so much is sent before the other direction has its turn.
_RUN = 4
_NOTHING = memoryview(b"")
# In this order, before data: who is told that the channel is over needs nothing else.
_ORDER = (Kind.ABORT, Kind.ACK, Kind.HEARTBEAT)


class Sender:
    """Sends what is due. A frame that has begun is completed before anything else, whatever comes up meanwhile.

    ``blocked``: the network takes nothing now. ``raw`` and ``payload`` count the data bytes as QEMU's and as sent.
    """

    def __init__(
        self,
        data_connection: DataConnection,
        window: OutgoingWindow,
        chunk: int,
        statistics: PumpStatistics,
        compressor: Compressor | None,
    ) -> None:
        self.blocked = False
        self.choice = Choice.OFF
        self.raw = 0
        self.payload = 0
        self._data_connection = data_connection
        self._window = window
        self._chunk = chunk
        self._statistics = statistics
        self._compressor = compressor
        self._due: dict[Kind, bytes] = {}  # one of a kind: a later one says everything an earlier one does
        self._header = _NOTHING
        self._rest = _NOTHING
        self._stands_for = 0  # of a compressed frame that has begun
        self._fin_sent = False
        self._last = False

    @property
    def wants_write(self) -> bool:
        """Something can be sent as soon as the network takes it."""
        return bool(
            self.blocked
            or self._due
            or self._header
            or self._rest
            or self._data_connection.unsent
            or (not self._last and (self._window.unsent or self._fin_due))
        )

    @property
    def _fin_due(self) -> bool:
        return self._window.ended and not self._window.finished and not self._fin_sent

    def say(self, kind: Kind, text: bytes) -> None:
        """Send the whole frame ``text`` before further data."""
        self._due[kind] = text

    def finish(self, reason: str | None) -> None:
        """The channel is over: the frame that has begun is completed, and then, with a ``reason``, comes ABORT."""
        self._due = {} if reason is None else {Kind.ABORT: frame.abort(reason)}
        self._last = True

    def run(self) -> bool:
        """Send until the network is full, nothing is left, or it is somebody else's turn. Whether anything went."""
        self.blocked = False
        moved = False
        for _ in range(_RUN):
            if not self._header and not self._rest and not self._next():
                break
            total = len(self._header) + len(self._rest)
            count = self._data_connection.send(self._header, self._rest)
            moved = moved or count > 0
            self._sent(count)
            if count < total or self._data_connection.unsent:
                break
        self.blocked = bool(self._header or self._rest) or not self._data_connection.flush()
        return moved

    def _sent(self, count: int) -> None:
        of_header = min(count, len(self._header))
        self._header = self._header[of_header:]
        count -= of_header
        self._rest = self._rest[count:]
        if self._stands_for:
            if not self._rest:
                self._taken(self._stands_for)
                self._stands_for = 0
        elif count:
            self._taken(count)

    def _taken(self, raw: int) -> None:
        self._statistics.resent += self._window.taken(raw)
        self.raw += raw

    def _next(self) -> bool:
        """Begin the frame that is due; whether there is one."""
        for kind in _ORDER:
            if text := self._due.pop(kind, b""):
                self._header = memoryview(text)
                return True
        if self._last:
            return False
        if self._window.unsent:
            self._begin(self._window.pending(self._chunk))
            return True
        if self._fin_due:
            self._fin_sent = True
            self._header = memoryview(frame.fin(self._window.written))
            return True
        return False

    def _begin(self, raw: memoryview) -> None:
        """Begin a frame of data, compressed where that is chosen and makes it smaller."""
        if self.choice is not Choice.OFF and self._compressor is not None:
            packed = self._compressor.compress(raw)
            if self.choice is Choice.SAMPLE:
                self.choice = Choice.OFF
            if len(packed) < len(raw):
                self._stands_for = len(raw)
                self._header = memoryview(frame.compressed(self._window.sent, len(packed), len(raw)))
                self._rest = memoryview(packed)
                self.payload += len(packed)
                return
        self._header = memoryview(frame.data(self._window.sent, len(raw)))
        self._rest = raw
        self.payload += len(raw)
