"""A peer written by hand that breaks each rule: the channel is over, both sides hear why, nothing goes to QEMU."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest
import zstandard

from culvert.ground import errors
from culvert.ground.units import KiB
from culvert.tunnel import frame
from culvert.tunnel.frame import Frame, Kind
from tests.tunnel import support
from tests.tunnel.support import channel, drain

SQUEEZED = zstandard.compress(bytes(1000), 1)
BOMB = zstandard.compress(bytes(64 * KiB), 1)


def data(offset: int, payload: bytes) -> bytes:
    return frame.data(offset, len(payload)) + payload


def squeezed(payload: bytes, raw: int) -> bytes:
    return frame.compressed(0, len(payload), raw) + payload


async def frames(wire: socket.socket) -> AsyncIterator[tuple[Frame, bytes]]:
    """What the pump says, until it closes."""
    loop = asyncio.get_running_loop()
    received = b""
    while piece := await loop.sock_recv(wire, 64 * KiB):
        received += piece
        while len(received) >= frame.HEADER:
            one = frame.decode(received[: frame.HEADER])
            if len(received) < frame.HEADER + one.wire:
                break
            yield one, received[frame.HEADER : frame.HEADER + one.wire]
            received = received[frame.HEADER + one.wire :]
    assert not received


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (data(1, b"gap"), "data at 1 where 0 comes next"),
        (data(0, b"four") + data(3, b"overlap"), "data at 3 where 4 comes next"),
        (data(0, b"four") + data(8, b"gap"), "data at 8 where 4 comes next"),
        (frame.encode(Frame(Kind.DATA, 0, 2**20 + 1, 2**20 + 1)), "are allowed"),
        (frame.encode(Frame(Kind.DATA, 0, 2**31, 2**31)), "are allowed"),
        (b"GET / HTTP/1.1\r\nHost: culvert\r\n\r\n", "unknown kind 71"),
        (frame.ack(1), "1 bytes are acknowledged"),
        (frame.ack(2**63), "are acknowledged"),
        (frame.ack(0, end=True), "the end is acknowledged at 0"),
        (frame.ack(0, over=True), "over before its bytes have come"),
        (frame.encode(Frame(Kind.ACK, frame.OVER)), "over before its bytes have come"),
        (frame.fin(1), "the end at 1 where 0 comes next"),
        (frame.fin(0) + data(0, b"more"), "data at 0 after the end"),
        (frame.fin(0) + frame.fin(0), "a second end"),
        (frame.encode(Frame(Kind.ABORT, 0, 2000)), "are allowed"),
        (squeezed(SQUEEZED, 999), "1000 bytes, announced as 999"),
        (squeezed(BOMB, 1000), f"{64 * KiB} bytes, announced as 1000"),
        (squeezed(b"rubbish", 1000), "cannot be read"),
        (squeezed(SQUEEZED[:-3], 1000), "cannot be read"),
        (squeezed(SQUEEZED + b"more", 1000), "cannot be read"),
    ],
)
@pytest.mark.parametrize("pieces", [1, 3])
async def test_a_peer_that_breaks_a_rule(said: bytes, words: str, pieces: int) -> None:
    async with channel() as joined:
        pump = joined.a.pump
        here, there = support.tcp()
        await pump.attach(here, 0)
        step = len(said) if pieces == 1 else 7
        with there.sock as wire:
            for at in range(0, len(said), step):
                await asyncio.get_running_loop().sock_sendall(wire, said[at : at + step])
                await asyncio.sleep(0)
            with pytest.raises(errors.RpcError, match=f"channel test-a: the other end broke the protocol: .*{words}"):
                await pump.wait()
            told = [payload.decode() async for one, payload in frames(wire) if one.kind is Kind.ABORT]
        assert len(told) == 1
        assert words in told[0]
        await pump.closed()
        assert joined.a.losses.empty()


async def test_a_reason_that_is_no_text_is_shown_as_far_as_it_is() -> None:
    async with channel() as joined:
        here, there = support.tcp()
        await joined.a.pump.attach(here, 0)
        there.sock.send(frame.encode(Frame(Kind.ABORT, wire=5)) + b"no\xff\xfe!")
        with pytest.raises(errors.StreamFailed, match="gave up: no"):
            await joined.a.pump.wait()
        there.sock.close()


async def test_what_came_before_the_broken_rule_is_not_taken_back() -> None:
    async with channel() as joined:
        here, there = support.tcp()
        await joined.a.pump.attach(here, 0)
        there.sock.send(data(0, b"good") + frame.ack(7))
        with pytest.raises(errors.RpcError):
            await joined.a.pump.wait()
        assert await drain(joined.a.guest) in (b"good", b"")
        there.sock.close()
