"""Connections that break: at any byte, many times, while they are attached, without a word. QEMU notices nothing."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import socket
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest

from culvert.ground import errors
from culvert.ground.units import KiB, MiB
from culvert.io.tls_context import client_context, server_context
from culvert.tunnel import frame
from culvert.tunnel.limits import ChannelLimits
from culvert.tunnel.statistics import PumpState
from tests.support.pki import Pki
from tests.tunnel import support
from tests.tunnel.support import SMALL, Channel, Cutter, Network, channel, drain, exchange, feed, take, until

_END_OF_NOTHING = frame.fin(0) + frame.ack(0, end=True)
WIDE = ChannelLimits(window=MiB, inbound=512 * KiB)


@pytest.fixture(scope="module")
def contexts(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    holder = Pki(Path(tmp_path_factory.mktemp("pki"))).holder("host")
    return client_context(holder.client), server_context(holder.server)


async def either_lost(joined: Channel) -> None:
    """Wait until one side has noticed; the other one is told by being attached anew."""
    async with asyncio.TaskGroup() as tasks:
        waiting = [tasks.create_task(end.losses.get(), name="loss") for end in (joined.a, joined.b)]
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for task in waiting:
            task.cancel()


async def mend(joined: Channel, networks: list[Callable[[], Network]]) -> None:
    """Attach one network after the other, each when the last one is lost."""
    for make in networks:
        await joined.connect(make())
        await either_lost(joined)


@pytest.mark.parametrize("compression", ["off", "on"])
@pytest.mark.parametrize("limits", [SMALL, WIDE])
@pytest.mark.parametrize("seed", range(6))
async def test_cut_at_random_bytes_nothing_is_lost_or_doubled(
    seed: int, limits: ChannelLimits, compression: str
) -> None:
    dice = random.Random(seed)
    cuts = [1, 10][seed % 2]
    out, back = dice.randbytes(1_500_000), dice.randbytes(400_000)
    async with channel(limits, compression) as joined, asyncio.TaskGroup() as tasks:
        moving = tasks.create_task(exchange(joined, out, back), name="exchange")
        for _ in range(cuts):
            budget = dice.randrange(len(out) // cuts), dice.randrange(len(back) // cuts)
            cutter = Cutter(tasks, budget, dice.choice([support.unix, support.tcp]))
            await joined.connect(cutter.network)
            await either_lost(joined)
        await joined.connect(support.tcp())
        await moving
        assert joined.a.pump.statistics.connections == cuts + 1
        assert joined.a.pump.statistics.bytes_in == joined.b.pump.statistics.bytes_out == len(out)


async def test_tls_connections_are_cut_as_well(contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    """QEMU writes the next piece when there is a connection for it, and its end with the last one: a channel that is
    over loses no connection."""
    pieces = [os.urandom(512 * KiB) for _ in range(4)]
    written: asyncio.Queue[bytes] = asyncio.Queue()

    async def write(guest: socket.socket) -> None:
        for _ in pieces:
            await asyncio.get_running_loop().sock_sendall(guest, await written.get())
        guest.shutdown(socket.SHUT_WR)

    async with channel(WIDE) as joined, asyncio.TaskGroup() as tasks:
        tasks.create_task(write(joined.a.guest), name="write a")
        tasks.create_task(feed(joined.b.guest, b"answer"), name="feed b")
        at_a = tasks.create_task(drain(joined.a.guest), name="drain a")
        at_b = tasks.create_task(drain(joined.b.guest), name="drain b")
        figures = joined.a.pump.statistics
        for piece in pieces[:-1]:
            network = support.tls(contexts)
            wires = [end.sock.dup() for end in network]
            await joined.connect(network)
            written.put_nowait(piece)
            await until(lambda: figures.wire_out >= 300 * KiB * figures.connections)
            for wire in wires:
                with contextlib.suppress(OSError):  # the other end was cut first
                    wire.shutdown(socket.SHUT_RDWR)
                wire.close()
            await either_lost(joined)
        await joined.connect(support.tls(contexts))
        written.put_nowait(pieces[-1])
        assert await at_b == b"".join(pieces)
        assert await at_a == b"answer"
        await joined.wait()
        assert figures.connections == len(pieces)


async def test_cut_around_the_end_the_channel_ends_well() -> None:
    """All frames of a short channel, cut after each number of bytes."""
    for budget in range(0, 90, 4):
        for out in (True, False):
            async with channel() as joined, asyncio.TaskGroup() as tasks:
                cutter = Cutter(tasks, (budget, 1000) if out else (1000, budget))
                await joined.connect(cutter.network)
                moving = tasks.create_task(exchange(joined, b"out", b"back"), name="exchange")
                lost = tasks.create_task(either_lost(joined), name="lost")
                await asyncio.wait([moving, lost], return_when=asyncio.FIRST_COMPLETED)
                if not moving.done():
                    await joined.connect(support.unix())
                await moving
                lost.cancel()


async def test_the_side_that_is_through_tells_the_other_that_did_not_hear() -> None:
    async with channel() as joined:
        here, there = support.tcp()
        raw = here.sock
        await joined.b.pump.attach(there, 0)
        joined.a.pump.close(0)
        joined.b.guest.shutdown(socket.SHUT_WR)
        await asyncio.get_running_loop().sock_sendall(raw, _END_OF_NOTHING)
        await joined.b.pump.wait()
        raw.close()
        await joined.b.pump.closed()
        here, there = support.tcp()
        assert await joined.b.pump.detach() == 0
        await joined.b.pump.attach(there, 0)
        from_b = await asyncio.get_running_loop().sock_recv(here.sock, 1000)
        assert from_b == frame.ack(0, over=True)
        here.sock.close()


async def test_while_there_is_no_connection_qemu_writes_until_the_window_is_full() -> None:
    async with channel() as joined:
        payload = os.urandom(SMALL.window)
        await asyncio.get_running_loop().sock_sendall(joined.a.guest, payload)
        await until(lambda: joined.a.pump.statistics.bytes_in == SMALL.window)
        assert joined.a.pump.statistics.state is PumpState.WAITING
        joined.a.guest.send(b"more")
        await joined.connect(support.tcp())
        assert await take(joined.b.guest, SMALL.window + 4) == payload + b"more"


async def test_a_connection_that_breaks_before_it_is_attached_is_lost_like_any_other() -> None:
    async with channel() as joined, asyncio.TaskGroup() as tasks:
        for broken in (0, 1):
            network = support.tcp()
            wire = network[broken].sock.dup()
            wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            wire.shutdown(socket.SHUT_RDWR)
            wire.close()
            await joined.connect(network)
            assert "channel test-" in (await joined.a.losses.get()).message
            assert "channel test-" in (await joined.b.losses.get()).message
        await joined.connect(support.tcp())
        tasks.create_task(exchange(joined, b"out" * 1000, b"back"), name="exchange")


async def test_a_new_connection_takes_the_place_of_one_that_is_still_there() -> None:
    out = os.urandom(MiB)
    async with channel() as joined, asyncio.TaskGroup() as tasks:
        tasks.create_task(exchange(joined, out, b"back"), name="exchange")
        for _ in range(5):
            await joined.connect(support.tcp())
            await asyncio.sleep(0)
        assert joined.a.losses.empty()  # each was replaced on purpose


async def test_a_peer_that_says_nothing_is_dead_after_the_stated_time() -> None:
    quick = ChannelLimits(heartbeat=0.05, dead=0.2)
    async with channel(quick) as joined:
        here, silent = support.tcp()
        await joined.a.pump.attach(here, 0)
        lost = await joined.a.losses.get()
        assert "nothing was heard of the other end for 0.2 s" in lost.message
        assert joined.a.pump.statistics.state is PumpState.LOST
        silent.sock.close()
        await joined.connect(support.tcp())
        await exchange(joined, b"out", b"back")


async def test_heartbeats_keep_a_connection_on_which_nothing_happens() -> None:
    quick = ChannelLimits(heartbeat=0.02, dead=0.3)
    async with channel(quick) as joined:
        await joined.connect(support.tcp())
        await until(lambda: joined.a.pump.statistics.wire_in >= 50 * frame.HEADER)  # long after it would be dead
        assert joined.a.losses.empty()
        assert joined.b.losses.empty()


async def test_what_cannot_be_replayed_is_refused_and_the_channel_goes_on() -> None:
    with support.nothing_leaks():
        async with channel() as joined:
            await joined.connect(support.tcp())
            await feed(joined.a.guest, b"four")
            await take(joined.b.guest, 4)
            other, peer = support.tcp()
            with pytest.raises(errors.InvalidStream, match="can be replayed"):
                await joined.a.pump.attach(other, 5)
            peer.sock.close()
            await feed(joined.b.guest, b"back")
            assert await drain(joined.a.guest) == b"back"
            await joined.wait()


async def test_detaching_is_no_loss() -> None:
    async with channel() as joined:
        await joined.connect(support.tcp())
        await asyncio.get_running_loop().sock_sendall(joined.a.guest, b"four")
        await take(joined.b.guest, 4)
        assert await joined.b.pump.detach() == 4
        assert await joined.b.pump.detach() == 4
        assert joined.b.losses.empty()
        assert joined.b.pump.statistics.state is PumpState.LOST
        await joined.a.losses.get()
