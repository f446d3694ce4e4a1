"""Bare streams told from clients by their first bytes, one at a time; and which URI is a QEMU's own."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import cast

import pytest

from culvert.channels.work import Background
from culvert.ground import errors
from culvert.io.listener import Accepted
from culvert.migration.destination import bare as module
from culvert.migration.destination.bare import BareStreams
from culvert.migration.destination.intake import Intake
from culvert.migration.peers import native

PEER = Accepted("tcp", "somebody")


class Waiting:
    """What is asked of an arrival: it takes one connection, or is given up."""

    def __init__(self, name: str = "g") -> None:
        self.domain = SimpleNamespace(name=name)
        self.unexpected = asyncio.Event()
        self.taken: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def take(self, sock: socket.socket) -> None:
        self.unexpected.set()
        self.taken.set_result(await asyncio.get_running_loop().sock_recv(sock, 100))

    @property
    def as_intake(self) -> Intake:
        return cast(Intake, self)


@pytest.fixture
async def bare() -> AsyncIterator[BareStreams]:
    async with Background() as background:
        yield BareStreams(background)


class Ends:
    """Our end of a connection and the daemon's; who gets the daemon's as a client's is in ``served``."""

    def __init__(self) -> None:
        self.ours, self.theirs = socket.socketpair()
        self.theirs.setblocking(False)
        self.served = asyncio.Event()

    def serve(self, sock: socket.socket, peer: Accepted) -> None:
        assert (sock, peer) == (self.theirs, PEER)
        self.served.set()


async def test_nobody_is_waited_for(bare: BareStreams) -> None:
    ends = Ends()
    assert not bare.divert(ends.theirs, PEER, ends.serve)


async def test_a_stream_goes_to_who_waits_and_loses_nothing(bare: BareStreams) -> None:
    waiting, ends = Waiting(), Ends()
    await bare.expect(waiting.as_intake)
    assert bare.divert(ends.theirs, PEER, ends.serve)
    for piece in (b"Q", b"EV", b"M\0\0\0\3"):
        ends.ours.sendall(piece)
        await asyncio.sleep(0.01)
    async with asyncio.timeout(5):
        assert await waiting.taken == b"QEVM\0\0\0\3"
    assert not ends.served.is_set()
    assert not bare.divert(ends.theirs, PEER, ends.serve)


@pytest.mark.parametrize("first", [b"\0\0\0\x1c", b"QEV\0", b"\x16\x03", b""])
async def test_a_client_is_served_as_ever(bare: BareStreams, first: bytes) -> None:
    waiting, ends = Waiting(), Ends()
    await bare.expect(waiting.as_intake)
    assert bare.divert(ends.theirs, PEER, ends.serve)
    ends.ours.sendall(first)
    if not first:
        ends.ours.close()
    async with asyncio.timeout(5):
        await ends.served.wait()
    assert ends.theirs.recv(100) == first
    assert bare.expecting


async def test_other_transports_are_left_alone(bare: BareStreams) -> None:
    await bare.expect(Waiting().as_intake)
    ends = Ends()
    for transport in ("unix", "tls"):
        assert not bare.divert(ends.theirs, Accepted(transport, "somebody"), ends.serve)


async def test_one_that_shows_nothing_is_served_after_a_while(
    bare: BareStreams, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FIRST_BYTES_TIMEOUT", 0.05)
    await bare.expect(Waiting().as_intake)
    ends = Ends()
    assert bare.divert(ends.theirs, PEER, ends.serve)
    async with asyncio.timeout(5):
        await ends.served.wait()


async def test_the_next_one_waits_for_its_turn(bare: BareStreams, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second, third = Waiting("first"), Waiting("second"), Waiting("third")
    await bare.expect(first.as_intake)
    async with asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(bare.expect(second.as_intake), name="second")
        await asyncio.sleep(0.02)
        assert not waiting.done()
        first.unexpected.set()
    monkeypatch.setattr(module, "TURN_TIMEOUT", 0.05)
    with pytest.raises(errors.ResourceBusy, match="'second'"):
        await bare.expect(third.as_intake)


@pytest.mark.parametrize(
    ("uri", "is_one"),
    [
        ("tcp:host-b:49152", True),
        ("tcp://host-b:49152", True),
        ("tcp://10.0.0.1:49152/", True),
        ("tcp:[fe80::1]:49152", True),
        ("tcp://host-b", False),
        ("rdma://host-b:49152", False),
        ("unix:///run/x", False),
        ("qemu+tcp://host-b:16509/system?culvert-migration=x", False),
        ("", False),
    ],
)
def test_which_uri_is_a_qemu_s(uri: str, is_one: bool) -> None:
    assert native.is_address(uri) is is_one
