"""The shell: keepalive by an injected clock, holds, the end."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from culvert.ground import errors
from culvert.rpc.connection import RpcConnection
from culvert.rpc.limits import RpcLimits
from culvert.wire import events
from culvert.wire.connection import Connection
from culvert.wire.packet import PacketType
from culvert.wire.stream import Role
from tests.rpc.raw import Raw
from tests.rpc.support import until

CALL = Connection(Role.CLIENT).call(1, 1, 1, b"")[1]
PING, PONG = Connection(Role.SERVER).ping(), Connection(Role.SERVER).pong()


class Owner:
    """Remembers what it is told."""

    def __init__(self) -> None:
        self.events: list[object] = []
        self.lost: list[errors.ConnectionLost] = []

    def on_event(self, event: events.Event) -> None:
        self.events.append(event)

    def on_lost(self, error: errors.ConnectionLost) -> None:
        self.lost.append(error)


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@asynccontextmanager
async def linked(limits: RpcLimits | None = None) -> AsyncIterator[tuple[RpcConnection, Raw, Owner, Clock]]:
    """A server's connection and a raw peer."""
    owner, clock = Owner(), Clock()
    connection = RpcConnection(Role.SERVER, owner, limits or RpcLimits(), peer="peer", clock=clock)
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    with ours:
        await asyncio.get_running_loop().create_unix_connection(lambda: connection, sock=theirs)
        try:
            yield connection, Raw(ours), owner, clock
        finally:
            connection.abort("test over")
            await connection.closed.wait()


async def procedures(peer: Raw, count: int) -> list[int]:
    """The procedure numbers of the next keepalive packets."""
    found = []
    for _ in range(count):
        header, payload = await peer.packet()
        assert (header.program, header.type, header.serial, payload) == (0x6B656570, PacketType.MESSAGE, 0, b"")
        found.append(header.procedure)
    return found


async def test_silent_peer_is_pinged_and_then_given_up() -> None:
    async with linked() as (connection, peer, owner, clock):
        connection.start_keepalive(5, 5)
        connection.start_keepalive(1, 1)  # once is enough
        for _ in range(5):
            clock.now += 5
            connection.tick()
        assert await procedures(peer, 5) == [1] * 5
        clock.now += 5
        connection.tick()
        await connection.closed.wait()
        assert "keepalive timeout: nothing heard for 30 s" in str(owner.lost[0])
        connection.tick()


async def test_anything_heard_counts() -> None:
    async with linked() as (connection, peer, owner, clock):
        connection.start_keepalive(5, 1)
        for _ in range(10):
            clock.now += 5
            connection.tick()
            owner.events.clear()
            peer.send(CALL)
            await until(lambda: owner.events)
            clock.now += 1
        assert not connection.reason


async def test_ping_is_answered() -> None:
    async with linked() as (_, peer, _, _):
        peer.send(PING + PONG)
        assert await procedures(peer, 1) == [2]


async def test_held_link_says_pong_unasked_and_counts_nothing() -> None:
    async with linked() as (connection, peer, owner, clock):
        connection.start_keepalive(5, 2)
        connection.hold("test")
        peer.send(PING + CALL)
        for _ in range(100):
            clock.now += 5
            connection.tick()
        assert await procedures(peer, 100) == [2] * 100
        assert not owner.events
        connection.release("test")
        assert await procedures(peer, 1) == [2]  # the PING that had to wait
        await until(lambda: owner.events)
        for _ in range(2):
            clock.now += 5
            connection.tick()
        assert await procedures(peer, 2) == [1, 1]
        assert not connection.reason


async def test_held_link_without_keepalive_sends_nothing() -> None:
    """A client that did not ask for keepalive takes such a packet for an error."""
    async with linked() as (connection, peer, _, clock):
        connection.hold("test")
        clock.now += 500
        connection.tick()
        with pytest.raises(TimeoutError):
            await peer.packet(0.02)


async def test_keepalive_may_be_off() -> None:
    async with linked() as (connection, _, _, _):
        connection.start_keepalive(0, 5)
        assert not connection.keepalive


async def test_timer_runs_by_itself() -> None:
    async with linked() as (connection, peer, _, clock):
        connection.start_keepalive(0.01, 5)
        clock.now += 0.01
        assert await procedures(peer, 1) == [1]


async def test_hold_stops_reports_in_the_middle_of_what_was_received() -> None:
    async with linked() as (connection, peer, owner, _):

        class Holding(Owner):
            def on_event(self, event: events.Event) -> None:
                super().on_event(event)
                connection.hold("one at a time")

        connection._owner = holding = Holding()
        peer.send(CALL * 5)
        await until(lambda: holding.events)
        for count in range(1, 5):
            assert len(holding.events) == count
            assert connection.wire.buffered == (5 - count) * len(CALL)
            connection.release("one at a time")
        assert len(holding.events) == 5
        assert owner.events == []


async def test_several_holds_need_as_many_releases() -> None:
    async with linked() as (connection, peer, owner, _):
        connection.hold("a")
        connection.hold("b")
        connection.hold("a")
        peer.send(CALL)
        connection.release("a")
        connection.release("c")
        await asyncio.sleep(0.01)
        assert connection.held
        assert not owner.events
        connection.release("b")
        await until(lambda: owner.events)


async def test_violation_ends_the_connection_with_the_reason() -> None:
    async with linked() as (connection, peer, owner, _):
        peer.send(CALL + b"\xff" * 100)
        await peer.closed()
        await connection.closed.wait()
        assert len(owner.events) == 1
        [error] = owner.lost
        assert "peer lost: protocol violation: packet length 4294967295 is longer than the limit" in str(error)


async def test_pings_of_a_peer_that_does_not_read_pile_nothing_up() -> None:
    async with linked() as (connection, peer, _, _):
        for _ in range(300):
            peer.send(PING * 1000)
            await asyncio.sleep(0)
        await until(lambda: not connection.turns.open or connection.bytes_received == 300 * 1000 * len(PING))
        assert connection.backlog <= 2 * 1024 * 1024


async def test_close_sends_what_was_written() -> None:
    async with linked(RpcLimits(farewell=60)) as (connection, peer, owner, _):
        connection.write(CALL * 100_000)
        connection.close("done")
        connection.close("again")
        connection.write(CALL)
        for _ in range(100_000):
            await peer.packet()
        with pytest.raises(EOFError):
            await peer.packet()
        await connection.closed.wait()
        assert connection.reason == "done"
        assert len(owner.lost) == 1


async def test_close_does_not_wait_for_ever() -> None:
    async with linked(RpcLimits(farewell=0.05)) as (connection, _, _, _):
        connection.write(CALL * 100_000)
        async with asyncio.timeout(5):
            await connection.end("done")
        with pytest.raises(errors.ConnectionLost, match="done"):
            await connection.turn()
