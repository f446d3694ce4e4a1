"""Pairs of pumps on whole connections: every byte in order, half-close, back-pressure, TLS, compression, figures."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest

from culvert.ground import errors
from culvert.ground.units import KiB, MiB
from culvert.io.detached import Detached
from culvert.io.tls_context import client_context, server_context
from culvert.tunnel import frame
from culvert.tunnel.limits import ChannelLimits
from culvert.tunnel.pump import Pump
from culvert.tunnel.statistics import PumpState
from tests.support.pki import Pki
from tests.tunnel import support
from tests.tunnel.support import SMALL, Network, channel, drain, exchange, feed, take

BIG = ChannelLimits()


@pytest.fixture(scope="module")
def contexts(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    holder = Pki(Path(tmp_path_factory.mktemp("pki"))).holder("host")
    return client_context(holder.client), server_context(holder.server)


@pytest.fixture(params=["tcp", "unix", "tls"])
def network(request: pytest.FixtureRequest, contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> Callable[[], Network]:
    kinds: dict[str, Callable[[], Network]] = {
        "tcp": support.tcp,
        "unix": support.unix,
        "tls": lambda: support.tls(contexts),
    }
    return kinds[request.param]


@pytest.mark.parametrize("limits", [SMALL, BIG])
@pytest.mark.parametrize("sizes", [(0, 0), (1, 0), (0, 1), (3 * MiB + 17, 5), (MiB + 1, 2 * MiB + 3)])
async def test_both_directions_arrive_whole(
    network: Callable[[], Network], sizes: tuple[int, int], limits: ChannelLimits
) -> None:
    async with channel(limits) as joined:
        await joined.connect(network())
        await exchange(joined, os.urandom(sizes[0]), os.urandom(sizes[1]))
        for end, (into, out) in ((joined.a, sizes), (joined.b, sizes[::-1])):
            await end.pump.closed()
            figures = end.pump.statistics
            assert (figures.bytes_in, figures.bytes_out) == (into, out)
            assert figures.wire_out > into
            assert figures.wire_in > out
            assert (figures.resent, figures.connections, figures.state) == (0, 1, PumpState.OVER)
            assert end.losses.empty()


async def test_what_was_received_before_comes_first() -> None:
    async with channel() as joined:
        here, there = support.tcp()
        first = frame.data(0, 5) + b"first"
        leftover = Detached(there.sock, leftover=first[:22])
        await joined.b.pump.attach(leftover, 0)
        here.sock.send(first[22:])
        assert await take(joined.b.guest, 5) == b"first"
        here.sock.close()


async def test_half_close_is_passed_on_and_the_other_half_goes_on() -> None:
    async with channel() as joined:
        await joined.connect(support.tcp())
        await feed(joined.a.guest, b"the guest")
        assert await drain(joined.b.guest) == b"the guest"
        for number in range(3):
            await asyncio.get_running_loop().sock_sendall(joined.b.guest, bytes([number]))
            assert await take(joined.a.guest, 1) == bytes([number])
        await feed(joined.b.guest, b"done")
        assert await drain(joined.a.guest) == b"done"
        await joined.wait()


async def test_a_question_and_its_answer_many_times() -> None:
    """What post-copy does: pages asked for, one at a time."""
    loop = asyncio.get_running_loop()
    async with channel() as joined:
        await joined.connect(support.tcp())
        for number in range(200):
            await loop.sock_sendall(joined.b.guest, number.to_bytes(8, "big"))
            assert int.from_bytes(await take(joined.a.guest, 8), "big") == number
            await loop.sock_sendall(joined.a.guest, b"p" * 4096)
            await take(joined.b.guest, 4096)


@pytest.mark.parametrize("limits", [SMALL, ChannelLimits(window=2 * MiB, inbound=MiB)])
async def test_a_slow_qemu_is_felt_by_the_other_and_is_nobodys_death(
    network: Callable[[], Network], limits: ChannelLimits
) -> None:
    limits = ChannelLimits(limits.window, limits.inbound, limits.chunk, heartbeat=0.02, dead=0.2)
    async with channel(limits) as joined:
        await joined.connect(network())
        sent = 0
        quiet = 0
        while quiet < 40:  # longer than a peer may be silent
            try:
                sent += joined.a.guest.send(b"x" * 65536)
                quiet = 0
            except BlockingIOError:
                quiet += 1
                await asyncio.sleep(0.01)
        held = joined.a.pump.statistics.bytes_in - joined.b.pump.statistics.bytes_out
        assert held <= limits.window + limits.inbound + 32 * MiB  # the windows, the pipe and TCP's own buffers
        joined.a.guest.shutdown(socket.SHUT_WR)
        assert len(await drain(joined.b.guest)) == sent
        joined.b.guest.shutdown(socket.SHUT_WR)
        await joined.wait()
        assert joined.a.losses.empty()
        assert joined.b.losses.empty()


async def test_compressed_bytes_arrive_whole_and_are_fewer_on_the_way(network: Callable[[], Network]) -> None:
    text = b"".join(b"page %d " % number * 100 for number in range(20_000))
    async with channel(BIG, "on") as joined:
        await joined.connect(network())
        await exchange(joined, text, os.urandom(2 * MiB) + text[: 2 * MiB])
        figures = joined.a.pump.statistics
        assert figures.bytes_in == len(text)
        assert figures.wire_out < len(text) / 4
        assert joined.b.pump.statistics.wire_out > 2 * MiB


async def test_compression_has_three_modes() -> None:
    with support.nothing_leaks():
        ours, theirs = socket.socketpair()
        with theirs, pytest.raises(errors.InvalidArgument, match="off, auto, on"):
            Pump("test", ours, compression="brotli", on_lost=print)
        ours.close()


async def test_many_channels_at_once() -> None:
    with support.nothing_leaks():
        async with asyncio.TaskGroup() as tasks:
            for number in range(20):
                tasks.create_task(_one(number), name=f"channel {number}")


async def _one(number: int) -> None:
    """A channel among others: descriptors cannot be counted here."""
    joined = support.Channel(SMALL, "off")
    try:
        await joined.connect(support.tcp())
        await exchange(joined, os.urandom(100 * KiB + number), os.urandom(number))
    finally:
        for end in (joined.a, joined.b):
            end.pump.close(0)
            end.guest.close()
            await end.pump.closed()
