"""One end of an RPC connection: bytes in, events out; acts in, bytes out. No sockets, no clock, no tasks.

Theory of operation. ``receive`` takes whatever the socket gave; ``next_event`` is then called until it answers None.
A caller that cannot take more simply stops asking: what is not asked for stays in the reader. Every method that sends
answers the bytes to put on the wire, in the order in which the methods were called. For stream data that is the
header alone: the payload follows it untouched, by whatever means the caller has.

What the other end may do is decided here: a packet that a libvirt peer would drop is dropped, one that breaks
the protocol raises ``errors.ProtocolViolation``, and then again on every later call of ``next_event``
(libvirt src/rpc/virnetclient.c ``virNetClientCallDispatch*``, src/rpc/virnetserverclient.c, virnetserverprogram.c).
"""

from __future__ import annotations

from collections.abc import Callable

from culvert.ground import errors
from culvert.wire import events, keepalive
from culvert.wire.packet import DESCRIPTORS_MAX, LENGTH, PACKET_MAX, Header, Packet, PacketStatus, PacketType, Reader
from culvert.wire.stream import Act, IllegalStep, Role, StreamKey, StreamState

SERIAL_LIMIT = 2**32
EVENT_SERIAL = 1  # libvirtd puts 1 into events; receivers ignore it


class Connection:
    """The protocol state of one end: calls under way, streams, and the bytes of an incomplete packet.

    ``maximum`` bounds a received packet, in bytes with its length word.
    """

    def __init__(self, role: Role, *, maximum: int = PACKET_MAX) -> None:
        self.role = role
        self.streams: dict[StreamKey, StreamState] = {}
        self._reader = Reader(maximum)
        self._serial = 0
        self._calls: dict[int, tuple[StreamKey, bool]] = {}  # client: calls without a reply; True: opens a stream
        self._violation: errors.ProtocolViolation | None = None
        by_type = self._client_packets() if role is Role.CLIENT else self._server_packets()
        self._handlers: dict[int, Callable[[Packet], events.Event | None]] = by_type

    # Receiving.

    @property
    def maximum(self) -> int:
        """The largest packet believed; may be changed at any time and counts from the next packet on."""
        return self._reader.maximum

    @maximum.setter
    def maximum(self, maximum: int) -> None:
        self._reader.maximum = maximum

    @property
    def buffered(self) -> int:
        """Bytes received and not yet reported."""
        return len(self._reader)

    def rest(self) -> bytes:
        """Bytes received and not yet reported, for somebody else: this connection is at its end."""
        return self._reader.rest()

    @property
    def pending(self) -> int:
        """Calls sent whose replies have not come."""
        return len(self._calls)

    def receive(self, data: bytes) -> None:
        """Take bytes from the socket."""
        self._reader.feed(data)

    def next_event(self) -> events.Event | None:
        """What the received bytes say next, or None when more are needed.

        Raises ``errors.ProtocolViolation``: the connection must be closed.
        """
        if self._violation is not None:
            raise self._violation
        try:
            while (packet := self._reader.next_packet()) is not None:
                event = self._handlers.get(packet.header.type, self._unknown)(packet)
                if event is not None:
                    return event
        except errors.ProtocolViolation as err:
            self._violation = err
            raise
        return None

    def _client_packets(self) -> dict[int, Callable[[Packet], events.Event | None]]:
        return {
            PacketType.CALL: self._misplaced,
            PacketType.CALL_WITH_FDS: self._misplaced,
            PacketType.REPLY: self._reply,
            PacketType.REPLY_WITH_FDS: self._reply_with_descriptors,
            PacketType.MESSAGE: self._message,
            PacketType.STREAM: self._stream,
            PacketType.STREAM_HOLE: self._hole,
        }

    def _server_packets(self) -> dict[int, Callable[[Packet], events.Event | None]]:
        return {
            PacketType.CALL: self._call,
            PacketType.CALL_WITH_FDS: self._call_with_descriptors,
            PacketType.REPLY: self._dropped,
            PacketType.REPLY_WITH_FDS: self._dropped,
            PacketType.MESSAGE: self._message,
            PacketType.STREAM: self._stream,
            PacketType.STREAM_HOLE: self._hole,
        }

    def _dropped(self, packet: Packet) -> None:
        return None

    def _misplaced(self, packet: Packet) -> None:
        raise errors.ProtocolViolation(f"a {PacketType(packet.header.type).name} packet came from a server")

    def _unknown(self, packet: Packet) -> None:
        """A type that the protocol does not have: libvirt's server drops it, its client hangs up."""
        if self.role is Role.CLIENT:
            raise errors.ProtocolViolation(f"packet type {packet.header.type} is not one of the protocol's")

    def _call(self, packet: Packet) -> events.Event:
        head = packet.header
        return events.CallReceived(
            head.program, head.version, head.procedure, head.serial, head.status, packet.payload
        )

    def _call_with_descriptors(self, packet: Packet) -> events.Event:
        # The payload begins with the number of descriptors; behind the packet comes one zero byte for each of
        # them (virnetmessage.c, virNetMessageDecodeNumFDs; virsocket.c, virSocketSendFD).
        head = packet.header
        count = LENGTH.unpack_from(packet.payload)[0] if len(packet.payload) >= LENGTH.size else DESCRIPTORS_MAX + 1
        if count > DESCRIPTORS_MAX:
            raise errors.ProtocolViolation("a call passes more file descriptors than the protocol allows")
        self._reader.skip(count)
        payload = packet.payload[LENGTH.size :]
        return events.CallReceived(
            head.program, head.version, head.procedure, head.serial, head.status, payload, count
        )

    def _reply(self, packet: Packet) -> events.Event:
        head = packet.header
        call = self._calls.pop(head.serial, None)
        if call is None:
            raise errors.ProtocolViolation(f"a reply came for serial {head.serial}, which no call waits for")
        key, opens = call
        if (head.program, head.version, head.procedure) != (key.program, key.version, key.procedure):
            raise errors.ProtocolViolation(
                f"the reply for serial {head.serial} is of program {head.program:#x} procedure {head.procedure}, "
                f"the call was of program {key.program:#x} procedure {key.procedure}"
            )
        if head.status not in (PacketStatus.OK, PacketStatus.ERROR):
            status = "CONTINUE" if head.status == PacketStatus.CONTINUE else head.status
            raise errors.ProtocolViolation(f"the reply for serial {head.serial} has status {status}")
        ok = head.status is PacketStatus.OK
        stream = key if ok and opens else None
        if stream is not None:
            self.streams[stream] = StreamState(self.role)
        return events.ReplyReceived(head.serial, ok, packet.payload, stream)

    def _reply_with_descriptors(self, packet: Packet) -> events.Event:
        raise errors.ProtocolViolation("a reply passes file descriptors, which no call of ours asks for")

    def _message(self, packet: Packet) -> events.Event | None:
        head = packet.header
        if head.program != keepalive.PROGRAM:
            if self.role is Role.SERVER:
                return None
            return events.MessageReceived(head.program, head.version, head.procedure, packet.payload)
        if head.version != keepalive.VERSION:
            return None
        if head.procedure == keepalive.PING:
            return events.PingReceived()
        return events.PongReceived() if head.procedure == keepalive.PONG else None

    def _hole(self, packet: Packet) -> None:
        if self._key(packet.header) in self.streams:
            raise errors.ProtocolViolation("a hole came on a stream that was not opened for sparse data")

    def _stream(self, packet: Packet) -> events.Event | None:
        key = self._key(packet.header)
        state = self.streams.get(key)
        if state is None:
            return None  # both ends may be late to learn that a stream is gone
        act = self._act(packet.header.status)
        if act is Act.RECEIVE_DATA and not packet.payload:
            act = Act.RECEIVE_END
        try:
            state.step(act)
        except IllegalStep as err:
            raise errors.ProtocolViolation(f"stream {key.procedure}/{key.serial}: {err}") from err
        if state.closed:
            del self.streams[key]
        if act is Act.RECEIVE_DATA:
            return events.StreamData(key, packet.payload)
        if self.role is Role.CLIENT and act is Act.RECEIVE_ERROR:
            return events.StreamError(key, packet.payload)
        simple = _SIMPLE_EVENTS.get((self.role, act))
        return simple(key) if simple else None

    def _act(self, status: int) -> Act:
        """What a stream packet of that status does. One that the protocol does not have is an abort to libvirt's
        server (remote_daemon_stream.c), and its client hangs up."""
        act = _RECEIVED.get(status)
        if act is None and self.role is Role.CLIENT:
            raise errors.ProtocolViolation(f"packet status {status} is not one of the protocol's")
        return act or Act.RECEIVE_ERROR

    @staticmethod
    def _key(head: Header) -> StreamKey:
        return StreamKey(head.program, head.version, head.procedure, head.serial)

    # Sending: calls, replies, messages.

    def call(
        self, program: int, version: int, procedure: int, payload: bytes, *, stream: bool = False
    ) -> tuple[int, bytes]:
        """Client: the serial and the bytes of a call; ``stream``: a good reply opens a stream."""
        serial = self._serial
        while serial in self._calls:  # only after 2^32 calls, when one of the first still waits
            serial = (serial + 1) % SERIAL_LIMIT
        header = Header(program, version, procedure, PacketType.CALL, serial, PacketStatus.OK).pack(len(payload))
        self._serial = (serial + 1) % SERIAL_LIMIT
        self._calls[serial] = (StreamKey(program, version, procedure, serial), stream)
        return serial, header + payload

    def reply(self, call: events.CallReceived, payload: bytes, *, ok: bool = True, stream: bool = False) -> bytes:
        """Server: the bytes of the answer to ``call``; ``stream``: and the stream it opens exists from now on.

        Raises ``errors.InvalidStream`` when a stream of the same call is still open (the client repeats serials).
        """
        head = Header(
            call.program,
            call.version,
            call.procedure,
            PacketType.REPLY,
            call.serial,
            PacketStatus.OK if ok else PacketStatus.ERROR,
        )
        data = head.pack(len(payload)) + payload
        if stream:
            if call.key in self.streams:
                raise errors.InvalidStream(f"serial {call.serial} already names an open stream")
            self.streams[call.key] = StreamState(self.role)
        return data

    def reply_passing(self, call: events.CallReceived, payload: bytes) -> bytes:
        """Server: the bytes of a good answer to ``call``; a descriptor follows at once, in a byte of its own."""
        head = Header(
            call.program, call.version, call.procedure, PacketType.REPLY_WITH_FDS, call.serial, PacketStatus.OK
        )
        counted = LENGTH.pack(1) + payload
        return head.pack(len(counted)) + counted

    def message(self, program: int, version: int, procedure: int, payload: bytes) -> bytes:
        """Server: the bytes of an event."""
        head = Header(program, version, procedure, PacketType.MESSAGE, EVENT_SERIAL, PacketStatus.OK)
        return head.pack(len(payload)) + payload

    def ping(self) -> bytes:
        """The bytes that ask for a sign of life."""
        return _PING

    def pong(self) -> bytes:
        """The bytes that give one."""
        return _PONG

    # Sending: streams.

    def stream_data(self, key: StreamKey, size: int) -> bytes:
        """The header of ``size`` > 0 bytes of stream data, which must follow it on the wire.

        Like all stream methods: raises ``errors.InvalidStream`` when the stream's state forbids it, and then nothing
        has changed.
        """
        return self._send(key, Act.SEND_DATA, PacketStatus.CONTINUE, size)

    def stream_end(self, key: StreamKey) -> bytes:
        """Server: there is no more data from here."""
        return self._send(key, Act.SEND_END, PacketStatus.CONTINUE)

    def stream_finish(self, key: StreamKey) -> bytes:
        """Client: all is sent; ``StreamConfirmed`` or ``StreamError`` will follow."""
        return self._send(key, Act.SEND_OK, PacketStatus.OK)

    def stream_abort(self, key: StreamKey) -> bytes:
        """Client: give up; ``StreamConfirmed`` will follow."""
        return self._send(key, Act.SEND_ERROR, PacketStatus.ERROR)

    def stream_confirm(self, key: StreamKey) -> bytes:
        """Server: confirm the client's finish or abort; the stream is gone."""
        return self._send(key, Act.SEND_OK, PacketStatus.OK)

    def stream_error(self, key: StreamKey, payload: bytes) -> bytes:
        """Server: the stream has failed and is gone; ``payload`` is the error's encoding."""
        return self._send(key, Act.SEND_ERROR, PacketStatus.ERROR, len(payload)) + payload

    def _send(self, key: StreamKey, act: Act, status: PacketStatus, size: int = 0) -> bytes:
        header = Header(key.program, key.version, key.procedure, PacketType.STREAM, key.serial, status).pack(size)
        state = self.streams.get(key)
        if state is None:
            raise errors.InvalidStream(f"stream {key.procedure}/{key.serial} is closed: cannot {act.value}")
        try:
            state.step(act)
        except IllegalStep as err:
            raise errors.InvalidStream(f"stream {key.procedure}/{key.serial}: {err}") from err
        if state.closed:
            del self.streams[key]
        return header


_RECEIVED: dict[int, Act] = {
    PacketStatus.OK: Act.RECEIVE_OK,
    PacketStatus.ERROR: Act.RECEIVE_ERROR,
    PacketStatus.CONTINUE: Act.RECEIVE_DATA,
}

_SIMPLE_EVENTS: dict[tuple[Role, Act], Callable[[StreamKey], events.Event]] = {
    (Role.CLIENT, Act.RECEIVE_END): events.StreamEnded,
    (Role.CLIENT, Act.RECEIVE_OK): events.StreamConfirmed,
    (Role.SERVER, Act.RECEIVE_OK): events.StreamFinished,
    (Role.SERVER, Act.RECEIVE_ERROR): events.StreamAborted,
}

_PING, _PONG = (
    Header(keepalive.PROGRAM, keepalive.VERSION, procedure, PacketType.MESSAGE, 0, PacketStatus.OK).pack(0)
    for procedure in (keepalive.PING, keepalive.PONG)
)
