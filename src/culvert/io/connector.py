"""Connections to a daemon, by URI."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from culvert.ground import errors, ssh_command
from culvert.ground.uri import ConnectionURI
from culvert.io import address, ssh, tls
from culvert.io.ssh import SshProcess
from culvert.io.tls_side import ClientSide

P = TypeVar("P", bound=asyncio.Protocol)

DEFAULT_TIMEOUT = 30.0  # seconds
LIBVIRT_SOCKET = "/run/libvirt/libvirt-sock"  # where qemu+unix:///system without "socket=" leads
_NEXT_ADDRESS = 0.25  # seconds until the next address of a host is tried beside the first (RFC 8305 section 5)
_SSH_SHARE = 0.75  # of the time for a connection
_QUEUE_FULL_PAUSE = 0.05  # seconds between attempts when a daemon's queue of connections is full


def peer_name(uri: ConnectionURI) -> str:
    """What ``uri`` leads to, for people: a socket path or host:port; a host alone where ssh knows the port."""
    if uri.transport == "unix":
        return uri.socket_path or LIBVIRT_SOCKET
    host = f"[{uri.host}]" if ":" in uri.host else uri.host
    return f"{host}:{uri.port}" if uri.port else host


async def connect(
    uri: ConnectionURI,
    factory: Callable[[], P],
    *,
    timeout: float = DEFAULT_TIMEOUT,
    security: ClientSide | None = None,
    carried: Callable[[SshProcess], object] = lambda ssh: None,
) -> P:
    """Connect to ``uri`` and join the socket to what ``factory`` makes (its ``connection_made`` has been called).

    With tls both ends have checked each other's certificate and the server has let this side in; ``security`` says
    with which files, by default those in the usual places. With ssh the connection leads into a process, which
    ``carried`` is told, and nobody has been reached yet: what stands in the way is in its ``words`` once it has
    ended.

    Raises ``errors.SystemCallError`` when the daemon cannot be reached (without an errno when its name is not known),
    ``errors.OperationTimeout`` after ``timeout`` seconds, ``errors.AuthenticationFailed`` when one end does not trust
    the other, ``errors.InvalidArgument`` naming a certificate file that cannot be used,
    ``errors.OperationUnsupported`` for a transport culvert does not have. After an error or cancellation nothing is
    left open.
    """
    name = peer_name(uri)
    way = _WAYS.get(uri.transport)
    if way is None:
        raise errors.OperationUnsupported(f"cannot connect to '{uri}': transport '{uri.transport}' is not supported")
    try:
        async with asyncio.timeout(timeout):
            protocol = await way(uri, factory, _Given(security or ClientSide(), timeout, carried))
    except TimeoutError:
        raise errors.OperationTimeout(
            f"unable to connect to server at '{name}': no answer in {timeout:g} s"
        ) from None
    except (socket.gaierror, UnicodeError) as err:  # a name that no resolver knows, or would be asked for
        # getaddrinfo's numbers are its own, and no errno. The words are libvirt's (virNetSocketNewConnectTCP).
        why = "it is no host name" if isinstance(err, UnicodeError) else err.strerror or err
        unresolved = f"unable to resolve address '{uri.host}' service '{uri.port}': {why}"
        raise errors.SystemCallError(unresolved, errno=None) from err
    except OSError as err:
        # asyncio words a refusal after its own functions; the system's words are the ones people know.
        reason = os.strerror(err.errno) if err.errno else str(err)
        raise errors.SystemCallError(f"unable to connect to server at '{name}': {reason}", errno=err.errno) from err
    return protocol


@dataclass(frozen=True, slots=True)
class _Given:
    """What ``connect`` was given for those ways that need it."""

    security: ClientSide
    timeout: float
    carried: Callable[[SshProcess], object]


async def _unix(uri: ConnectionURI, factory: Callable[[], P], given: _Given) -> P:
    loop = asyncio.get_running_loop()
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        with address.short(peer_name(uri)) as path:
            await _dial(sock, path)
        _, protocol = await loop.create_unix_connection(factory, sock=sock)
    except BaseException:
        sock.close()
        raise
    return protocol


async def _dial(sock: socket.socket, path: str) -> None:
    # A UNIX socket connects at once, or says EAGAIN when the other's queue is full (connect(2)). Nothing then tells
    # when there is room: a selector calls such a socket writable, and the loop's sock_connect takes it for connected.
    while True:
        try:
            sock.connect(path)
        except BlockingIOError:
            await asyncio.sleep(_QUEUE_FULL_PAUSE)
        else:
            return


async def _tcp(uri: ConnectionURI, factory: Callable[[], P], given: _Given) -> P:
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.create_connection(
        factory, uri.host, uri.port, happy_eyeballs_delay=_NEXT_ADDRESS
    )
    sock = transport.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    return protocol


async def _tls(uri: ConnectionURI, factory: Callable[[], P], given: _Given) -> P:
    try:
        context = await given.security.prepare(uri)
    except errors.InvalidArgument as err:
        raise errors.InvalidArgument(f"unable to connect to server at '{peer_name(uri)}': {err}") from err
    upper = factory()
    try:
        channel = await _tcp(uri, lambda: tls.TlsTransport(context, upper, host=uri.host), given)
    except ValueError as err:  # a host that no certificate can name
        raise errors.InvalidArgument(f"connection URI '{uri}': {err}") from err
    try:
        await tls.handshake_done(channel)
    except errors.AuthenticationFailed as err:
        hint = await asyncio.to_thread(given.security.hint, uri) if channel.trusted else ""
        raise errors.AuthenticationFailed(f"unable to connect to server at '{peer_name(uri)}': {err}{hint}") from err
    return upper


async def _ssh(uri: ConnectionURI, factory: Callable[[], P], given: _Given) -> P:
    # ssh gives up first, so that it can say what it has waited for.
    words = ssh_command.arguments(uri, connect_seconds=given.timeout * _SSH_SHARE)
    process = await ssh.start(words)
    try:
        _, protocol = await asyncio.get_running_loop().create_unix_connection(factory, sock=process.sock)
    except BaseException:
        process.sock.close()
        process.kill()
        raise
    given.carried(process)
    return protocol


_WAYS = {"unix": _unix, "tcp": _tcp, "tls": _tls, "ssh": _ssh}
