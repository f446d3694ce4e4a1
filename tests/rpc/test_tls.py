"""Calls and streams over TLS, and what a bad client of the TLS port costs the others."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from culvert.ground import errors, uri
from culvert.ground.units import MiB
from culvert.ground.uri import ConnectionURI
from culvert.io.listener import listen_tcp
from culvert.io.tls_identity import Identity
from culvert.io.tls_side import ClientSide, ServerSide
from culvert.protocol.procedure import Procedure
from culvert.rpc.client import Client, connect
from culvert.rpc.dispatch import Doorkeeper
from culvert.rpc.limits import RpcLimits
from culvert.rpc.server import Server
from culvert.rpc.session import Session
from culvert.wire.keepalive import Keepalive, KeepaliveAction
from tests.rpc import support
from tests.rpc.support import PROGRAM, Service, Size, Text, pattern, until
from tests.support.pki import Holder, Pki


@pytest.fixture
def alpha(tmp_path: Path) -> Holder:
    return Pki(tmp_path / "pki").holder("alpha")


@asynccontextmanager
async def serving(
    holder: Holder, service: Service | None = None, limits: RpcLimits | None = None, allowed: tuple[str, ...] = ()
) -> AsyncIterator[tuple[Server, ConnectionURI]]:
    """A server with a TLS listener, and the URI of who has the same certificates."""
    security = ServerSide(holder.server, allowed_clients=allowed)
    async with Server([(service or Service()).handlers], limits) as server:
        [listener] = await listen_tcp("127.0.0.1", 0, security)
        server.listen(listener)
        yield server, uri.parse(f"qemu+tls://{listener.name}/system?pkipath={holder.folder}")


def plug(where: ConnectionURI) -> socket.socket:
    return socket.create_connection((where.host, where.port))


async def echo(client: Client, text: str = "x") -> None:
    assert await client.call(support.ECHO, Text(text)) == Text(text)


async def test_calls_and_who_makes_them(alpha: Holder) -> None:
    service = Service()
    async with serving(alpha, service) as (_, where), connect(where, programs=[PROGRAM]) as client:
        await echo(client)
        [session] = service.sessions
        assert session.transport == "tls"
        assert session.identity == Identity("O=test,CN=alpha", ("alpha", "127.0.0.1", "localhost"))
        assert session.local_address == (where.host, where.port)
        assert len((await client.call(support.BLOB, Size(9 * MiB))).data) == 9 * MiB


async def test_configured_files_instead_of_pkipath(alpha: Holder) -> None:
    async with serving(alpha) as (_, where):
        plain = ConnectionURI("qemu", "tls", where.host, where.port)
        async with connect(plain, programs=[PROGRAM], security=ClientSide(alpha.client)) as client:
            await echo(client)


async def test_streams_up_and_down_with_back_pressure(alpha: Holder) -> None:
    service, size = Service(), 12 * MiB
    limits = RpcLimits(stream_queue=1 * MiB, connection_queue=2 * MiB)
    async with serving(alpha, service, limits) as (_, where), connect(where, programs=[PROGRAM]) as client:
        service.read_gate.clear()
        _, upload = await client.open_stream(support.UPLOAD, Text(""))
        async with asyncio.TaskGroup() as tasks:
            sending = tasks.create_task(upload.send(pattern(size)), name="sending")
            await asyncio.sleep(0.1)
            assert not sending.done()
            service.read_gate.set()
        await upload.finish()
        assert bytes(service.received) == pattern(size)
        _, download = await client.open_stream(support.DOWNLOAD, Size(size))
        received = bytearray()
        while data := await download.recv():
            received += data
        assert bytes(received) == pattern(size)


async def test_keepalive_over_tls(alpha: Holder, monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(alpha) as (_, where), connect(where, programs=[PROGRAM], keepalive=(0.02, 5)) as client:
        client.start_keepalive()
        assert client.connection.keepalive
        ticks: list[KeepaliveAction] = []
        real = Keepalive.tick

        def tick(keepalive: Keepalive, now: float) -> KeepaliveAction:
            ticks.append(real(keepalive, now))
            return ticks[-1]

        monkeypatch.setattr(Keepalive, "tick", tick)
        # More pings than may stay unanswered: each has had its answer.
        await until(lambda: ticks.count(KeepaliveAction.PING) > 10)
        assert KeepaliveAction.DEAD not in ticks
        await echo(client)


async def test_a_client_that_is_not_on_the_list(alpha: Holder, caplog: pytest.LogCaptureFixture) -> None:
    async with serving(alpha, allowed=("*CN=beta",)) as (server, where):
        with pytest.raises(errors.AuthenticationFailed, match="does not let this side in"):
            async with connect(where, programs=[PROGRAM]):
                pass
        await until(lambda: not server.sessions)
    assert "'O=test,CN=alpha (alpha, 127.0.0.1, localhost)' matches nothing in allowed_clients" in caplog.text


async def test_silent_clients_harm_nobody(alpha: Holder, caplog: pytest.LogCaptureFixture) -> None:
    async with serving(alpha, limits=RpcLimits(handshake=0.3, anonymous=5)) as (server, where):
        silent = [plug(where) for _ in range(4)]
        silent[0].sendall(b"\x16\x03\x01\x02\x00\x01")  # a record that never ends
        async with connect(where, programs=[PROGRAM]) as client:
            await echo(client)
            await until(lambda: len(server.sessions) == 1)
            await echo(client)
        for sock in silent:
            sock.close()
    assert caplog.text.count("TLS handshake failed: not done in 0.3 s") == 4


async def test_strangers_beyond_the_limit_wait_until_silent_ones_are_sent_away(
    alpha: Holder, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(alpha, limits=RpcLimits(handshake=0.2, anonymous=2)) as (_, where):
        silent = [plug(where) for _ in range(2)]
        async with connect(where, programs=[PROGRAM]) as client:
            assert "TLS handshake failed: not done in 0.2 s" in caplog.text
            await echo(client)
        for sock in silent:
            sock.close()


async def test_clear_text_to_the_tls_port_and_the_reverse(alpha: Holder, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with serving(alpha) as (server, where):
        clear = ConnectionURI("qemu", "tcp", where.host, where.port)
        async with connect(clear, programs=[PROGRAM]) as client:
            with pytest.raises(errors.ConnectionLost, match="does it expect TLS on this port"):
                await echo(client)
        await until(lambda: not server.sessions)
        assert "does not speak TLS" in caplog.text
        [listener] = await listen_tcp("127.0.0.1", 0)
        server.listen(listener)
        assert listener.address is not None
        with pytest.raises(errors.AuthenticationFailed, match="does it expect TLS on this port"):
            async with connect(
                uri.parse(f"qemu+tls://{listener.name}/system?pkipath={alpha.folder}"), programs=[PROGRAM]
            ):
                pass
        await until(lambda: not server.sessions)
        assert "these bytes are TLS: is this port a clear-text one?" in caplog.text
        async with connect(where, programs=[PROGRAM]) as client:
            await echo(client)


async def test_stopping_in_the_middle_of_a_handshake(alpha: Holder) -> None:
    async with serving(alpha) as (server, where):
        silent = plug(where)
        await until(lambda: server.sessions)
    assert not server.sessions
    silent.settimeout(10)
    assert silent.recv(1) == b""
    silent.close()


async def test_a_connection_keeps_its_certificate_when_new_ones_are_loaded(tmp_path: Path) -> None:
    pki = Pki(tmp_path)
    holder = pki.holder("alpha")
    security = ServerSide(holder.server)
    async with Server([Service().handlers]) as server:
        [listener] = await listen_tcp("127.0.0.1", 0, security)
        server.listen(listener)
        where = uri.parse(f"qemu+tls://{listener.name}/system?pkipath={pki.holder('beta').folder}")
        async with connect(where, programs=[PROGRAM]) as old:
            pki.holder("alpha", ["10.0.0.1"])
            assert await security.reload()
            await echo(old)
            with pytest.raises(errors.AuthenticationFailed, match="IP address mismatch"):
                async with connect(where, programs=[PROGRAM]):
                    pass
            await echo(old)


async def test_a_call_may_depend_on_who_asks(alpha: Holder) -> None:
    class Alphas(Doorkeeper):
        async def permit(self, session: Session, row: Procedure[Any, Any], args: object) -> None:
            if row is support.BLOB and (session.identity is None or not session.identity.matches(["alpha"])):
                raise errors.AccessDenied(f"{row.name} is not for {session.identity}")

    async with Server([Service().handlers], gate=Alphas()) as server:
        for security in (ServerSide(alpha.server), None):
            for listener in await listen_tcp("127.0.0.1", 0, security):
                server.listen(listener)
        tls_name, tcp_name = (listener.name for listener in server.listeners)
        async with connect(f"qemu+tls://{tls_name}/system?pkipath={alpha.folder}", programs=[PROGRAM]) as client:
            await client.call(support.BLOB, Size(1))
        async with connect(f"qemu+tcp://{tcp_name}/system", programs=[PROGRAM]) as client:
            await echo(client)
            with pytest.raises(errors.RemoteError, match="access denied: BLOB is not for None"):
                await client.call(support.BLOB, Size(1))
            await echo(client)
