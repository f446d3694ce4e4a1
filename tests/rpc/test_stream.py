from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from culvert.ground import errors
from culvert.ground.units import KiB, MiB
from culvert.rpc.client import Client
from culvert.rpc.limits import RpcLimits
from culvert.rpc.stream import CHUNK, Stream
from culvert.xdr.struct import Void
from tests.rpc import support
from tests.rpc.support import Service, Size, Text, connected, pattern, until

SMALL = RpcLimits(stream_queue=256 * KiB, connection_queue=1 * MiB, stream_grace=0.05)


@asynccontextmanager
async def upload(kind: str = "", limits: RpcLimits | None = None) -> AsyncIterator[tuple[Client, Stream, Service]]:
    service = Service()
    async with connected(service, limits) as (client, _):
        _, stream = await client.open_stream(support.UPLOAD, Text(kind))
        yield client, stream, service


async def lives(client: Client) -> None:
    """The connection is good for calls still."""
    assert await client.call(support.ECHO, Text("on")) == Text("on")


async def send_for_ever(stream: Stream) -> None:
    while True:
        await stream.send(bytes(64 * KiB))


async def receive_all(stream: Stream) -> bytes:
    found = bytearray()
    while data := await stream.recv():
        found += data
    return bytes(found)


@pytest.mark.parametrize("size", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 5 * MiB])
async def test_upload(size: int) -> None:
    async with upload() as (client, stream, service):
        data = pattern(size)
        await stream.send(data)
        await stream.finish()
        assert service.outcome == ["finished"]  # finish returned after the body did
        assert bytes(service.received) == data
        assert stream.bytes_sent == size
        await stream.finish()
        await lives(client)
        assert not client.connection.wire.streams


@pytest.mark.parametrize("size", [0, 1, CHUNK + 1, 5 * MiB])
async def test_download(size: int) -> None:
    service = Service()
    async with connected(service) as (client, _):
        _, stream = await client.open_stream(support.DOWNLOAD, Size(size))
        assert await receive_all(stream) == pattern(size)
        assert await stream.recv() == b""
        await stream.finish()
        assert stream.bytes_received == size
        await lives(client)


async def test_both_directions() -> None:
    async with connected() as (client, _):
        _, stream = await client.open_stream(support.TALK, Void())
        for text in (b"one", b"two", bytes(100_000)):
            await stream.send(text)
            assert await stream.recv() == text
        await stream.finish()
        assert await stream.recv() == b""


async def test_server_that_ends_first() -> None:
    async with connected() as (client, _):
        _, stream = await client.open_stream(support.TALK, Void())
        await stream.send(b"bye")
        assert await stream.recv() == b""
        await stream.send(b"into the void")
        await stream.finish()
        await lives(client)


async def test_late_error_comes_at_finish() -> None:
    async with upload("fail late") as (client, stream, _):
        await stream.send(b"data")
        with pytest.raises(errors.RemoteError, match="fsync failed") as late:
            await stream.finish()
        assert late.value.remote_code == errors.ErrorCode.OPERATION_FAILED
        for act in (stream.finish(), stream.send(b"x"), stream.recv()):
            with pytest.raises(errors.RemoteError, match="fsync failed"):
                await act
        await lives(client)


async def test_early_error_comes_at_send() -> None:
    async with upload("fail early") as (client, stream, _):
        with pytest.raises(errors.RemoteError, match="disk full"):
            await send_for_ever(stream)
        await lives(client)


async def test_early_error_wakes_a_sender_that_waits() -> None:
    async with upload("fail early", SMALL) as (client, stream, service):
        service.read_gate.clear()
        async with asyncio.TaskGroup() as tasks:

            async def failing() -> None:
                with pytest.raises(errors.RemoteError, match="disk full"):
                    await stream.send(bytes(64 * MiB))

            tasks.create_task(failing(), name="failing")
            await until(lambda: not client.connection.turns.open)
            service.read_gate.set()
        await lives(client)


async def test_a_bug_in_a_body_is_an_internal_error() -> None:
    async with upload("bug") as (client, stream, _):
        with pytest.raises(errors.RemoteError, match="internal error: UPLOAD"):
            await stream.finish()
        await lives(client)


async def test_client_aborts() -> None:
    async with upload() as (client, stream, service):
        await stream.send(b"data")
        await stream.abort()
        assert service.outcome == ["StreamFailed: UPLOAD: stream aborted by the other end"]
        await stream.abort()
        with pytest.raises(errors.StreamFailed, match="aborted"):
            await stream.send(b"more")
        with pytest.raises(errors.StreamFailed, match="aborted"):
            await stream.finish()
        await lives(client)
        assert not client.connection.wire.streams


async def test_server_aborts() -> None:
    async with connected() as (client, _):
        _, stream = await client.open_stream(support.TALK, Void())
        await stream.send(b"abort")
        with pytest.raises(errors.RemoteError, match="stream aborted"):
            await stream.recv()
        await lives(client)


async def test_server_error_wakes_a_receiver() -> None:
    async with connected() as (client, _):
        _, stream = await client.open_stream(support.TALK, Void())
        await stream.send(b"fail")
        with pytest.raises(errors.RemoteError, match="told to fail"):
            await stream.recv()
        await lives(client)


async def test_dropped_is_aborted() -> None:
    async with upload() as (client, stream, service):
        await stream.send(b"data")
        await until(lambda: service.received)
        del stream
        gc.collect()
        # The fixture's own name still holds it; the stream below is held by nobody else.
    service = Service()
    async with connected(service) as (client, _):
        await client.open_stream(support.UPLOAD, Text(""))
        gc.collect()
        await until(lambda: service.outcome)
        assert service.outcome == ["StreamFailed: UPLOAD: stream aborted by the other end"]
        await lives(client)


async def test_left_context_is_aborted() -> None:
    async with upload() as (_, stream, service):
        with pytest.raises(KeyError):
            async with stream:
                raise KeyError("the user's own")
        assert service.outcome == ["StreamFailed: UPLOAD: stream aborted by the other end"]
    async with upload() as (_, stream, service):
        async with stream:
            await stream.finish()
        assert service.outcome == ["finished"]


async def test_body_that_does_not_listen_is_cancelled_after_the_grace() -> None:
    async with upload("hang", SMALL) as (client, stream, service):
        with pytest.raises(errors.OperationTimeout, match="finish of the stream not answered"):
            await stream.finish(timeout=0.05)
        await until(lambda: service.outcome)
        assert service.outcome == ["CancelledError: "]
        await until(lambda: not client.connection.wire.streams)  # confirmed all the same
        await lives(client)


async def test_cancelled_finish_aborts() -> None:
    async with upload("hang", SMALL) as (client, stream, service):
        async with asyncio.TaskGroup() as tasks:
            finish = tasks.create_task(stream.finish(), name="finish")
            await until(lambda: service.waiting)  # it has come there, and is not answered
            finish.cancel()
        assert finish.cancelled()
        await until(lambda: service.outcome)
        assert service.outcome == ["CancelledError: "]
        await until(lambda: not client.connection.wire.streams)
        await lives(client)


async def test_late_reply_of_a_cancelled_open_is_aborted() -> None:
    service = Service()
    async with connected(service) as (client, server):
        session = server.sessions[1]
        async with asyncio.TaskGroup() as tasks:
            opening = tasks.create_task(client.open_stream(support.UPLOAD, Text("")), name="opening")
            await asyncio.sleep(0)
            assert client.connection.wire.pending
            opening.cancel()
        await until(lambda: service.outcome)
        assert service.outcome == ["StreamFailed: UPLOAD: stream aborted by the other end"]
        await until(lambda: not session.connection.wire.streams)
        await lives(client)


async def test_two_receivers_are_refused() -> None:
    async with connected() as (client, _), asyncio.TaskGroup() as tasks:
        _, stream = await client.open_stream(support.TALK, Void())
        first = tasks.create_task(stream.recv(), name="first")
        await asyncio.sleep(0)
        with pytest.raises(errors.InvalidStream, match="another task"):
            await stream.recv()
        await stream.send(b"x")
        assert await first == b"x"
        await stream.finish()


async def test_send_after_finish_is_refused() -> None:
    async with upload() as (_, stream, _):
        await stream.finish()
        with pytest.raises(errors.InvalidStream, match="closed"):
            await stream.send(b"x")


async def test_one_stream_more_than_allowed_is_refused() -> None:
    async with connected(limits=RpcLimits(streams=2)) as (client, server):
        kept = [(await client.open_stream(support.TALK, Void()))[1] for _ in range(2)]
        with pytest.raises(errors.RemoteError, match="2 streams open"):
            await client.open_stream(support.TALK, Void())
        await kept[0].finish()
        await until(lambda: server.sessions[1]._streams == 1)
        _, another = await client.open_stream(support.TALK, Void())
        await another.finish()
        await kept[1].finish()


async def test_server_stopping_ends_streams_with_an_error() -> None:
    service = Service()
    async with connected(service) as (client, server):
        _, stream = await client.open_stream(support.TALK, Void())
        for task in server._tasks:
            task.cancel()
        with pytest.raises((errors.RemoteError, errors.ConnectionLost), match=r"stopping|closed"):
            await stream.recv()


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
async def test_any_buffer_may_be_sent_and_changed_after(kind: type) -> None:
    async with upload() as (_, stream, service):
        data = bytearray(pattern(2 * MiB))
        sent = bytes(data)
        await stream.send(kind(data))
        data[:] = bytes(len(data))
        await stream.finish()
        assert bytes(service.received) == sent
