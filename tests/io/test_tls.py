"""TLS over real sockets: both ends are looked at, and each fault is said in words at both."""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from culvert.ground import errors
from culvert.ground.units import MiB
from culvert.io import tls
from culvert.io.tls_context import client_context, server_context
from culvert.io.tls_files import Files
from culvert.io.tls_identity import Identity
from tests.support.pki import Holder, Pki

HOST = "127.0.0.1"


class End(asyncio.Protocol):
    """Remembers what happens to it."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.received = bytearray()
        self.happened: list[str] = []
        self.changed = asyncio.Event()
        self.error: Exception | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self._note("made")

    def data_received(self, data: bytes) -> None:
        self.received += data
        self.changed.set()

    def eof_received(self) -> None:
        self._note("eof")

    def connection_lost(self, exc: Exception | None) -> None:
        self.error = exc
        self._note("lost")

    def pause_writing(self) -> None:
        self._note("pause")

    def resume_writing(self) -> None:
        self._note("resume")

    def _note(self, what: str) -> None:
        self.happened.append(what)
        self.changed.set()

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(20):
            while not condition():
                self.changed.clear()
                await self.changed.wait()

    async def until_lost(self) -> None:
        await self.until(lambda: "lost" in self.happened)

    async def until_received(self, size: int) -> None:
        await self.until(lambda: len(self.received) >= size)

    @property
    def wire(self) -> asyncio.Transport:
        assert self.transport is not None
        return self.transport


@dataclass
class Pair:
    """What became of each side of one handshake."""

    server: End = field(default_factory=End)
    client: End = field(default_factory=End)
    server_identity: Identity | None = None
    client_identity: Identity | None = None
    server_error: Exception | None = None
    client_error: Exception | None = None


@asynccontextmanager
async def shaken(
    server: ssl.SSLContext,
    client: ssl.SSLContext,
    *,
    host: str = HOST,
    admit: Callable[[Identity | None], object] = lambda identity: None,
) -> AsyncIterator[Pair]:
    """Both ends of a socket pair after their handshake, good or bad."""
    pair = Pair()
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.setblocking(False)

    async def serve() -> None:
        try:
            pair.server_identity = await tls.serve(theirs, pair.server, server, admit)
        except errors.AuthenticationFailed as err:
            pair.server_error = err

    async def connect() -> None:
        channel = tls.TlsTransport(client, pair.client, host=host)
        await asyncio.get_running_loop().create_unix_connection(lambda: channel, sock=ours)
        try:
            pair.client_identity = await tls.handshake_done(channel)
        except errors.AuthenticationFailed as err:
            pair.client_error = err

    async with asyncio.timeout(30):
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(serve(), name="serve")
            tasks.create_task(connect(), name="connect")
        yield pair
        for end in (pair.server, pair.client):
            if end.transport is not None:
                end.transport.abort()
                await end.until_lost()


@pytest.fixture
def pki(tmp_path: Path) -> Pki:
    return Pki(tmp_path / "pki")


@pytest.fixture
def alpha(pki: Pki) -> Holder:
    return pki.holder("alpha")


async def test_both_ends_know_each_other(pki: Pki, alpha: Holder) -> None:
    beta = pki.holder("beta")
    async with shaken(server_context(alpha.server), client_context(beta.client)) as pair:
        assert pair.server_identity == Identity("O=test,CN=beta", ("beta", "127.0.0.1", "localhost"))
        assert pair.client_identity == Identity("O=test,CN=alpha", ("alpha", "127.0.0.1", "localhost"))
        version = pair.client.wire.get_extra_info("ssl_object").version()
        assert version == "TLSv1.3"
        assert pair.client.wire.get_extra_info("socket") is not None
        assert not pair.client.wire.can_write_eof()


@pytest.mark.parametrize("size", [1, 16384, 16385, 5 * MiB])
async def test_bytes_arrive_whole_in_both_directions(alpha: Holder, size: int) -> None:
    data = bytes(range(251)) * (size // 251 + 1)
    data = data[:size]
    async with shaken(server_context(alpha.server), client_context(alpha.client)) as pair:
        for sender, receiver in ((pair.client, pair.server), (pair.server, pair.client)):
            sender.wire.writelines([b"", data[:7], memoryview(data)[7:]])
            await receiver.until_received(size)
            assert receiver.received == data


async def test_a_reader_that_pauses_is_felt_by_the_writer(alpha: Holder) -> None:
    async with shaken(server_context(alpha.server), client_context(alpha.client)) as pair:
        pair.server.wire.pause_reading()
        pair.client.wire.set_write_buffer_limits(high=1 * MiB, low=1024)
        pair.client.wire.write(bytes(8 * MiB))
        assert pair.client.happened[-1] == "pause"
        assert pair.client.wire.get_write_buffer_size() > 1 * MiB
        await asyncio.sleep(0.05)
        assert len(pair.server.received) < 1 * MiB
        pair.server.wire.resume_reading()
        await pair.server.until(lambda: len(pair.server.received) == 8 * MiB)
        await pair.client.until(lambda: pair.client.happened[-1] == "resume")


async def test_closing_sends_what_is_written_first(alpha: Holder) -> None:
    async with shaken(server_context(alpha.server), client_context(alpha.client)) as pair:
        pair.client.wire.write(bytes(3 * MiB))
        pair.client.wire.close()
        pair.client.wire.close()
        pair.client.wire.write(b"too late")
        await pair.server.until_lost()
        assert len(pair.server.received) == 3 * MiB
        assert pair.server.happened == ["made", "eof", "lost"]
        assert pair.server.error is None


async def test_a_socket_closed_without_good_bye_is_an_end(alpha: Holder) -> None:
    async with shaken(server_context(alpha.server), client_context(alpha.client)) as pair:
        pair.client.wire.abort()
        await pair.server.until_lost()
        assert pair.server.happened == ["made", "eof", "lost"]
        assert pair.server.error is None


async def test_a_changed_byte_ends_the_connection(alpha: Holder) -> None:
    async with shaken(server_context(alpha.server), client_context(alpha.client)) as pair:
        channel = pair.server.wire
        assert isinstance(channel, tls.TlsTransport)
        channel.data_received(b"\x17\x03\x03\x00\x20" + bytes(32))
        await pair.server.until_lost()
        assert "TLS" in str(pair.server.error)


def _revoked(pki: Pki, holder: Holder, other: Holder) -> tuple[Files, Files]:
    return replace(holder.server, crl=pki.revoke(other.client.cert)), other.client


def _revoked_server(pki: Pki, holder: Holder, other: Holder) -> tuple[Files, Files]:
    return holder.server, replace(other.client, crl=pki.revoke(holder.server.cert))


def _foreign(pki: Pki, holder: Holder, other: Holder) -> tuple[Files, Files]:
    stranger = Pki(pki.folder.with_name("other")).holder("beta")
    return holder.server, replace(stranger.client, ca=holder.client.ca)


def _foreign_server(pki: Pki, holder: Holder, other: Holder) -> tuple[Files, Files]:
    stranger = Pki(pki.folder.with_name("other")).holder("beta")
    return replace(stranger.server, ca=holder.client.ca), other.client


def _expired(pki: Pki, holder: Holder, other: Holder) -> tuple[Files, Files]:
    return holder.server, pki.holder("beta", expired=True).client


def _expired_server(pki: Pki, holder: Holder, other: Holder) -> tuple[Files, Files]:
    return pki.holder("alpha", expired=True).server, other.client


def _for_servers(pki: Pki, holder: Holder, other: Holder) -> tuple[Files, Files]:
    return holder.server, other.server


def _wrong_name(pki: Pki, holder: Holder, other: Holder) -> tuple[Files, Files]:
    return pki.holder("alpha", ["10.0.0.1"]).server, other.client


# What is wrong, what the server says, what the client says.
FAULTS = [
    (_revoked, "not accepted: certificate revoked", "this side's certificate has been revoked"),
    (_revoked_server, "this side's certificate has been revoked", "not accepted: certificate revoked"),
    (_foreign, "not accepted: unable to get local issuer|not accepted: certificate signature", "does not|could not"),
    (_foreign_server, "does not|could not", "not accepted: unable to get local issuer|certificate signature"),
    (_expired, "not accepted: certificate has expired", "this side's certificate has expired"),
    (_expired_server, "this side's certificate has expired", "not accepted: certificate has expired"),
    (_for_servers, "not accepted: unsuitable certificate purpose", "for another purpose|not accept"),
    (_wrong_name, "does not accept this side's certificate", r"not accepted: IP address mismatch.*127\.0\.0\.1"),
]


@pytest.mark.parametrize(("fault", "server_words", "client_words"), FAULTS)
async def test_faults(
    pki: Pki,
    alpha: Holder,
    fault: Callable[[Pki, Holder, Holder], tuple[Files, Files]],
    server_words: str,
    client_words: str,
) -> None:
    server, client = fault(pki, alpha, pki.holder("beta"))
    contexts = server_context(server, sanity=False), client_context(client, sanity=False)
    async with shaken(*contexts) as pair:
        assert isinstance(pair.server_error, errors.AuthenticationFailed)
        assert isinstance(pair.client_error, errors.AuthenticationFailed)
        assert re.search(server_words, str(pair.server_error))
        assert re.search(client_words, str(pair.client_error))
        assert pair.server.happened == []
        assert pair.client.happened == []


async def test_a_client_without_a_certificate(alpha: Holder) -> None:
    bare = ssl.create_default_context(cafile=alpha.client.ca)
    async with shaken(server_context(alpha.server), bare) as pair:
        assert "the client has shown no certificate" in str(pair.server_error)
        assert "this side has shown none" in str(pair.client_error)


async def test_without_verification_anything_goes_for_the_client(pki: Pki, alpha: Holder) -> None:
    stranger = Pki(pki.folder.with_name("other")).holder("beta")
    careless = client_context(alpha.client, verify=False)
    server = server_context(replace(stranger.server, ca=alpha.client.ca), sanity=False)
    async with shaken(server, careless) as pair:
        assert pair.server_identity is not None
        assert pair.client_identity is None
        assert pair.client.happened == ["made"]


async def test_who_is_not_admitted_is_told(alpha: Holder) -> None:
    def admit(identity: Identity | None) -> None:
        raise errors.AuthenticationFailed(f"not {identity}")

    async with shaken(server_context(alpha.server), client_context(alpha.client), admit=admit) as pair:
        assert "not O=test,CN=alpha" in str(pair.server_error)
        assert "the server does not let this side in" in str(pair.client_error)
        assert pair.server.happened == pair.client.happened == []


async def test_an_old_version_is_refused(alpha: Holder) -> None:
    old = client_context(alpha.client, "1.2")
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    async with shaken(server_context(alpha.server), old) as pair:
        assert "TLS version" in str(pair.server_error)
        assert "TLS version" in str(pair.client_error)
    async with shaken(server_context(alpha.server, "1.2"), old) as pair:
        assert pair.server_identity is not None


@pytest.mark.parametrize(
    ("sent", "words"),
    [
        (b"\0\0\0\x1c\x20\0\x80\x86" + bytes(20), "does not speak TLS"),
        (b"GET / HTTP/1.0\r\n\r\n", "HTTP"),
        (b"\x16\x03\x01", "closed the connection"),
        (b"", "closed the connection"),
    ],
)
async def test_what_is_not_tls(alpha: Holder, sent: bytes, words: str) -> None:
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    with ours:
        ours.sendall(sent)
        ours.shutdown(socket.SHUT_WR)
        with pytest.raises(errors.AuthenticationFailed, match=words):
            await tls.serve(theirs, End(), server_context(alpha.server), lambda identity: None)


async def test_a_silent_client_is_left_at_the_deadline(alpha: Holder) -> None:
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    with ours:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await tls.serve(theirs, End(), server_context(alpha.server), lambda identity: None)
        ours.setblocking(False)
        async with asyncio.timeout(10):
            assert await asyncio.get_running_loop().sock_recv(ours, 1) == b""


@pytest.mark.parametrize("told", [b"\x02", None])
async def test_a_server_that_does_not_confirm(alpha: Holder, told: bytes | None) -> None:
    """asyncio's own TLS as the server: the handshake is good, the byte is not."""

    class Unfriendly(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            assert isinstance(transport, asyncio.Transport)
            if told is not None:
                transport.write(told)
            transport.close()

    loop = asyncio.get_running_loop()
    server = await loop.create_server(Unfriendly, HOST, 0, ssl=server_context(alpha.server))
    async with server:
        client = End()
        channel = tls.TlsTransport(client_context(alpha.client), client, host=HOST)
        await loop.create_connection(lambda: channel, *server.sockets[0].getsockname())
        with pytest.raises(errors.AuthenticationFailed, match=r"let this side in|closed the connection"):
            await tls.handshake_done(channel)
        assert client.happened == []
