"""Who may attach data to a prepared migration, and what comes of channels that speak nonsense.

The fixture ``host`` looks after each test that no QEMU and no file is left.
"""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import pytest

from culvert.channels.ticket import Ticket, opening
from culvert.ground.errors import ErrorCode
from culvert.io.detached import Detached
from culvert.protocol import culvert, culvert_wire_1
from culvert.rpc import client as rpc
from culvert.rpc.stream import Stream
from tests.support.daemon import DaemonProcess
from tests.system.test_rubbish_migration import DIRECT, Attempt, connected, refused


@pytest.fixture
def attempt(folder: Path) -> Attempt:
    """A guest with its files."""
    return Attempt(folder)


MAIN = opening("memory-main", "")


async def attach(client: rpc.Client, token: str, kind: str = "memory-main", name: str = "") -> Stream:
    return (await client.open_stream(culvert.MIGRATION_ATTACH, culvert.MigrationAttachArgs(token, kind, name)))[1]


async def attach_1(client: rpc.Client, token: str, channel: int = 0) -> Stream:
    """As culvert 0.1.0 asks."""
    args = culvert_wire_1.MigrationAttach1Args(token, channel)
    return (await client.open_stream(culvert_wire_1.MIGRATION_ATTACH_1, args))[1]


async def test_tokens_guessed_and_used(host: DaemonProcess, attempt: Attempt) -> None:
    async with connected(host) as client:
        ticket = Ticket.parse(await attempt.prepare(client))
        token = ticket.token(MAIN, 1)
        forged = Ticket(ticket.name, "guessed").token(MAIN, 1)
        for guessed in ("", "x", token[:-1], token + "x", token.swapcase(), "é", forged, str(ticket)):
            async with refused(ErrorCode.AUTH_FAILED, "does not open"):
                await attach(client, guessed)
        async with refused(ErrorCode.AUTH_FAILED, "opens channel 'memory-main.', not 'disk.vda'"):
            await attach(client, ticket.token(MAIN, 1), "disk", "vda")
        stream = await attach(client, ticket.token(MAIN, 2))
        for old in (1, 2):
            async with refused(ErrorCode.AUTH_FAILED, "used already"):
                await attach(client, ticket.token(MAIN, old))
        async with refused(ErrorCode.AUTH_FAILED, "of another wire"):
            await attach_1(client, ticket.token("0", 3), 0)
        second = await attach(client, ticket.token(MAIN, 3))
        async with refused(ErrorCode.INVALID_STREAM, "data path already"):
            await second.finish()
        await stream.abort()
        async with refused():
            await attempt.finish(client, DIRECT)


async def test_a_token_of_the_first_wire_opens_what_it_names(host: DaemonProcess, attempt: Attempt) -> None:
    async with connected(host) as client:
        ticket = Ticket.parse(await attempt.prepare(client))
        async with refused(ErrorCode.AUTH_FAILED, "opens channel '0', not 'memory-main.'"):
            await attach(client, ticket.token("0", 1))
        async with refused(ErrorCode.AUTH_FAILED, "opens channel '0', not '1'"):
            await attach_1(client, ticket.token("0", 2), 1)
        async with refused(ErrorCode.AUTH_FAILED, "of another wire"):
            await attach(client, ticket.token(MAIN, 3))
        async with refused():
            await attempt.finish(client, DIRECT, cancelled=True)


async def test_the_token_of_another_migration(host: DaemonProcess, attempt: Attempt, folder: Path) -> None:
    """It opens its own, and nothing when that is over."""
    async with connected(host) as client, connected(host) as other:
        ticket = Ticket.parse(await attempt.prepare(client))
        second = Attempt(folder, "second")
        elsewhere = Ticket.parse(await second.prepare(other))
        async with refused(ErrorCode.AUTH_FAILED, "does not open"):
            await attach(client, Ticket(ticket.name, elsewhere.secret).token(MAIN, 1))
        async with refused():
            await second.finish(other, DIRECT, cancelled=True)
        async with refused(ErrorCode.AUTH_FAILED, "does not open"):
            await attach(client, elsewhere.token(MAIN, 1))
        async with refused():
            await attempt.finish(client, DIRECT, cancelled=True)
        host.assert_no_leftovers()


async def channel(
    host: DaemonProcess, ticket: Ticket, kind: str = "memory-main", name: str = "", *, received: int = 0
) -> Detached:
    """A connection that has become a channel of the prepared migration."""
    async with rpc.connect(host.tcp_uri) as client:
        args = culvert.MigrationChannelArgs(ticket.token(opening(kind, name), 1), kind, name, received)
        return (await client.turn_into(culvert.MIGRATION_CHANNEL, args))[1]


async def channel_1(host: DaemonProcess, ticket: Ticket, number: int) -> Detached:
    """As culvert 0.1.0 asks."""
    async with rpc.connect(host.tcp_uri) as client:
        args = culvert_wire_1.MigrationChannel1Args(ticket.token(str(number), 1), number, 0)
        return (await client.turn_into(culvert_wire_1.MIGRATION_CHANNEL_1, args))[1]


NOT_PREPARED = [
    ("memory-multifd", "1"),
    ("memory-preempt", ""),
    ("disk", "vda"),
    ("control", ""),
    ("memory-main", "2"),
]


async def test_a_channel_of_the_first_wire_that_was_not_prepared(host: DaemonProcess, attempt: Attempt) -> None:
    async with connected(host) as client:
        ticket = Ticket.parse(await attempt.prepare(client))
        async with refused(ErrorCode.INVALID_STREAM, "not one of the 1 that were prepared"):
            await channel_1(host, ticket, 1)
        async with refused():
            await attempt.finish(client, DIRECT, cancelled=True)


async def test_channels_that_were_not_prepared(host: DaemonProcess, attempt: Attempt) -> None:
    async with connected(host) as client:
        ticket = Ticket.parse(await attempt.prepare(client))
        for kind, name in NOT_PREPARED:
            async with refused(ErrorCode.INVALID_STREAM, "not one of the 1 that were prepared"):
                await channel(host, ticket, kind, name)
        async with refused(ErrorCode.INVALID_ARG, "channel kind 'memory' is not one of"):
            await channel(host, ticket, "memory")
        first = await channel(host, ticket)
        with first.sock:
            second = await attach(client, ticket.token(MAIN, 2))
            async with refused(ErrorCode.INVALID_STREAM, "data path already"):
                await second.finish()
            async with refused():
                await attempt.finish(client, DIRECT, cancelled=True)
        host.assert_no_leftovers()


RUBBISH = [b"GET / HTTP/1.0\r\n\r\n" * 10, b"\0" * 100, b"\xff" * 100_000]


@pytest.mark.parametrize("rubbish", RUBBISH, ids=["text", "zeros", "ones"])
async def test_a_channel_that_speaks_no_frames(host: DaemonProcess, attempt: Attempt, rubbish: bytes) -> None:
    """The migration is over at once, and whoever asks for its end hears why."""
    async with connected(host) as client:
        ticket = Ticket.parse(await attempt.prepare(client))
        made = await channel(host, ticket)
        with made.sock as sock:
            sock.setblocking(True)
            with contextlib.suppress(ConnectionError):
                sock.sendall(rubbish)
                while await asyncio.to_thread(sock.recv, 1000):
                    pass
        async with refused():
            await attempt.finish(client, DIRECT)
        host.assert_no_leftovers()


async def test_a_channel_that_has_received_what_was_never_sent(host: DaemonProcess, attempt: Attempt) -> None:
    async with connected(host) as client:
        ticket = Ticket.parse(await attempt.prepare(client))
        made = await channel(host, ticket, received=1 << 40)
        with made.sock as sock:
            sock.setblocking(True)
            with contextlib.suppress(ConnectionError):
                while await asyncio.to_thread(sock.recv, 1000):
                    pass
        async with refused():
            await attempt.finish(client, DIRECT)
        host.assert_no_leftovers()
