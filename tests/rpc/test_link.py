"""The shell: keepalive by an injected clock, holds, the end."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from culvert.ground import errors
from culvert.rpc.limits import Limits
from culvert.rpc.link import Link
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
async def linked(limits: Limits | None = None) -> AsyncIterator[tuple[Link, Raw, Owner, Clock]]:
    """A server's link and a raw peer."""
    owner, clock = Owner(), Clock()
    link = Link(Role.SERVER, owner, limits or Limits(), peer="peer", clock=clock)
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    with ours:
        await asyncio.get_running_loop().create_unix_connection(lambda: link, sock=theirs)
        try:
            yield link, Raw(ours), owner, clock
        finally:
            link.abort("test over")
            await link.closed.wait()


async def procedures(peer: Raw, count: int) -> list[int]:
    """The procedure numbers of the next keepalive packets."""
    found = []
    for _ in range(count):
        header, payload = await peer.packet()
        assert (header.program, header.type, header.serial, payload) == (0x6B656570, PacketType.MESSAGE, 0, b"")
        found.append(header.procedure)
    return found


async def test_silent_peer_is_pinged_and_then_given_up() -> None:
    async with linked() as (link, peer, owner, clock):
        link.start_keepalive(5, 5)
        link.start_keepalive(1, 1)  # once is enough
        for _ in range(5):
            clock.now += 5
            link.tick()
        assert await procedures(peer, 5) == [1] * 5
        clock.now += 5
        link.tick()
        await link.closed.wait()
        assert "keepalive timeout: nothing heard for 30 s" in str(owner.lost[0])
        link.tick()


async def test_anything_heard_counts() -> None:
    async with linked() as (link, peer, owner, clock):
        link.start_keepalive(5, 1)
        for _ in range(10):
            clock.now += 5
            link.tick()
            owner.events.clear()
            peer.send(CALL)
            await until(lambda: owner.events)
            clock.now += 1
        assert not link.reason


async def test_ping_is_answered() -> None:
    async with linked() as (_, peer, _, _):
        peer.send(PING + PONG)
        assert await procedures(peer, 1) == [2]


async def test_held_link_says_pong_unasked_and_counts_nothing() -> None:
    async with linked() as (link, peer, owner, clock):
        link.start_keepalive(5, 2)
        link.hold("test")
        peer.send(PING + CALL)
        for _ in range(100):
            clock.now += 5
            link.tick()
        assert await procedures(peer, 100) == [2] * 100
        assert not owner.events
        link.release("test")
        assert await procedures(peer, 1) == [2]  # the PING that had to wait
        await until(lambda: owner.events)
        for _ in range(2):
            clock.now += 5
            link.tick()
        assert await procedures(peer, 2) == [1, 1]
        assert not link.reason


async def test_held_link_without_keepalive_sends_nothing() -> None:
    """A client that did not ask for keepalive takes such a packet for an error."""
    async with linked() as (link, peer, _, clock):
        link.hold("test")
        clock.now += 500
        link.tick()
        with pytest.raises(TimeoutError):
            await peer.packet(0.02)


async def test_keepalive_may_be_off() -> None:
    async with linked() as (link, _, _, _):
        link.start_keepalive(0, 5)
        assert not link.keepalive


async def test_timer_runs_by_itself() -> None:
    async with linked() as (link, peer, _, clock):
        link.start_keepalive(0.01, 5)
        clock.now += 0.01
        assert await procedures(peer, 1) == [1]


async def test_hold_stops_reports_in_the_middle_of_what_was_received() -> None:
    async with linked() as (link, peer, owner, _):

        class Holding(Owner):
            def on_event(self, event: events.Event) -> None:
                super().on_event(event)
                link.hold("one at a time")

        link._owner = holding = Holding()
        peer.send(CALL * 5)
        await until(lambda: holding.events)
        for count in range(1, 5):
            assert len(holding.events) == count
            assert link.connection.buffered == (5 - count) * len(CALL)
            link.release("one at a time")
        assert len(holding.events) == 5
        assert owner.events == []


async def test_several_holds_need_as_many_releases() -> None:
    async with linked() as (link, peer, owner, _):
        link.hold("a")
        link.hold("b")
        link.hold("a")
        peer.send(CALL)
        link.release("a")
        link.release("c")
        await asyncio.sleep(0.01)
        assert link.held
        assert not owner.events
        link.release("b")
        await until(lambda: owner.events)


async def test_violation_ends_the_connection_with_the_reason() -> None:
    async with linked() as (link, peer, owner, _):
        peer.send(CALL + b"\xff" * 100)
        await peer.closed()
        await link.closed.wait()
        assert len(owner.events) == 1
        [error] = owner.lost
        assert "peer lost: protocol violation: packet length 4294967295 is longer than the limit" in str(error)


async def test_pings_of_a_peer_that_does_not_read_pile_nothing_up() -> None:
    async with linked() as (link, peer, _, _):
        for _ in range(300):
            peer.send(PING * 1000)
            await asyncio.sleep(0)
        await until(lambda: not link.turns.open or link.bytes_received == 300 * 1000 * len(PING))
        assert link.backlog <= 2 * 1024 * 1024


async def test_close_sends_what_was_written() -> None:
    async with linked(Limits(farewell=60)) as (link, peer, owner, _):
        link.write(CALL * 100_000)
        link.close("done")
        link.close("again")
        link.write(CALL)
        for _ in range(100_000):
            await peer.packet()
        with pytest.raises(EOFError):
            await peer.packet()
        await link.closed.wait()
        assert link.reason == "done"
        assert len(owner.lost) == 1


async def test_close_does_not_wait_for_ever() -> None:
    async with linked(Limits(farewell=0.05)) as (link, _, _, _):
        link.write(CALL * 100_000)
        async with asyncio.timeout(5):
            await link.end("done")
        with pytest.raises(errors.ConnectionLost, match="done"):
            await link.turn()
