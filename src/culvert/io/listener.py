"""Listening sockets, UNIX, TCP and TLS, and who it is that connects."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import socket
import stat
import struct
from dataclasses import dataclass

from culvert.ground import errors
from culvert.io import address
from culvert.io.tls_side import ServerSide

log = logging.getLogger(__name__)

BACKLOG = 1000  # max_queued_clients of libvirtd.conf
_CREDENTIALS = struct.Struct("3i")  # struct ucred: pid, uid, gid

# accept(2) fails with these when something runs out; the connection waits in the backlog until it is there again.
_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
# And with these when the connection has died before it was accepted (accept(2), "Error handling").
_TRANSIENT = frozenset(
    {
        *(errno.ECONNABORTED, errno.EINTR, errno.EAGAIN, errno.EPROTO, errno.ENETDOWN, errno.ENOPROTOOPT),
        *(errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.EOPNOTSUPP, errno.ENETUNREACH, errno.EPERM),
    }
)
_EXHAUSTED_PAUSE = 0.2  # seconds; long enough not to spin, short enough not to be felt


@dataclass(frozen=True, slots=True)
class Accepted:
    """The other end of an accepted connection.

    ``transport`` is "unix", "tcp" or "tls"; ``name`` is for people and logs; ``local_address`` is where it came in
    (host, port), None for unix; ``remote_address`` where from, likewise; ``uid`` and ``pid`` are what the kernel says
    of a unix peer (SO_PEERCRED), None for the others. A tls peer has still to shake hands: ``security`` says with
    whom. ``read_only``: it came by a socket that is for looking only, whatever it says of itself.
    """

    transport: str
    name: str
    local_address: tuple[str, int] | None = None
    remote_address: tuple[str, int] | None = None
    uid: int | None = None
    pid: int | None = None
    security: ServerSide | None = None
    read_only: bool = False

    @property
    def way(self) -> str:
        """The kind of listener it came by: the transport, and "unix-ro" where one may only look."""
        return self.transport + ("-ro" if self.read_only else "")


class Listener:
    """One listening socket. ``name`` is its path or host:port; with ``security`` its clients have to speak TLS, and
    with ``read_only`` they may only look."""

    def __init__(
        self, sock: socket.socket, path: str = "", security: ServerSide | None = None, *, read_only: bool = False
    ) -> None:
        sock.setblocking(False)
        self._socket = sock
        self._path = path
        self._inode = _inode(path) if path else None
        self._security = security
        self.read_only = read_only
        self.transport = "unix" if sock.family == socket.AF_UNIX else "tls" if security else "tcp"

    @property
    def way(self) -> str:
        """Its kind, as ``Accepted.way``."""
        return self.transport + ("-ro" if self.read_only else "")

    @property
    def address(self) -> tuple[str, int] | None:
        """Host and port really listened on; None for unix."""
        if self.transport == "unix":
            return None
        host, port = self._socket.getsockname()[:2]
        return str(host), int(port)

    @property
    def name(self) -> str:
        return self._path if self.address is None else _host_port(*self.address)

    async def accept(self) -> tuple[socket.socket, Accepted]:
        """Wait for the next client: its socket (non-blocking, the caller's to close) and who it is.

        Descriptors or memory running out is logged and waited for. Raises ``OSError`` when the listening socket
        itself is of no more use.
        """
        loop = asyncio.get_running_loop()
        while True:
            try:
                sock, _ = await loop.sock_accept(self._socket)
            except OSError as err:
                if err.errno in _EXHAUSTED:
                    log.warning("accept wait listener=%s error=%s", self.name, err)
                    await asyncio.sleep(_EXHAUSTED_PAUSE)
                elif err.errno not in _TRANSIENT:
                    raise
                continue
            try:
                return sock, self._peer(sock)
            except OSError:  # already gone again
                sock.close()

    def _peer(self, sock: socket.socket) -> Accepted:
        if self.transport == "unix":
            raw = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
            pid, uid, _ = _CREDENTIALS.unpack(raw)
            return Accepted("unix", f"pid {pid} uid {uid}", uid=uid, pid=pid, read_only=self.read_only)
        # A client without keepalive of the protocol's own that vanishes must still be noticed some day.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        # asyncio sets it on connections that it makes, not on those whose listener was made without naming TCP; and a
        # guest stands still for the 40 ms that a small answer would else be kept back for (RFC 1122 section 4.2.3.4).
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        host, port = sock.getpeername()[:2]
        local = sock.getsockname()
        where = (str(local[0]), int(local[1]))
        come = (str(host), int(port))
        return Accepted(self.transport, _host_port(*come), where, come, security=self._security)

    def close(self) -> None:
        """Stop listening and remove the socket file, if it is still ours. Idempotent.

        An ``accept`` that waits goes on waiting; it is its caller's to cancel.
        """
        if self._socket.fileno() >= 0:
            # The loop keeps what it watches by number and would not watch the next file that gets this one.
            with contextlib.suppress(RuntimeError):  # no loop runs any more
                asyncio.get_running_loop().remove_reader(self._socket.fileno())
        self._socket.close()
        if self._inode is not None and _inode(self._path) == self._inode:
            os.unlink(self._path)
        self._inode = None


async def listen_unix(path: str | os.PathLike[str], *, mode: int = 0o600, read_only: bool = False) -> Listener:
    """Listen on a UNIX socket with file mode ``mode``; its folder exists.

    A socket file that nobody listens on any more is replaced. Raises ``errors.ResourceBusy`` when a daemon is alive
    behind it, or a file that is not a socket is in the way; ``errors.SystemCallError`` when the kernel refuses.
    """
    name = os.fspath(path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with address.short(name) as short:
            _clear(name, short)
            sock.bind(short)
            os.chmod(short, mode)
            sock.listen(BACKLOG)
        return Listener(sock, name, read_only=read_only)
    except OSError as err:
        sock.close()
        raise errors.SystemCallError(f"cannot listen on '{name}': {err.strerror}", errno=err.errno) from err
    except BaseException:
        sock.close()
        raise


def _clear(name: str, short: str) -> None:
    """Make room for a socket file at ``name``."""
    try:
        mode = os.lstat(short).st_mode
    except FileNotFoundError:
        return
    # connect(2) refuses a plain file with the very error of a dead socket, and that file may be precious.
    if not stat.S_ISSOCK(mode):
        raise errors.ResourceBusy(f"cannot listen on '{name}': the file there is not a socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)  # with a full queue EAGAIN is the answer: somebody is there
        try:
            probe.connect(short)
        except ConnectionRefusedError:
            pass
        except BlockingIOError:
            raise errors.ResourceBusy(f"another daemon is listening on '{name}' and is very busy") from None
        else:
            raise errors.ResourceBusy(f"another daemon is listening on '{name}'")
    log.info("stale socket removed path=%s", name)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(short)


async def listen_tcp(host: str, port: int, security: ServerSide | None = None) -> list[Listener]:
    """Listen on every address of ``host`` ("" for all of this machine's); port 0 takes a free one, the same for all.

    With ``security`` for TLS, without for clear-text. Raises ``errors.SystemCallError`` naming the address.
    """
    loop = asyncio.get_running_loop()
    listeners: list[Listener] = []
    try:
        found = await loop.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, _, _, _, where in dict.fromkeys(found):
            chosen = (where[0], port or _chosen(listeners), *where[2:])
            listeners.append(_listen(family, chosen, security))
    except (OSError, UnicodeError) as err:
        for listener in listeners:
            listener.close()
        if isinstance(err, UnicodeError):
            number, reason = None, "it is no host name"
        else:
            number = None if isinstance(err, socket.gaierror) else err.errno  # getaddrinfo's numbers are its own
            reason = err.strerror or str(err)
        raise errors.SystemCallError(f"cannot listen on {_host_port(host, port)}: {reason}", errno=number) from err
    return listeners


def _chosen(listeners: list[Listener]) -> int:
    found = listeners[0].address if listeners else None
    return found[1] if found else 0


def _listen(family: int, where: tuple[object, ...], security: ServerSide | None) -> Listener:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(where)
        sock.listen(BACKLOG)
    except BaseException:
        sock.close()
        raise
    return Listener(sock, security=security)


def _inode(path: str) -> tuple[int, int] | None:
    try:
        found = os.lstat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _host_port(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
