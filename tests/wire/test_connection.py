from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from culvert.ground import errors
from culvert.wire import events, keepalive
from culvert.wire.connection import Connection
from culvert.wire.packet import Header, PacketStatus, PacketType
from culvert.wire.stream import Role, StreamKey

PROG, VERS, PROC = 0x7E57, 1, 20


def drain(connection: Connection, data: bytes = b"") -> list[events.Event]:
    connection.receive(data)
    found = []
    while (event := connection.next_event()) is not None:
        found.append(event)
    return found


class Pair:
    """A client's and a server's end, joined in memory."""

    def __init__(self) -> None:
        self.client = Connection(Role.CLIENT)
        self.server = Connection(Role.SERVER)

    def to_server(self, data: bytes) -> list[events.Event]:
        return drain(self.server, data)

    def to_client(self, data: bytes) -> list[events.Event]:
        return drain(self.client, data)

    def stream(self) -> StreamKey:
        _, data = self.client.call(PROG, VERS, PROC, b"args", stream=True)
        [call] = self.to_server(data)
        assert isinstance(call, events.CallReceived)
        [reply] = self.to_client(self.server.reply(call, b"", stream=True))
        assert isinstance(reply, events.ReplyReceived)
        assert reply.stream == call.key
        assert reply.stream is not None
        return reply.stream


def packet(
    kind: PacketType | int,
    status: PacketStatus | int = PacketStatus.OK,
    payload: bytes = b"",
    *,
    serial: int = 0,
    program: int = PROG,
) -> bytes:
    return Header(program, VERS, PROC, kind, serial, status).pack(len(payload)) + payload


def test_call_and_reply() -> None:
    pair = Pair()
    serial, data = pair.client.call(PROG, VERS, PROC, b"args")
    [call] = pair.to_server(data)
    assert call == events.CallReceived(PROG, VERS, PROC, serial, PacketStatus.OK, b"args")
    assert isinstance(call, events.CallReceived)
    assert pair.client.pending == 1
    assert pair.to_client(pair.server.reply(call, b"ret!")) == [events.ReplyReceived(serial, True, b"ret!")]
    assert pair.client.pending == 0


def test_serials_count_from_zero_and_replies_come_in_any_order() -> None:
    pair = Pair()
    sent = [pair.client.call(PROG, VERS, PROC, b"") for _ in range(5)]
    assert [serial for serial, _ in sent] == [0, 1, 2, 3, 4]
    calls = pair.to_server(b"".join(data for _, data in sent))
    replies = b"".join(
        pair.server.reply(call, b"", ok=False) for call in reversed(calls) if isinstance(call, events.CallReceived)
    )
    assert pair.to_client(replies) == [events.ReplyReceived(serial, False, b"") for serial in (4, 3, 2, 1, 0)]


def test_message_goes_to_the_client_and_is_dropped_by_a_server() -> None:
    pair = Pair()
    data = pair.server.message(PROG, VERS, 318, b"body")
    assert pair.to_client(data) == [events.MessageReceived(PROG, VERS, 318, b"body")]
    assert pair.to_server(data) == []


def test_keepalive_both_ways() -> None:
    pair = Pair()
    assert pair.to_server(pair.client.ping()) == [events.PingReceived()]
    assert pair.to_client(pair.server.pong()) == [events.PongReceived()]
    assert pair.server.ping() == bytes.fromhex("0000001c 6b656570 00000001 00000001 00000002 00000000 00000000")
    other = Header(keepalive.PROGRAM, 1, 9, PacketType.MESSAGE, 0, PacketStatus.OK).pack(0)
    later = Header(keepalive.PROGRAM, 2, 1, PacketType.MESSAGE, 0, PacketStatus.OK).pack(0)
    assert pair.to_client(other + later) == []


def test_stream_both_ways_to_a_confirmed_finish() -> None:
    pair = Pair()
    key = pair.stream()
    assert pair.to_server(pair.client.stream_data(key, 3) + b"abc") == [events.StreamData(key, b"abc")]
    assert pair.to_client(pair.server.stream_data(key, 2) + b"de") == [events.StreamData(key, b"de")]
    assert pair.to_client(pair.server.stream_end(key)) == [events.StreamEnded(key)]
    assert pair.to_server(pair.client.stream_finish(key)) == [events.StreamFinished(key)]
    assert pair.to_client(pair.server.stream_confirm(key)) == [events.StreamConfirmed(key)]
    assert not pair.client.streams
    assert not pair.server.streams


def test_stream_error_crosses_finish() -> None:
    pair = Pair()
    key = pair.stream()
    finish = pair.client.stream_finish(key)
    error = pair.server.stream_error(key, b"why?")
    assert pair.to_client(error) == [events.StreamError(key, b"why?")]
    assert pair.to_server(finish) == []  # late for a stream that is gone
    assert not pair.client.streams


def test_stream_abort() -> None:
    pair = Pair()
    key = pair.stream()
    assert pair.to_server(pair.client.stream_abort(key)) == [events.StreamAborted(key)]
    assert pair.to_client(pair.server.stream_confirm(key)) == [events.StreamConfirmed(key)]


def test_client_empty_data_has_no_effect() -> None:
    pair = Pair()
    key = pair.stream()
    assert pair.to_server(packet(PacketType.STREAM, PacketStatus.CONTINUE, serial=key.serial)) == []


def test_data_before_the_reply_is_dropped_by_the_server() -> None:
    pair = Pair()
    serial, data = pair.client.call(PROG, VERS, PROC, b"", stream=True)
    early = packet(PacketType.STREAM, PacketStatus.CONTINUE, b"x", serial=serial)
    assert len(pair.to_server(data + early)) == 1


def test_data_right_behind_the_reply_arrives() -> None:
    pair = Pair()
    _, data = pair.client.call(PROG, VERS, PROC, b"", stream=True)
    [call] = pair.to_server(data)
    assert isinstance(call, events.CallReceived)
    answer = pair.server.reply(call, b"", stream=True) + pair.server.stream_data(call.key, 1) + b"x"
    assert pair.to_client(answer)[1] == events.StreamData(call.key, b"x")


def test_a_refused_call_opens_no_stream() -> None:
    pair = Pair()
    _, data = pair.client.call(PROG, VERS, PROC, b"", stream=True)
    [call] = pair.to_server(data)
    assert isinstance(call, events.CallReceived)
    assert pair.to_client(pair.server.reply(call, b"no", ok=False)) == [
        events.ReplyReceived(call.serial, False, b"no", None)
    ]
    assert not pair.client.streams


def test_misuse_of_a_stream_is_refused_and_sends_nothing() -> None:
    pair = Pair()
    key = pair.stream()
    pair.client.stream_finish(key)
    with pytest.raises(errors.InvalidStream, match="send data"):
        pair.client.stream_data(key, 1)
    with pytest.raises(errors.InvalidStream, match="closed"):
        pair.client.stream_data(StreamKey(PROG, VERS, PROC, 99), 1)
    with pytest.raises(errors.InvalidStream):
        pair.server.stream_confirm(key)  # the finish has not arrived


def test_a_repeated_serial_cannot_open_a_second_stream() -> None:
    pair = Pair()
    key = pair.stream()
    [call] = pair.to_server(packet(PacketType.CALL, serial=key.serial))
    assert isinstance(call, events.CallReceived)
    with pytest.raises(errors.InvalidStream, match="already"):
        pair.server.reply(call, b"", stream=True)


def test_serials_wrap_and_pass_over_calls_still_waiting() -> None:
    client = Connection(Role.CLIENT)
    client.call(PROG, VERS, PROC, b"")
    client._serial = 2**32 - 1
    assert client.call(PROG, VERS, PROC, b"")[0] == 2**32 - 1
    assert client.call(PROG, VERS, PROC, b"")[0] == 1


@pytest.mark.parametrize(
    ("kind", "status", "payload", "dropped"),
    [
        (PacketType.CALL, PacketStatus.OK, b"", False),
        (PacketType.CALL_WITH_FDS, PacketStatus.OK, b"\0\0\0\0", False),
        (PacketType.REPLY, PacketStatus.OK, b"", False),  # nobody waits for it
        (PacketType.REPLY_WITH_FDS, PacketStatus.OK, b"\0\0\0\0", False),
        (PacketType.STREAM, PacketStatus.CONTINUE, b"x", True),  # a stream that is not, any more
        (PacketType.STREAM, PacketStatus.OK, b"", True),
        (PacketType.STREAM, 3, b"", True),
        (PacketType.STREAM_HOLE, PacketStatus.CONTINUE, bytes(12), True),
        (7, PacketStatus.OK, b"", False),
    ],
)
def test_what_a_client_drops_and_what_ends_its_connection(
    kind: PacketType | int, status: PacketStatus | int, payload: bytes, dropped: bool
) -> None:
    client = Connection(Role.CLIENT)
    client.receive(packet(kind, status, payload))
    if dropped:
        assert client.next_event() is None
        return
    with pytest.raises(errors.ProtocolViolation) as first:
        client.next_event()
    with pytest.raises(errors.ProtocolViolation, match=str(first.value)):
        client.next_event()


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (packet(PacketType.STREAM, PacketStatus.OK), "receive ok"),
        (packet(PacketType.STREAM_HOLE, PacketStatus.CONTINUE, bytes(12)), "hole"),
        (packet(PacketType.STREAM, 3), "packet status 3"),
    ],
)
def test_client_stream_violations(data: bytes, text: str) -> None:
    pair = Pair()
    assert pair.stream().serial == 0
    with pytest.raises(errors.ProtocolViolation, match=text):
        pair.to_client(data)


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (packet(PacketType.STREAM, PacketStatus.OK) * 2, "receive ok"),
        (
            packet(PacketType.STREAM, PacketStatus.OK) + packet(PacketType.STREAM, PacketStatus.CONTINUE, b"x"),
            "receive data",
        ),
        (packet(PacketType.STREAM_HOLE, PacketStatus.CONTINUE, bytes(12)), "hole"),
        (packet(PacketType.CALL_WITH_FDS, PacketStatus.OK, (33).to_bytes(4, "big")), "descriptors"),
        (packet(PacketType.CALL_WITH_FDS, PacketStatus.OK, b"\0"), "descriptors"),
    ],
)
def test_server_violations(data: bytes, text: str) -> None:
    pair = Pair()
    pair.stream()
    with pytest.raises(errors.ProtocolViolation, match=text):
        pair.to_server(data)


@pytest.mark.parametrize(
    "data",
    [
        packet(PacketType.REPLY),
        packet(PacketType.REPLY_WITH_FDS, PacketStatus.OK, bytes(4)),
        packet(PacketType.REPLY, 9),
        packet(PacketType.STREAM, 9, b"x", serial=77),
        packet(PacketType.MESSAGE, 9),
        packet(7),
        packet(-1, 9, b"x"),
        packet(PacketType.STREAM, PacketStatus.CONTINUE, b"x", serial=77),
        packet(PacketType.STREAM_HOLE, PacketStatus.CONTINUE, bytes(12), serial=77),
        packet(PacketType.MESSAGE),
    ],
)
def test_what_a_server_drops(data: bytes) -> None:
    pair = Pair()
    assert pair.to_server(data) == []


def test_a_stream_packet_with_a_status_that_the_protocol_does_not_have_is_an_abort() -> None:
    pair = Pair()
    key = pair.stream()
    assert pair.to_server(packet(PacketType.STREAM, 3, serial=key.serial)) == [events.StreamAborted(key)]


def test_call_with_another_status_or_descriptors_is_for_the_dispatcher() -> None:
    pair = Pair()
    [call] = pair.to_server(packet(PacketType.CALL, PacketStatus.ERROR, b"x"))
    assert isinstance(call, events.CallReceived)
    assert call.status is PacketStatus.ERROR
    # Two descriptors: their two zero bytes follow the packet and are not taken for the next one.
    with_descriptors = packet(PacketType.CALL_WITH_FDS, PacketStatus.OK, (2).to_bytes(4, "big") + b"args") + bytes(2)
    found = pair.to_server(with_descriptors + packet(PacketType.CALL, serial=7))
    assert [(call.payload, call.descriptors) for call in found if isinstance(call, events.CallReceived)] == [
        (b"args", 2),
        (b"", 0),
    ]


@pytest.mark.parametrize(
    "data",
    [
        Header(PROG, VERS, PROC + 1, PacketType.REPLY, 0, PacketStatus.OK).pack(0),
        Header(PROG + 1, VERS, PROC, PacketType.REPLY, 0, PacketStatus.OK).pack(0),
        Header(PROG, VERS, PROC, PacketType.REPLY, 0, PacketStatus.CONTINUE).pack(0),
        Header(PROG, VERS, PROC, PacketType.REPLY, 0, 3).pack(0),
    ],
)
def test_reply_that_does_not_fit_its_call(data: bytes) -> None:
    client = Connection(Role.CLIENT)
    client.call(PROG, VERS, PROC, b"")
    with pytest.raises(errors.ProtocolViolation, match="reply"):
        drain(client, data)


def test_events_before_a_violation_are_reported() -> None:
    pair = Pair()
    pair.server.receive(packet(PacketType.CALL) + b"\0\0\0\0")
    assert isinstance(pair.server.next_event(), events.CallReceived)
    with pytest.raises(errors.ProtocolViolation):
        pair.server.next_event()


def test_what_is_not_asked_for_stays() -> None:
    server = Connection(Role.SERVER)
    server.receive(packet(PacketType.CALL) * 3)
    assert isinstance(server.next_event(), events.CallReceived)
    assert server.buffered == 2 * 28


SCRIPT = st.lists(
    st.one_of(
        st.binary(max_size=60),
        st.builds(
            lambda kind, status, payload, serial: packet(kind, status, payload, serial=serial),
            st.sampled_from(PacketType),
            st.sampled_from(PacketStatus),
            st.binary(max_size=40),
            st.integers(0, 3),
        ),
    ),
    max_size=12,
)


@given(SCRIPT, st.sampled_from(Role), st.integers(1, 40))
def test_rubbish_means_the_same_however_it_is_cut(script: list[bytes], role: Role, step: int) -> None:
    """Random and half-random bytes: events, then perhaps a violation; never anything else."""
    data = b"".join(script)

    def outcome(size: int) -> tuple[list[events.Event], str]:
        pair = Pair()
        pair.stream()
        pair.client.call(PROG, VERS, PROC, b"")
        end = pair.client if role is Role.CLIENT else pair.server
        found: list[events.Event] = []
        try:
            for start in range(0, len(data), size):
                end.receive(data[start : start + size])
                while (event := end.next_event()) is not None:
                    found.append(event)
        except errors.ProtocolViolation as err:
            return found, str(err)
        return found, ""

    assert outcome(step) == outcome(1) == outcome(len(data) + 1)
