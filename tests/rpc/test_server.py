from __future__ import annotations

import asyncio
import random
import socket
from pathlib import Path

import pytest

from culvert.ground import errors
from culvert.ground.units import MiB
from culvert.io import connector
from culvert.rpc.client import connect
from culvert.rpc.limits import RpcLimits
from culvert.wire.connection import Connection
from culvert.wire.packet import Header, PacketStatus, PacketType
from culvert.wire.stream import Role
from culvert.xdr.struct import Void, encode
from tests.rpc import support
from tests.rpc.raw import Raw, raw
from tests.rpc.support import PROGRAM, Service, Text, serving, until


async def plug(path: Path) -> Raw:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.setblocking(False)
    await asyncio.get_running_loop().sock_connect(sock, str(path))
    return Raw(sock)


def echo(text: str = "x") -> bytes:
    return Connection(Role.CLIENT).call(PROGRAM.number, 1, support.ECHO.number, encode(Text(text)))[1]


async def test_more_clients_than_allowed_wait_their_turn(tmp_path: Path) -> None:
    path = tmp_path / "sock"
    async with serving(path=path, limits=RpcLimits(clients=2)) as (server, _):
        peers = [await plug(path) for _ in range(3)]
        for peer in peers:
            peer.send(echo())
        await peers[0].packet()
        await peers[1].packet()
        with pytest.raises(TimeoutError):
            await peers[2].packet(0.05)
        assert len(server.sessions) == 2
        peers[0].sock.close()
        await peers[2].packet()
        for peer in peers:
            peer.sock.close()


async def test_anonymous_clients_are_few_and_must_speak_soon(tmp_path: Path) -> None:
    path = tmp_path / "sock"
    async with serving(path=path, limits=RpcLimits(anonymous=2, greeting=1)) as (server, _):
        silent = [await plug(path) for _ in range(2)]
        speaking = await plug(path)
        speaking.send(echo())
        with pytest.raises(TimeoutError):
            await speaking.packet(0.2)
        assert len(server.sessions) == 2
        await speaking.packet()  # after the silent ones were sent away
        await until(lambda: len(server.sessions) == 1)
        for peer in silent:
            await peer.closed()
        for peer in (*silent, speaking):
            peer.sock.close()


async def test_stopping_leaves_nothing(tmp_path: Path) -> None:
    service, path = Service(), tmp_path / "sock"
    async with asyncio.TaskGroup() as tasks:
        async with serving(service, path=path) as (server, uri):

            async def calling() -> None:
                async with connect(uri, programs=[PROGRAM]) as client:
                    with pytest.raises(errors.ConnectionLost):
                        await client.call(support.GATE, Void())

            tasks.create_task(calling(), name="calling")
            await until(lambda: service.waiting)
        assert not server.sessions
        assert not path.exists()
        with pytest.raises(errors.SystemCallError):
            await connector.connect(uri, asyncio.Protocol)


async def test_body_exception_comes_out_bare(tmp_path: Path) -> None:
    with pytest.raises(KeyError, match="mine"):
        async with serving(path=tmp_path / "sock"):
            raise KeyError("mine")


def rubbish(seed: int) -> bytes:
    """Random bytes, or random packets with sensible lengths, or truncated ones."""
    chance = random.Random(seed)
    parts = []
    for _ in range(chance.randrange(1, 20)):
        payload = chance.randbytes(chance.choice((0, 4, 60, 3000)))
        header = Header(
            chance.choice((PROGRAM.number, 0x6B656570, chance.randrange(2**32))),
            chance.choice((1, 1, 1, 2)),
            chance.choice((*PROGRAM.procedures, -5, 77)),
            chance.choice(list(PacketType)),
            chance.randrange(4),
            chance.choice(list(PacketStatus)),
        )
        data = header.pack(len(payload)) + payload
        parts.append(data[: chance.choice((len(data), len(data), len(data), chance.randrange(len(data) + 1)))])
        if chance.random() < 0.1:
            parts.append(chance.randbytes(chance.randrange(100)))
    return b"".join(parts)


async def test_rubbish_harms_nobody_else(tmp_path: Path) -> None:
    path = tmp_path / "sock"
    service = Service()
    service.gate.set()
    async with serving(service, path=path, limits=RpcLimits(stream_grace=0.01)) as (server, uri):
        async with connect(uri, programs=[PROGRAM]) as good:
            for seed in range(60):
                peer = await plug(path)
                peer.send(rubbish(seed))
                assert await good.call(support.ECHO, Text(str(seed))) == Text(str(seed))
                peer.sock.close()
            await until(lambda: len(server.sessions) == 1)
        await until(lambda: not server.sessions)


async def test_truncated_packet_then_the_end() -> None:
    async with raw() as (peer, server):
        peer.send(echo()[:20])
        peer.sock.shutdown(socket.SHUT_WR)
        await peer.closed()
        await until(lambda: not server.sessions)


async def test_oversized_packet_of_a_stranger_is_refused_by_its_length_word() -> None:
    async with raw(limits=RpcLimits(anonymous_packet=1000, packet=2 * MiB)) as (peer, _):
        peer.send((1001).to_bytes(4, "big"))
        await peer.closed()
    async with raw(limits=RpcLimits(anonymous_packet=1000, packet=2 * MiB)) as (peer, _):
        peer.send(echo())
        await peer.packet()
        await peer.send_all(echo("x" * 1 * MiB))
        await peer.packet()
        peer.send((2 * MiB + 1).to_bytes(4, "big"))
        await peer.closed()


async def test_client_that_vanishes_between_accept_and_service(tmp_path: Path) -> None:
    path = tmp_path / "sock"
    async with serving(path=path) as (server, uri):
        for _ in range(20):
            (await plug(path)).sock.close()
        async with connect(uri, programs=[PROGRAM]) as client:
            assert await client.call(support.ECHO, Text("on")) == Text("on")
        await until(lambda: not server.sessions)
