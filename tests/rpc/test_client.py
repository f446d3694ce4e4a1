from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from culvert.ground import errors
from culvert.ground.units import MiB
from culvert.protocol import remote_connect
from culvert.rpc.client import connect
from culvert.xdr.struct import Void, encode
from tests.rpc import support
from tests.rpc.support import PROGRAM, Bytes, Service, Size, Text, connected, serving, until


@pytest.mark.parametrize("transport", ["unix", "tcp"])
async def test_calls_over_real_sockets(transport: str, tmp_path: Path) -> None:
    path = tmp_path / "sock" if transport == "unix" else None
    async with serving(path=path) as (_, uri), connect(uri, programs=[PROGRAM]) as client:
        assert await client.call(support.ECHO, Text("ö" * 70000)) == Text("ö" * 70000)
        assert len((await client.call(support.BLOB, Size(9 * MiB))).data) == 9 * MiB
        with pytest.raises(errors.RemoteError, match="no such guest") as refused:
            await client.call(support.REFUSED, Text("no such guest"))
        assert refused.value.remote_code == errors.ErrorCode.NO_DOMAIN
    assert client.closed.is_set()
    assert client.close_reason == "closed here"


async def test_many_calls_at_once_are_answered_each_its_own() -> None:
    async with connected() as (client, _), asyncio.TaskGroup() as tasks:
        sent = [
            tasks.create_task(client.call(support.ECHO, Text(str(number))), name=f"call {number}")
            for number in range(500)
        ]
    assert [task.result().text for task in sent] == [str(number) for number in range(500)]


async def test_replies_overtake() -> None:
    service = Service()
    async with connected(service) as (client, _), asyncio.TaskGroup() as tasks:
        slow = tasks.create_task(client.call(support.GATE, Void()), name="slow")
        assert await client.call(support.ECHO, Text("quick")) == Text("quick")
        assert not slow.done()
        service.gate.set()


async def test_a_message_that_only_a_later_daemon_has_is_passed_over() -> None:
    """Its number is not known here, or it has more in it: neither ends the connection."""
    service = Service()
    later = 9999
    heard: list[Bytes] = []
    async with connected(service) as (client, _):
        client.subscribe(support.TICK, heard.append)
        assert await client.call(support.ECHO, Text("before")) == Text("before")
        connection = service.sessions[0].connection
        for number, body in ((later, b"\0" * 8), (support.TICK.number, encode(Bytes(b"x")) + b"\0" * 8)):
            connection.write(connection.wire.message(PROGRAM.number, PROGRAM.version, number, body))
        connection.write(connection.wire.message(0x20009999, 1, 1, b""))
        service.sessions[0].post(support.TICK, Bytes(b"known"))
        assert await client.call(support.ECHO, Text("after")) == Text("after")
        assert Bytes(b"known") in heard


async def test_deadline_and_late_reply() -> None:
    service = Service()
    async with connected(service) as (client, _):
        with pytest.raises(errors.OperationTimeout, match=r"GATE: no answer from .* in 0.05 s"):
            await client.call(support.GATE, Void(), timeout=0.05)
        service.gate.set()
        assert await client.call(support.ECHO, Text("on")) == Text("on")
        assert client.connection.wire.pending == 0


async def test_cancelled_call_and_late_reply() -> None:
    service = Service()
    async with connected(service) as (client, _), asyncio.TaskGroup() as tasks:
        call = tasks.create_task(client.call(support.GATE, Void()), name="cancelled")
        await until(lambda: service.waiting)
        call.cancel()
        await until(call.done)
        service.gate.set()
        assert await client.call(support.ECHO, Text("on")) == Text("on")


async def test_lost_connection_fails_every_pending_call() -> None:
    service = Service()
    async with connected(service) as (client, server):

        async def pending() -> None:
            with pytest.raises(errors.ConnectionLost, match="other end closed"):
                await client.call(support.GATE, Void())

        async with asyncio.TaskGroup() as tasks:
            for number in range(10):
                tasks.create_task(pending(), name=f"pending {number}")
            await until(lambda: service.waiting == 10)
            server.sessions[1].connection.abort("test")
        await pending()
        assert client.closed.is_set()
        service.gate.set()


async def test_body_exceptions_come_out_bare(tmp_path: Path) -> None:
    async with serving(path=tmp_path / "sock") as (_, uri):
        with pytest.raises(KeyError, match="mine"):
            async with connect(uri, programs=[PROGRAM]) as client:
                raise KeyError("mine")
    assert client.closed.is_set()


async def test_events_reach_their_subscribers() -> None:
    async with connected() as (client, _):
        got, other = list[int](), list[int]()

        def broken(body: support.Bytes) -> None:
            raise ValueError("a subscriber's bug")

        client.subscribe(support.TICK, broken)
        stop = client.subscribe(support.TICK, lambda body: got.append(len(body.data)))
        client.subscribe(support.TICK, lambda body: other.append(len(body.data)))
        await client.call(support.POST, Size(3))
        assert got == other == [1000] * 3  # events came before the reply
        stop()
        stop()
        await client.call(support.POST, Size(1))
        assert (len(got), len(other)) == (3, 4)


async def test_wrong_kind_of_row() -> None:
    async with connected() as (client, _):
        with pytest.raises(ValueError, match="use open_stream"):
            await client.call(support.TALK, Void())
        with pytest.raises(ValueError, match="use call"):
            await client.open_stream(support.ECHO, Text(""))
        with pytest.raises(LookupError):
            await client.call(remote_connect.AUTH_LIST, Void())


async def test_call_after_close() -> None:
    async with connected() as (client, _):
        await client.close()
        await client.close()
        with pytest.raises(errors.ConnectionLost, match="closed here"):
            await client.call(support.ECHO, Text(""))


async def test_answer_that_cannot_be_read() -> None:
    async with connected() as (client, server):
        await client.call(support.ECHO, Text(""))

        async def nonsense(session: object, args: Text) -> Void:
            return Void()

        dispatcher = server._dispatcher
        handlers = dispatcher._handlers[PROGRAM.number, PROGRAM.version]
        handlers._functions[support.NEEDS_OPEN.number] = handlers._functions[support.BLOB.number]
        with pytest.raises(errors.RemoteError):
            await client.call(support.NEEDS_OPEN, Void())
        assert await client.call(support.ECHO, Text("on")) == Text("on")


@pytest.mark.parametrize(
    ("uri", "kind"),
    [
        ("qemu+unix:///system?socket=/nonexistent/sock", errors.SystemCallError),
        ("qemu+tcp://127.0.0.1:1/system", errors.SystemCallError),
        ("qemu+tls://127.0.0.1:1/system?pkipath=/nonexistent", errors.InvalidArgument),
    ],
)
async def test_cannot_connect(uri: str, kind: type[errors.RequestError]) -> None:
    with pytest.raises(kind, match="connect"):
        async with connect(uri):
            pass
