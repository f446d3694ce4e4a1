"""What a connection can report of the bytes it was given."""

from __future__ import annotations

from dataclasses import dataclass

from culvert.wire.packet import PacketStatus
from culvert.wire.stream import StreamKey


@dataclass(frozen=True, slots=True)
class CallReceived:
    """The client calls. ``status`` other than OK, or ``descriptors`` (file descriptors passed along, which are not
    kept), are for the dispatcher to refuse: the connection lives on."""

    program: int
    version: int
    procedure: int
    serial: int
    status: PacketStatus | int
    payload: bytes
    descriptors: int = 0

    @property
    def key(self) -> StreamKey:
        """The identity of the stream this call may open."""
        return StreamKey(self.program, self.version, self.procedure, self.serial)


@dataclass(frozen=True, slots=True)
class ReplyReceived:
    """The server answers call ``serial``: a result, or with ``ok`` false an error. ``stream``: the stream that is
    open from now on, when the call asked for one and succeeded."""

    serial: int
    ok: bool
    payload: bytes
    stream: StreamKey | None = None


@dataclass(frozen=True, slots=True)
class MessageReceived:
    """An unasked message (an event)."""

    program: int
    version: int
    procedure: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class PingReceived:
    """The other end asks for a sign of life: answer ``Connection.pong()``."""


@dataclass(frozen=True, slots=True)
class PongReceived:
    """A sign of life."""


@dataclass(frozen=True, slots=True)
class StreamData:
    """Bytes of a stream; never empty."""

    key: StreamKey
    payload: bytes


@dataclass(frozen=True, slots=True)
class StreamEnded:
    """Client: the server has sent all its data."""

    key: StreamKey


@dataclass(frozen=True, slots=True)
class StreamFinished:
    """Server: the client has sent all it wants and waits for a confirmation or an error."""

    key: StreamKey


@dataclass(frozen=True, slots=True)
class StreamAborted:
    """Server: the client gives the stream up and waits for a confirmation."""

    key: StreamKey


@dataclass(frozen=True, slots=True)
class StreamConfirmed:
    """Client: the server has confirmed our finish or abort; the stream is gone."""

    key: StreamKey


@dataclass(frozen=True, slots=True)
class StreamError:
    """Client: the server's end has failed; the stream is gone. ``payload`` is the error's encoding."""

    key: StreamKey
    payload: bytes


StreamEvent = StreamData | StreamEnded | StreamFinished | StreamAborted | StreamConfirmed | StreamError
Event = CallReceived | ReplyReceived | MessageReceived | PingReceived | PongReceived | StreamEvent
