"""The relay over real sockets: every byte in order, back-pressure, and every way to end."""

from __future__ import annotations

import asyncio
import os
import socket

import pytest

from culvert.ground import errors
from culvert.tunnel import relay


class Collecting:
    """A sink that keeps what it is given, and can be made to wait or to fail."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.open = asyncio.Event()
        self.open.set()
        self.error: errors.RequestError | None = None

    async def send(self, data: bytes) -> None:
        await self.open.wait()
        if self.error is not None:
            raise self.error
        self.data += data


class Giving:
    """A source with these pieces, then the end or an error."""

    def __init__(self, pieces: list[bytes], error: errors.RequestError | None = None) -> None:
        self.pieces = pieces
        self.error = error

    async def recv(self) -> bytes:
        if self.pieces:
            return self.pieces.pop(0)
        if self.error is not None:
            raise self.error
        return b""


async def test_outward_moves_everything_until_qemu_closes() -> None:
    ours, theirs = relay.channel()
    payload = os.urandom(3 * relay.CHUNK + 17)
    sink, meter = Collecting(), relay.Meter()
    with ours, theirs:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(relay.outward(ours, sink, meter), name="outward")
            await asyncio.to_thread(theirs.sendall, payload)
            theirs.close()
    assert bytes(sink.data) == payload
    assert meter.bytes == len(payload)


async def test_a_slow_sink_is_felt_by_qemu_as_a_full_socket() -> None:
    ours, theirs = relay.channel()
    theirs.setblocking(False)
    sink, meter = Collecting(), relay.Meter()
    sink.open.clear()
    with ours, theirs:
        async with asyncio.TaskGroup() as tasks:
            moving = tasks.create_task(relay.outward(ours, sink, meter), name="outward")
            written, full = 0, 0
            while full < 3:  # the relay may take one more chunk after the first refusal
                try:
                    written += theirs.send(b"x" * 65536)
                except BlockingIOError:
                    full += 1
                    await asyncio.sleep(0.01)
            assert written <= 4 * relay.SOCKET_BUFFER + relay.CHUNK
            assert meter.bytes == 0
            moving.cancel()


async def test_a_failing_sink_ends_the_relay_with_its_error() -> None:
    ours, theirs = relay.channel()
    sink = Collecting()
    sink.error = errors.StreamFailed("the other end aborted")
    with ours, theirs:
        theirs.send(b"page")
        with pytest.raises(errors.StreamFailed, match="aborted"):
            await relay.outward(ours, sink, relay.Meter())


async def test_inward_ends_with_end_of_file_at_qemu() -> None:
    ours, theirs = relay.channel()
    pieces = [b"a" * 10, b"b" * relay.CHUNK, b"c"]
    meter = relay.Meter()
    with ours, theirs:
        await relay.inward(Giving(list(pieces)), ours, meter)
        got = await asyncio.to_thread(_read_all, theirs)
    assert got == b"".join(pieces)
    assert meter.bytes == len(got)


async def test_an_aborted_stream_gives_qemu_no_end_of_file() -> None:
    """Otherwise a truncated stream would look complete."""
    ours, theirs = relay.channel()
    theirs.setblocking(False)
    with ours, theirs:
        with pytest.raises(errors.ConnectionLost):
            await relay.inward(Giving([b"half"], errors.ConnectionLost("gone")), ours, relay.Meter())
        assert theirs.recv(100) == b"half"
        with pytest.raises(BlockingIOError):
            theirs.recv(1)


async def test_a_qemu_that_is_gone_is_an_os_error() -> None:
    ours, theirs = relay.channel()
    theirs.close()
    with ours, pytest.raises(OSError, match="Broken pipe"):
        await relay.inward(Giving([b"x"]), ours, relay.Meter())


def _read_all(sock: socket.socket) -> bytes:
    found = bytearray()
    while data := sock.recv(65536):
        found += data
    return bytes(found)


async def test_released_while_a_relay_waits_its_number_is_forgotten() -> None:
    ours, theirs = relay.channel()
    number = ours.fileno()
    loop = asyncio.get_running_loop()
    with theirs:
        async with asyncio.TaskGroup() as tasks:
            waits = [
                tasks.create_task(relay.outward(ours, Collecting(), relay.Meter())),
                tasks.create_task(relay.inward(Giving([bytes(64 << 20)]), ours, relay.Meter())),
            ]
            await asyncio.sleep(0)
            relay.release(ours)
            relay.release(ours)
            assert not loop.remove_reader(number)
            assert not loop.remove_writer(number)
            for task in waits:
                task.cancel()
