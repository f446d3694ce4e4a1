"""TLS between a socket's transport and a protocol above, with libvirt's confirmation byte.

Theory of operation. ``TlsTransport`` is a protocol to the socket below and a transport to the protocol above. What
comes in is decrypted whole and passed on at once, what goes out is encrypted at once, so the only queues are the
socket's own: its buffer limits and its pausing are the ones that hold. The protocol above is connected when the
handshake is done, the peer admitted and the byte sent (server) or read (client); until then the protocol sees
nothing.

The byte (libvirt, rpc/virnettlscontext.c and virnetclient.c): with TLS 1.3 a client is through with its handshake
before the server has looked at its certificate. So the server says 0x01 inside TLS when it lets the client in. Here a
client that is not let in is told 0x00, which libvirt's client words as "server verification … failed".

asyncio's own TLS is not used because it drops the alert of a handshake that fails: the other end would see a closed
connection and never the reason.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable, Iterable
from enum import Enum
from typing import Any

from culvert.ground import errors
from culvert.ground.units import KiB
from culvert.io.detached import TlsSession
from culvert.io.tls_context import explain
from culvert.io.tls_identity import Identity

ADMITTED = b"\x01"
NOT_ADMITTED = b"\x00"
_READ = 16 * KiB  # the longest record (RFC 8446 section 5.1): a read never answers more than one
_LINGER = 1.0  # seconds in which a failed handshake's alert may leave


class _State(Enum):
    HANDSHAKE = "handshake"
    CONFIRMATION = "confirmation"
    OPEN = "open"
    FAILED = "failed"


class TlsTransport(asyncio.Protocol, asyncio.Transport):
    """One TLS connection under ``upper``. ``host`` is who the server has to be (client only); ``admit`` is asked who
    may come in once the client is verified (server only) and raises ``errors.RequestError`` for who may not.

    ``ready`` is the verified peer's identity (None without verification) once ``upper`` is connected, or raises
    ``errors.AuthenticationFailed`` with the reason; ``trusted`` is false when the reason is the other's certificate.
    """

    def __init__(
        self,
        context: ssl.SSLContext,
        upper: asyncio.Protocol,
        *,
        host: str | None = None,
        admit: Callable[[Identity | None], object] = lambda identity: None,
    ) -> None:
        super().__init__()
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._server = host is None
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=self._server, server_hostname=host)
        self._upper = upper
        self._admit = admit
        self._state = _State.HANDSHAKE
        self._raw: asyncio.Transport | None = None
        self._error: Exception | None = None
        self._identity: Identity | None = None
        self.trusted = True
        self._ended = False
        self._detached = False
        self.ready: asyncio.Future[Identity | None] = asyncio.get_running_loop().create_future()
        self.closed = asyncio.Event()

    # What the socket's transport calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._raw = transport
        self._advance()

    def data_received(self, data: bytes) -> None:
        self._incoming.write(data)
        self._advance()

    def eof_received(self) -> None:
        if self._state is _State.OPEN:
            self._upper.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        opened = self._state is _State.OPEN
        if not opened:
            self._refuse(f"connection failed: {exc}" if exc else self._hung_up())
        self.closed.set()
        if opened:
            # Who has said good-bye need not wait for ours.
            self._upper.connection_lost(self._error or (None if self._ended else exc))

    def pause_writing(self) -> None:
        if self._state is _State.OPEN:
            self._upper.pause_writing()

    def resume_writing(self) -> None:
        if self._state is _State.OPEN:
            self._upper.resume_writing()

    # TLS.

    def _advance(self) -> None:
        """Go on as far as what has come allows."""
        try:
            if self._state is _State.HANDSHAKE:
                self._tls.do_handshake()
                self._shaken()
            if self._state is _State.CONFIRMATION:
                self._confirmed(self._tls.read(1))
        except ssl.SSLWantReadError:
            self._flush()
        except ssl.SSLError as err:
            self.trusted = not isinstance(err, ssl.SSLCertVerificationError)
            self._refuse(explain(err))
        if self._state is _State.OPEN:
            self._pass_on()

    def _shaken(self) -> None:
        self._identity = Identity.of(self._tls.getpeercert())
        if not self._server:
            self._state = _State.CONFIRMATION
            self._flush()
            return
        try:
            self._admit(self._identity)
        except errors.RequestError as err:
            self._tls.write(NOT_ADMITTED)
            self._refuse(str(err))
            return
        self._tls.write(ADMITTED)
        self._open()

    def _confirmed(self, told: bytes) -> None:
        if told == ADMITTED:
            self._open()
        else:
            self._refuse("the server does not let this side in" if told else self._hung_up())

    def _open(self) -> None:
        self._flush()
        self._state = _State.OPEN
        self._upper.connection_made(self)
        if not self.ready.done():
            self.ready.set_result(self._identity)

    def _hung_up(self) -> str:
        return (
            "the other end closed the connection during the TLS handshake; does it expect TLS on this port, and does "
            "it accept this side's certificate?"
        )

    def _refuse(self, reason: str) -> None:
        """The connection is not to be; an alert that waits is sent."""
        if self._state is _State.FAILED:
            return
        self._state = _State.FAILED
        if not self.ready.done():
            self.ready.set_exception(errors.AuthenticationFailed(f"TLS handshake failed: {reason}"))
        self._flush()
        if self._raw is not None:
            self._raw.close()

    def _pass_on(self) -> None:
        """Decrypt everything that has come and hand it over in one piece."""
        chunks: list[bytes] = []
        try:
            while not self._ended:
                chunk = self._tls.read(_READ)
                chunks.append(chunk)
                self._ended = not chunk
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self._ended = True
        except ssl.SSLError as err:
            self._error = ConnectionError(f"TLS: {explain(err)}")
        self._flush()  # the answer to a key update
        if data := b"".join(chunks):
            self._upper.data_received(data)
        if self._error is not None:
            self.abort()
        elif self._ended and not self.is_closing():
            self._upper.eof_received()
            self.close()

    def _flush(self) -> None:
        if self._outgoing.pending and self._raw is not None:
            self._raw.write(self._outgoing.read())

    def _encrypt(self, data: bytes | bytearray | memoryview) -> None:
        view = memoryview(data).cast("B")
        while view:
            view = view[self._tls.write(view) :]

    # What the protocol above calls.

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.writelines([data])

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview]) -> None:
        if self.is_closing():
            return
        for data in list_of_data:
            self._encrypt(data)
        self._flush()

    def close(self) -> None:
        """Say good-bye, send what is written, close. Idempotent."""
        if self._raw is None or self._raw.is_closing():
            return
        if not self._detached:
            with contextlib.suppress(ssl.SSLError):  # the other's own good-bye is not waited for
                self._tls.unwrap()
        self._flush()
        self._raw.close()

    def abort(self) -> None:
        if self._raw is not None and not self.closed.is_set():
            self._raw.abort()

    def is_closing(self) -> bool:
        return self._raw is None or self._raw.is_closing()

    def pause_reading(self) -> None:
        assert self._raw is not None
        self._raw.pause_reading()

    def resume_reading(self) -> None:
        assert self._raw is not None
        self._raw.resume_reading()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        assert self._raw is not None
        self._raw.set_write_buffer_limits(high, low)

    def get_write_buffer_size(self) -> int:
        return self._raw.get_write_buffer_size() if self._raw is not None else 0

    def can_write_eof(self) -> bool:
        return False

    def detach(self) -> TlsSession:
        """The TLS state for somebody who goes on with it; what is written still goes out, without a good-bye."""
        self._detached = True
        return TlsSession(self._tls, self._incoming, self._outgoing)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """As any transport; ``ssl_object`` is the connection's ``ssl.SSLObject``."""
        if name == "ssl_object":
            return self._tls
        return self._raw.get_extra_info(name, default) if self._raw is not None else default


async def handshake_done(channel: TlsTransport) -> Identity | None:
    """Wait for ``channel.ready``; a channel that does not get there, or is not waited for, is closed afterwards."""
    try:
        return await channel.ready
    except errors.AuthenticationFailed:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LINGER):
                await channel.closed.wait()
        channel.abort()
        raise
    except BaseException:
        channel.abort()
        raise


async def serve(
    sock: socket.socket,
    upper: asyncio.Protocol,
    context: ssl.SSLContext,
    admit: Callable[[Identity | None], object],
) -> Identity | None:
    """Shake hands as the server with who has connected ``sock``, and connect ``upper``.

    Raises ``errors.AuthenticationFailed`` with the reason. The caller sets the deadline.
    """
    loop = asyncio.get_running_loop()
    _, channel = await loop.connect_accepted_socket(lambda: TlsTransport(context, upper, admit=admit), sock)
    return await handshake_done(channel)
