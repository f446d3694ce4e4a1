"""What comes in on one network connection: frames taken apart, their payload put where QEMU takes it from."""

from __future__ import annotations

from collections.abc import Callable

from culvert.ground import errors
from culvert.tunnel import frame
from culvert.tunnel.data_connection import DataConnection
from culvert.tunnel.frame import Frame, Kind
from culvert.tunnel.pipe import WORTH, Pipe
from culvert.tunnel.window import IncomingWindow, OutgoingWindow
from culvert.tunnel.zstd import Decompressor

# Reads of one run: so much is received before the other direction has its turn.
_RUN = 8
_NONE = Frame(Kind.HEARTBEAT)


class Receiver:
    """Keeps the rules for the peer: what breaks one raises ``errors.ProtocolViolation``, and the peer's ABORT raises
    ``errors.StreamFailed`` with its reason.

    Plain data is received where it is sent to QEMU from, together with the header behind it. ``ended``: the peer's
    end has been announced on this connection. ``over``: it has closed the channel, for everything is acknowledged.
    """

    def __init__(
        self, data_connection: DataConnection, outgoing: OutgoingWindow, incoming: IncomingWindow, pipe: Pipe
    ) -> None:
        self.ended = False
        self.over = False
        self._pipe = pipe
        self._data_connection = data_connection
        self._outgoing = outgoing
        self._incoming = incoming
        self._header = memoryview(bytearray(frame.HEADER))
        self._got = 0  # bytes of the header that is being received
        self._frame = _NONE
        self._missing = 0  # bytes of the payload that is being received
        self._scratch = memoryview(b"")  # for payload that does not go to QEMU as it is
        self._unpacked = memoryview(b"")  # decompressed, not in the window yet
        self._decompressor: Decompressor | None = None
        self._handlers: dict[Kind, Callable[[Frame], None]] = {
            Kind.DATA: self._data,
            Kind.ACK: self._ack,
            Kind.FIN: self._fin,
            Kind.HEARTBEAT: lambda frame: None,
            Kind.ABORT: self._abort,
        }

    @property
    def due(self) -> int:
        """Bytes that the payload under way still brings."""
        return self._missing

    @property
    def wants_read(self) -> bool:
        """There is room for what comes next."""
        if self._unpacked:
            return False
        if not self._direct:
            return True
        return not self._pipe.full if self._diverted else bool(self._incoming.room(1))

    @property
    def _diverted(self) -> bool:
        """The payload under way goes through the pipe: a long one, or the last one's bytes are still in there."""
        incoming = self._incoming
        return (
            self._data_connection.diverts
            and (incoming.aside > 0 or (self._missing >= WORTH and not incoming.held))
            and self._pipe.open()
        )

    @property
    def _direct(self) -> bool:
        """A payload is under way that goes to QEMU as it is."""
        return bool(self._missing) and self._frame.kind is Kind.DATA and not self._frame.flags

    def run(self) -> int:
        """Receive what has come and there is room for: how many bytes."""
        total = 0
        self.unpack()
        for _ in range(_RUN):
            if not self.wants_read:
                break
            if self._direct and self._diverted:
                count = self._data_connection.divert(self._pipe, self._missing)
                if not count:
                    break
                total += count
                self._missing -= count
                self._incoming.put_aside(count)
                continue
            buffers = self._buffers()
            count = self._data_connection.receive(buffers)
            total += count
            self._received(count)
            if count < sum(map(len, buffers)):
                break
        return total

    def _buffers(self) -> list[memoryview]:
        if not self._missing:
            return [self._header[self._got :]]
        if self._direct:
            room = self._incoming.room(self._missing)
            return [room, self._header] if len(room) == self._missing else [room]
        done = self._frame.wire - self._missing
        return [self._scratch[done : self._frame.wire]]

    def _received(self, count: int) -> None:
        if self._missing:
            of_payload = min(count, self._missing)
            if self._direct:
                self._incoming.filled(of_payload)
            self._missing -= of_payload
            count -= of_payload
            if self._missing:
                return
            if self._frame.flags or self._frame.kind is not Kind.DATA:
                self._complete()
        self._got += count
        if self._got == frame.HEADER:
            self._got = 0
            self._frame = frame.decode(self._header)
            self._missing = self._frame.wire
            self._handlers[self._frame.kind](self._frame)

    def _data(self, announced: Frame) -> None:
        self._incoming.expect(announced.offset)
        if announced.flags and len(self._scratch) < frame.MAX_PAYLOAD:
            self._scratch = memoryview(bytearray(frame.MAX_PAYLOAD))

    def _ack(self, announced: Frame) -> None:
        if announced.flags & frame.OVER:
            if not announced.flags & frame.END or not self._incoming.finished:
                raise errors.ProtocolViolation("the other end is over before its bytes have come")
            self.over = True
        if announced.flags & frame.END:
            self._outgoing.finish(announced.offset)
        else:
            self._outgoing.acknowledge(announced.offset)

    def _fin(self, announced: Frame) -> None:
        if self.ended:
            raise errors.ProtocolViolation("a second end on one connection")
        self._incoming.end(announced.offset)
        self.ended = True

    def _abort(self, announced: Frame) -> None:
        if len(self._scratch) < announced.wire:
            self._scratch = memoryview(bytearray(announced.wire))
        if not announced.wire:
            self._complete()

    def _complete(self) -> None:
        """A payload that is not plain data has come whole."""
        payload = self._scratch[: self._frame.wire]
        if self._frame.kind is Kind.ABORT:
            raise errors.StreamFailed(f"the other end gave up: {bytes(payload).decode('utf-8', 'replace')}")
        if self._decompressor is None:
            self._decompressor = Decompressor()
        self._unpacked = memoryview(self._decompressor.decompress(payload, self._frame.raw))
        self.unpack()

    def unpack(self) -> bool:
        """Go on with what has been decompressed and did not fit; whether there was room for some."""
        moved = False
        while self._unpacked and (room := self._incoming.room(len(self._unpacked))):
            room[:] = self._unpacked[: len(room)]
            self._incoming.filled(len(room))
            self._unpacked = self._unpacked[len(room) :]
            moved = True
        return moved
