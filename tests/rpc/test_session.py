from __future__ import annotations

import asyncio
import logging

import pytest

from culvert.ground import errors
from culvert.ground.units import KiB, MiB
from culvert.protocol import types
from culvert.rpc.answer import StreamBody
from culvert.rpc.dispatch import Handlers
from culvert.rpc.limits import RpcLimits
from culvert.rpc.session import Session
from culvert.rpc.stream import Stream
from culvert.wire.connection import Connection
from culvert.wire.packet import Header, PacketStatus, PacketType
from culvert.wire.stream import Role, StreamKey
from culvert.xdr.struct import Void, decode, encode
from tests.rpc import support
from tests.rpc.raw import raw
from tests.rpc.support import PROGRAM, Service, Size, Text, connected, until


async def test_what_handlers_see() -> None:
    service = Service()
    async with connected(service) as (client, _):
        await client.call(support.ECHO, Text(""))
        [session] = service.sessions
        assert (session.id, session.transport, session.peer) == (1, "unix", "pair")
        assert not session.opened
        await client.call(support.OPEN, Void())
        assert session.opened
        assert not session.keepalive_wanted
        await client.call(support.KEEPALIVE, Void())
        assert session.keepalive_wanted


async def test_close_after_reply() -> None:
    async with connected() as (client, server):
        await client.call(support.CLOSE, Void())
        await client.closed.wait()
        assert "other end closed" in client.close_reason
        await until(lambda: not server.sessions)


async def test_close_callbacks_run_once_each_whatever_they_do() -> None:
    service, done = Service(), list[str]()
    async with connected(service) as (client, server):
        await client.call(support.ECHO, Text(""))
        [session] = service.sessions

        def broken() -> None:
            done.append("broken")
            raise ValueError("a bug")

        session.on_close(broken)
        session.on_close(lambda: done.append("second"))
        await client.close()
        await until(lambda: not server.sessions)
        session.on_close(lambda: done.append("late"))
    assert done == ["broken", "second", "late"]


async def test_events_after_the_end_are_dropped(caplog: pytest.LogCaptureFixture) -> None:
    service = Service()
    async with connected(service) as (client, server):
        await client.call(support.ECHO, Text(""))
        await client.close()
        await until(lambda: not server.sessions)
        [session] = service.sessions
        for _ in range(10):  # asyncio complains from the fifth write to a socket that is gone
            session.post(support.TICK, support.Bytes(bytes(1000)))
        assert session.connection.backlog == 0
        assert [record.message for record in caplog.records if record.levelno >= logging.WARNING] == []


async def test_client_that_does_not_read_events_is_disconnected() -> None:
    service = Service()
    async with raw(service, limits=RpcLimits(event_backlog=256 * KiB)) as (peer, server):
        peer.send(Connection(Role.CLIENT).call(PROGRAM.number, 1, support.ECHO.number, encode(Text("")))[1])
        await until(lambda: service.sessions)
        session = service.sessions[0]
        for _ in range(2000):
            session.post(support.TICK, support.Bytes(bytes(1000)))
        assert "does not read its events" in session.connection.reason
        assert session.connection.backlog < 300 * KiB
        await until(lambda: not server.sessions)


async def test_call_goes_on_when_its_connection_is_lost() -> None:
    service = Service()
    async with connected(service) as (client, server):
        async with asyncio.TaskGroup() as tasks:

            async def calling() -> None:
                with pytest.raises(errors.ConnectionLost):
                    await client.call(support.GATE, Void())

            tasks.create_task(calling(), name="calling")
            await until(lambda: service.waiting)
            client.connection.abort("test")
        await asyncio.sleep(0.01)
        assert server.sessions  # counted until the call has ended
        service.gate.set()
        await until(lambda: not server.sessions)


async def test_calls_in_flight_are_bounded_and_the_rest_wait() -> None:
    service = Service()
    async with connected(service, RpcLimits(calls_in_flight=4)) as (client, server):
        async with asyncio.TaskGroup() as tasks:
            calls = [tasks.create_task(client.call(support.GATE, Void()), name=str(n)) for n in range(20)]
            await until(lambda: service.waiting >= 4)
            await asyncio.sleep(0.02)
            assert service.waiting == 4
            assert server.sessions[1].connection.held
            service.gate.set()
        assert all(call.done() for call in calls)
        assert service.waiting == 20


async def test_client_that_does_not_read_answers_stops_being_read() -> None:
    """Answers wait for the socket in their calls' slots, so a client that only asks cannot make us grow."""
    service = Service()
    client = Connection(Role.CLIENT)
    async with raw(service, limits=RpcLimits(calls_in_flight=4)) as (peer, server):
        calls = b"".join(
            client.call(PROGRAM.number, 1, support.BLOB.number, encode(Size(1 * MiB)))[1] for _ in range(50)
        )
        peer.send(calls)
        await until(lambda: 1 in server.sessions and server.sessions[1].connection.held)
        await asyncio.sleep(0.05)
        assert server.sessions[1].calls < 10
        assert server.sessions[1].connection.backlog < 3 * MiB
        for _ in range(50):
            header, payload = await peer.packet()
            assert (header.status, len(payload)) == (PacketStatus.OK, 1 * MiB + 4)


async def test_an_answer_beside_the_one_that_closes_the_connection_does_not_close_it() -> None:
    """CONNECT_CLOSE is being answered; another answer is ready first, and its own must come all the same."""
    service = Service()
    service.close_gate.clear()
    async with raw(service) as (peer, _):
        client = Connection(Role.CLIENT)
        peer.send(client.call(PROGRAM.number, 1, support.CLOSE.number, b"")[1])
        await until(lambda: service.closing)
        for word in ("one", "two"):
            peer.send(client.call(PROGRAM.number, 1, support.ECHO.number, encode(Text(word)))[1])
            header, payload = await peer.packet()
            assert (header.procedure, decode(Text, payload)) == (support.ECHO.number, Text(word))
        service.close_gate.set()
        header, payload = await peer.packet()
        assert (header.procedure, header.status, payload) == (support.CLOSE.number, PacketStatus.OK, b"")
        await peer.closed()


async def test_streams_opened_at_once_are_counted() -> None:
    """As many as calls may be in flight ask while there is room for one."""
    service = Service()
    async with raw(service, limits=RpcLimits(streams=3)) as (peer, server):
        client = Connection(Role.CLIENT)

        def talks(count: int) -> bytes:
            return b"".join(client.call(PROGRAM.number, 1, support.TALK.number, b"")[1] for _ in range(count))

        async def opened(count: int) -> int:
            return [(await peer.packet())[0].status for _ in range(count)].count(PacketStatus.OK)

        await peer.send_all(talks(2))
        assert await opened(2) == 2
        # Nothing can be written for a moment, so that all are answered while none has been sent its answer.
        turns = server.sessions[1].connection.turns
        turns.shut()
        await peer.send_all(talks(20))
        await until(lambda: server.sessions[1].calls == 22)
        turns.reopen()
        assert await opened(20) == 1
        assert len(server.sessions[1].connection.wire.streams) == 3
        # What is over makes room again, and what was refused has taken none.
        stream = next(iter(server.sessions[1].connection.wire.streams))
        peer.send(
            Header(*(stream.program, stream.version, stream.procedure), PacketType.STREAM, stream.serial, 1).pack(0)
        )
        assert (await peer.packet())[0].type is PacketType.STREAM
        await peer.send_all(talks(2))
        assert await opened(2) == 1


async def test_a_client_that_never_finishes_a_stream_is_told() -> None:
    service = Service()
    async with raw(service, limits=RpcLimits(stream_end=0.05)) as (peer, server):
        client = Connection(Role.CLIENT)
        peer.send(client.call(PROGRAM.number, 1, support.DOWNLOAD.number, encode(Size(5)))[1])
        packets = [await peer.packet() for _ in range(4)]
        statuses = [(header.type, header.status) for header, _ in packets]
        assert statuses == [
            (PacketType.REPLY, PacketStatus.OK),
            (PacketType.STREAM, PacketStatus.CONTINUE),
            (PacketType.STREAM, PacketStatus.CONTINUE),
            (PacketType.STREAM, PacketStatus.ERROR),
        ]
        assert "has not finished the stream in 0.05 s" in (decode(types.Error, packets[-1][1]).message or "")
        assert server.sessions[1].connection.wire.streams == {}


async def test_late_packets_of_a_failed_stream_are_dropped() -> None:
    client = Connection(Role.CLIENT)
    async with raw() as (peer, _):
        serial, data = client.call(PROGRAM.number, 1, support.UPLOAD.number, encode(Text("fail early")), stream=True)
        peer.send(data)
        header, payload = await peer.packet()
        client.receive(header.pack(len(payload)) + payload)
        client.next_event()
        key = StreamKey(PROGRAM.number, 1, support.UPLOAD.number, serial)
        peer.send(client.stream_data(key, 1) + b"x")
        header, _ = await peer.packet()
        assert (header.type, header.status) == (PacketType.STREAM, PacketStatus.ERROR)
        peer.send(client.stream_data(key, 1) + b"x" + client.stream_finish(key))
        peer.send(client.call(PROGRAM.number, 1, support.ECHO.number, encode(Text("on")))[1])
        assert decode(Text, (await peer.packet())[1]) == Text("on")


async def test_repeated_serial_of_an_open_stream_is_refused() -> None:
    async with raw() as (peer, _):
        call = Connection(Role.CLIENT).call(PROGRAM.number, 1, support.TALK.number, b"")[1]
        peer.send(call * 2)
        statuses = [(await peer.packet())[0].status for _ in range(2)]
        assert statuses == [PacketStatus.OK, PacketStatus.ERROR]


async def test_life_events_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="culvert"):
        async with raw() as (peer, server):
            peer.send(b"\xff" * 28)
            await until(lambda: not server.sessions)
    texts = [record.getMessage() for record in caplog.records]
    assert texts[0] == 'session open id=1 transport=unix peer="raw"'
    assert 'session close id=1 peer="raw" reason="protocol violation: packet length 4294967295' in texts[1]


@pytest.mark.parametrize("gone", [True, False], ids=["connection", "limit"])
async def test_what_a_stream_would_have_held_is_let_go_of(gone: bool) -> None:
    """The handler of a stream that never opens: its body meets a stream that has failed, and cleans up."""
    service = Service()
    ended: list[str] = []

    async def opened(session: Session, args: Void) -> tuple[Void, StreamBody]:
        await service.gate.wait()

        async def body(stream: Stream) -> None:
            try:
                await stream.recv()
            except errors.RequestError as err:
                ended.append(str(err))
                raise

        return Void(), body

    handlers = Handlers(PROGRAM)
    handlers.add_stream(support.TALK, opened)
    service.handlers = handlers
    async with raw(service, limits=RpcLimits(streams=1 if gone else 0)) as (peer, server):
        peer.send(Connection(Role.CLIENT).call(PROGRAM.number, 1, support.TALK.number, encode(Void()))[1])
        await until(lambda: any(session._in_flight for session in server.sessions.values()))
        if gone:
            peer.sock.close()
            await until(lambda: all(session.connection.closed.is_set() for session in server.sessions.values()))
        service.gate.set()
        await until(lambda: ended)
    assert ("lost" if gone else "streams open") in ended[0]
