"""Streams under pressure: slow ends, full queues, lost connections, many at once."""

from __future__ import annotations

import asyncio

import pytest

from culvert.ground import errors
from culvert.ground.units import MiB
from culvert.xdr.struct import Void
from tests.rpc import support
from tests.rpc.support import Service, Size, Text, connected, pattern, until
from tests.rpc.test_stream import SMALL, lives, receive_all, upload


async def test_lost_connection_wakes_every_waiter_at_both_ends() -> None:
    service = Service()
    service.read_gate.clear()
    async with connected(service, SMALL) as (client, server):
        _, up = await client.open_stream(support.UPLOAD, Text(""))
        _, down = await client.open_stream(support.TALK, Void())

        async def sending() -> None:
            with pytest.raises(errors.ConnectionLost):
                await up.send(bytes(64 * MiB))

        async def receiving() -> None:
            with pytest.raises(errors.ConnectionLost):
                await down.recv()

        async def finishing() -> None:
            with pytest.raises(errors.ConnectionLost):
                await third.finish()

        _, third = await client.open_stream(support.UPLOAD, Text("hang"))
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(finishing(), name="finishing")
            tasks.create_task(receiving(), name="receiving")
            await until(lambda: service.waiting)  # the finish has arrived
            tasks.create_task(sending(), name="sending")
            await until(lambda: server.sessions[1].connection.held)  # the body is at the gate, and its queue is full
            await until(lambda: not client.connection.turns.open)
            client.connection.abort("test")
        for stream in (up, down, third):
            for act in (stream.send(b"x"), stream.recv(), stream.finish()):
                with pytest.raises(errors.ConnectionLost, match="test"):
                    await act
            await stream.abort()
        # The body that is at the gate, and the one that hangs, are cancelled after the grace.
        await until(lambda: not server.sessions)
        assert sorted(service.outcome) == ["CancelledError: ", "CancelledError: "]


async def test_slow_reader_at_the_server_stops_the_sender() -> None:
    async with upload(limits=SMALL) as (client, stream, service):
        service.read_gate.clear()
        data = pattern(16 * MiB)
        async with asyncio.TaskGroup() as tasks:
            sending = tasks.create_task(stream.send(data), name="sending")
            await until(lambda: not client.connection.turns.open)
            await asyncio.sleep(0.05)
            assert not sending.done()
            assert stream.bytes_sent < 4 * MiB  # queue there, kernel, high-water mark here
            service.read_gate.set()
        await stream.finish()
        assert bytes(service.received) == data


async def test_slow_reader_at_the_client_stops_the_sender() -> None:
    service = Service()
    async with connected(service, client_limits=SMALL) as (client, server):
        size = 16 * MiB
        _, stream = await client.open_stream(support.DOWNLOAD, Size(size))
        await until(lambda: not server.sessions[1].connection.turns.open)
        await asyncio.sleep(0.05)
        assert client.connection.held
        assert stream._queued < 2 * SMALL.stream_queue
        assert not service.outcome
        assert await receive_all(stream) == pattern(size)
        await stream.finish()
        assert not client.connection.held


async def test_abort_of_a_full_stream_lets_the_others_go_on() -> None:
    service = Service()
    async with connected(service, client_limits=SMALL) as (client, _):
        _, other = await client.open_stream(support.TALK, Void())
        _, full = await client.open_stream(support.DOWNLOAD, Size(16 * MiB))
        await until(lambda: client.connection.held)
        await full.abort()
        await other.send(b"hello")
        assert await other.recv() == b"hello"
        await lives(client)


async def test_finish_of_a_full_stream_is_answered() -> None:
    """The bytes nobody receives must not keep the answer from coming; they are missed only by who still asks."""
    service = Service()
    async with connected(service, client_limits=SMALL) as (client, _):
        _, stream = await client.open_stream(support.DOWNLOAD, Size(16 * MiB))
        await until(lambda: client.connection.held)
        await stream.finish()
        with pytest.raises(errors.StreamFailed, match="not received in time"):
            await receive_all(stream)
        await lives(client)


async def test_half_close_the_server_goes_on_sending_after_finish() -> None:
    async with connected() as (client, _), asyncio.TaskGroup() as tasks:
        _, stream = await client.open_stream(support.TALK, Void())
        data = pattern(3 * MiB)
        receiving = tasks.create_task(receive_all(stream), name="receiving")
        await stream.send(data)
        await stream.finish()
        assert await receiving == data


async def test_many_streams_and_calls_interleaved() -> None:
    service = Service()
    async with connected(service, SMALL, SMALL) as (client, _):

        async def talking(number: int) -> None:
            _, stream = await client.open_stream(support.TALK, Void())
            data = pattern(1 * MiB, number)

            async def echo() -> bytes:
                return await receive_all(stream)

            async with asyncio.TaskGroup() as inner:
                receiving = inner.create_task(echo(), name="echo")
                for start in range(0, len(data), 10_000):
                    await stream.send(data[start : start + 10_000])
                await stream.finish()
            assert receiving.result() == data

        async def calling(number: int) -> None:
            for turn in range(50):
                assert (await client.call(support.ECHO, Text(f"{number}/{turn}"))).text == f"{number}/{turn}"

        async with asyncio.TaskGroup() as tasks:
            for number in range(12):
                tasks.create_task(talking(number), name=f"talking {number}")
                tasks.create_task(calling(number), name=f"calling {number}")
        assert not client.connection.held
        assert client.connection._queued == 0
