"""One network connection under the frames: clear text or TLS, never waiting.

``send`` and ``receive`` move what can be moved now and say how much; 0 is "not now". An end is an exception, always
an ``OSError``: ``Closed`` when the peer closed the connection, ``ConnectionResetError`` and the like when it broke,
``ssl.SSLError`` when what came is not what the peer encrypted. What had been received before is handed out first.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
from typing import Protocol

from culvert.ground.units import KiB
from culvert.io.detached import Detached, TlsSession
from culvert.tunnel.pipe import Pipe

_RECORD = 16 * KiB  # RFC 8446 section 5.1: the longest plaintext of a record
# What is encrypted before the socket is asked: small enough to stay in the processor's cache on its way, and to be
# allocated without asking the kernel for pages each time (mallopt(3), M_MMAP_THRESHOLD).
_BATCH = 6 * _RECORD
_READ = 256 * KiB
# So much of a long frame at once: 1 ms of a link of 1 Gb/s.
_LOW_WATER = 128 * KiB


class Closed(ConnectionError):
    """The peer closed the connection."""

    def __init__(self) -> None:
        super().__init__("the other end closed the connection")


class DataConnection(Protocol):
    """``sent`` and ``received`` count the bytes on the wire. ``diverts``: ``divert`` is possible now. ``buffered``:
    ``receive`` may have something although the socket has not; ``unsent``: something accepted has not gone to the
    socket yet."""

    sock: socket.socket
    sent: int
    received: int

    @property
    def diverts(self) -> bool: ...
    @property
    def buffered(self) -> bool: ...
    @property
    def unsent(self) -> bool: ...
    def send(self, header: memoryview, payload: memoryview) -> int: ...  # less than all: the network is full
    def flush(self) -> bool: ...
    def receive(self, buffers: list[memoryview]) -> int: ...
    def divert(self, pipe: Pipe, limit: int) -> int: ...
    def expect(self, count: int) -> None: ...
    def hold(self, count: int) -> None: ...
    def discard(self) -> None: ...
    def shutdown(self) -> None: ...
    def close(self) -> None: ...


def over(connection: Detached) -> DataConnection:
    """``connection``, which is its own from now on, clear text or TLS."""
    return Plain(connection) if connection.session is None else Secure(connection, connection.session)


class _LowWater:
    """SO_RCVLOWAT of a socket, set when it changes: how much has to come before ``poll`` says so. (TCP keeps to it,
    socket(7); a UNIX socket does not, and is used in tests only.) The end, and errors, are said at once."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._mark = 1

    def want(self, count: int) -> None:
        mark = _LOW_WATER if count >= _LOW_WATER else 1
        if mark != self._mark:
            self._mark = mark
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, mark)


# linux/tcp.h; Python has no name for it before 3.12.
TCP_NOTSENT_LOWAT = 25


def _hold(sock: socket.socket, count: int) -> None:
    with contextlib.suppress(OSError):  # a UNIX socket, which is used in tests only
        sock.setsockopt(socket.IPPROTO_TCP, TCP_NOTSENT_LOWAT, count)


def _take(leftover: memoryview, buffers: list[memoryview]) -> int:
    """Copy from ``leftover`` into ``buffers`` as far as it goes."""
    done = 0
    for buffer in buffers:
        piece = leftover[done : done + len(buffer)]
        buffer[: len(piece)] = piece
        done += len(piece)
    return done


class Plain:
    """Clear text."""

    def __init__(self, connection: Detached) -> None:
        self.sock = connection.sock
        self.sent = 0
        self.received = 0
        self._lowat = _LowWater(connection.sock)
        self._leftover = memoryview(connection.leftover)

    @property
    def diverts(self) -> bool:
        return not self._leftover

    @property
    def buffered(self) -> bool:
        return bool(self._leftover)

    @property
    def unsent(self) -> bool:
        return False

    def send(self, header: memoryview, payload: memoryview) -> int:
        """How many bytes of ``header`` and then ``payload`` are on their way."""
        try:
            both = header and payload
            count = self.sock.sendmsg((header, payload)) if both else self.sock.send(payload or header)
        except BlockingIOError:
            return 0
        self.sent += count
        return count

    def flush(self) -> bool:
        """Whether nothing accepted is still here."""
        return True

    def receive(self, buffers: list[memoryview]) -> int:
        """Fill ``buffers`` in order with what has come."""
        if self._leftover:
            count = _take(self._leftover, buffers)
            self._leftover = self._leftover[count:]
            self.received += count
            return count
        try:
            count = self.sock.recv_into(buffers[0]) if len(buffers) == 1 else self.sock.recvmsg_into(buffers)[0]
        except BlockingIOError:
            return 0
        if not count:
            raise Closed
        self.received += count
        return count

    def expect(self, count: int) -> None:
        """``count`` more bytes are certain to come: do not wake up for fewer of them."""
        self._lowat.want(count)

    def hold(self, count: int) -> None:
        """The kernel is to take no more than about so many bytes that it does not send at once (tcp(7)); 0: as many
        as it likes."""
        _hold(self.sock, count)

    def divert(self, pipe: Pipe, limit: int) -> int:
        """Receive into ``pipe`` (which is open) instead."""
        count = pipe.fill(self.sock.fileno(), limit)
        if count == 0:
            raise Closed
        self.received += count or 0
        return count or 0

    def discard(self) -> None:
        """Throw away some of what has come."""
        _discard(self.sock)

    def shutdown(self) -> None:
        """Nothing more is sent; the peer reads the end after all that has been."""
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self.sock.close()


class Secure:
    """TLS. Only as much is encrypted as the socket is about to take, so that little has to be kept as ciphertext."""

    def __init__(self, connection: Detached, session: TlsSession) -> None:
        self.sock = connection.sock
        self.sent = 0
        self.received = 0
        self._lowat = _LowWater(connection.sock)
        self._leftover = memoryview(connection.leftover)
        self._session = session
        self._ciphertext = memoryview(b"")
        self._input = memoryview(bytearray(_READ))
        self._ended = False
        self._broken: OSError | None = None

    @property
    def diverts(self) -> bool:
        return False

    @property
    def buffered(self) -> bool:
        return bool(self._leftover or self._session.incoming.pending or self._session.tls.pending())

    @property
    def unsent(self) -> bool:
        return bool(self._ciphertext or self._session.outgoing.pending)

    def send(self, header: memoryview, payload: memoryview) -> int:
        """How many bytes of ``header`` and then ``payload`` have been encrypted; they need not be sent again."""
        if not self.flush():
            return 0
        count = 0
        try:
            if header:
                # One record for a header and a small payload. A large one goes on at a record's boundary.
                first = b"".join((header, payload[: _RECORD - len(header)]))
                count = self._session.tls.write(first)
                payload = payload[count - len(header) :]
            while self.flush() and payload:
                done = self._session.tls.write(payload[:_BATCH])
                payload = payload[done:]
                count += done
        except OSError as err:
            # Some of it may have reached the peer, which will say so: it counts as sent, and the next call raises.
            self._broken = err
        return count

    def flush(self) -> bool:
        """Send ciphertext; whether nothing of it is still here."""
        if self._broken is not None:
            raise self._broken
        while True:
            if not self._ciphertext:
                if not self._session.outgoing.pending:
                    return True
                self._ciphertext = memoryview(self._session.outgoing.read())
            try:
                count = self.sock.send(self._ciphertext)
            except BlockingIOError:
                return False
            self.sent += count
            self._ciphertext = self._ciphertext[count:]

    def receive(self, buffers: list[memoryview]) -> int:
        """Fill ``buffers`` in order with what has come. What TLS itself wants to answer is ``unsent`` afterwards."""
        if self._leftover:
            count = _take(self._leftover, buffers)
            self._leftover = self._leftover[count:]
            return count
        total = 0
        for whole in buffers:
            buffer = whole
            while buffer:
                try:
                    count = int(self._session.tls.read(len(buffer), buffer))
                except ssl.SSLWantReadError:
                    if total or not self._refill():
                        return total
                    continue
                except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
                    count = 0
                if not count:
                    if total:
                        return total
                    raise Closed
                total += count
                buffer = buffer[count:]
        return total

    def expect(self, count: int) -> None:
        """``count`` more bytes are certain to come: do not wake up for fewer of them."""
        self._lowat.want(count - 2 * _RECORD)  # up to a record of them may be here already

    def hold(self, count: int) -> None:
        """The kernel is to take no more than about so many bytes that it does not send at once; 0: as many as it
        likes."""
        _hold(self.sock, count)

    def divert(self, pipe: Pipe, limit: int) -> int:
        raise TypeError("ciphertext is of no use to QEMU")

    def _refill(self) -> bool:
        if self._ended:
            raise Closed
        try:
            count = self.sock.recv_into(self._input)
        except BlockingIOError:
            return False
        self.received += count
        if count:
            self._session.incoming.write(self._input[:count])
        else:
            self._ended = True
            self._session.incoming.write_eof()
        return True

    def discard(self) -> None:
        """Throw away some of what has come."""
        _discard(self.sock)

    def shutdown(self) -> None:
        """Nothing more is sent; the peer reads the end after all that has been."""
        with contextlib.suppress(OSError):
            self._session.tls.unwrap()  # our own good-bye; the peer's is not waited for
        with contextlib.suppress(OSError):
            self.flush()
            self.sock.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self.sock.close()


def _discard(sock: socket.socket) -> None:
    try:
        if not sock.recv(_READ):
            raise Closed
    except BlockingIOError:
        return
