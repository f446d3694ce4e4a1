"""Migration without a tunnel, towards a libvirtd that a client has asked for it: QEMU's stream on a bare connection.

QEMU opens no port here, in either role. As the source, the daemon connects to where the other side's QEMU listens,
and hands that connection over. As the destination, it takes the connection at its own clear-text port: QEMU's stream
begins with four bytes that no packet of the RPC can begin with, a length far above the allowed one. Nothing in it
says which migration it belongs to, so one at a time waits for such a connection and the next one waits for its turn.

Nobody is asked who he is on such a connection, as in libvirt's own native migration; a tunnel is what asks.

Source: qemu/qemu_migration.c, qemuMigrationSrcPerformNative; QEMU's migration/qemu-file-types.h (QEMU_VM_FILE_MAGIC).
"""

from __future__ import annotations

import asyncio
import logging
import re
import socket
from collections.abc import Callable

from culvert.ground import errors
from culvert.ground.uri import ConnectionURI
from culvert.io import connector
from culvert.io.listener import Peer
from culvert.migration.arrival import Arrival
from culvert.migration.departure import Departure
from culvert.migration.ways import DirectWay
from culvert.migration.work import Background

log = logging.getLogger(__name__)

MAGIC = b"QEVM"  # QEMU_VM_FILE_MAGIC
TURN_TIMEOUT = 20.0  # seconds a prepare waits for the one before it to get its connection
FIRST_BYTES_TIMEOUT = 10.0  # seconds for a connection to show what it is; then it is taken for a client's
UNKNOWN_MAX = 20  # connections that have shown nothing yet
_PAUSE = 0.05  # seconds between two looks

# libvirt writes "tcp:HOST:PORT" where the user named none, else what he typed (qemuMigrationDstPrepareDirect).
_ADDRESS = re.compile(r"tcp:(?://)?(?P<host>\[[0-9A-Fa-f:.]+\]|[^\[\]/?:]+):(?P<port>[0-9]{1,5})/?")


# -- as the source --------------------------------------------------------------------------------------------------


def is_address(migration_uri: str) -> bool:
    """Whether ``migration_uri`` is a QEMU's own address, not a daemon's."""
    return _ADDRESS.fullmatch(migration_uri) is not None


async def perform(departure: Departure) -> None:
    """``departure.perform`` on a connection of its own to ``departure.destination_uri``."""
    found = _ADDRESS.fullmatch(departure.destination_uri)
    assert found is not None, "asked with is_address before"
    where = ConnectionURI("qemu", "tcp", host=found["host"].strip("[]"), port=int(found["port"]))
    sock = await departure.until_failed(_connect(where, departure.settings.connect_seconds))
    await departure.perform(DirectWay(sock, departure.options.setup(return_path=True)))


async def _connect(where: ConnectionURI, timeout: float) -> socket.socket:
    taken: list[asyncio.BaseTransport] = []

    class Taken(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            taken.append(transport)

    await connector.connect(where, Taken, timeout=timeout)
    (transport,) = taken
    assert isinstance(transport, asyncio.Transport)
    transport.pause_reading()
    sock: socket.socket = transport.get_extra_info("socket").dup()
    transport.abort()  # only asyncio's copy: the connection lives on in ours
    return sock


# -- as the destination ---------------------------------------------------------------------------------------------


class BareStreams:
    """Who waits for a connection that says nothing but QEMU's stream."""

    def __init__(self, background: Background) -> None:
        self._background = background
        self._turn = asyncio.Lock()
        self._waiting: Arrival | None = None
        self._unknown = 0

    @property
    def expecting(self) -> bool:
        """Whether an arrival still waits for its data."""
        return self._waiting is not None and not self._waiting.unexpected.is_set()

    async def expect(self, arrival: Arrival) -> None:
        """The next bare connection is for ``arrival``.

        Raises ``errors.ResourceBusy`` when another one's does not come within ``TURN_TIMEOUT`` seconds.
        """
        try:
            async with asyncio.timeout(TURN_TIMEOUT), self._turn:
                if self._waiting is not None:
                    await self._waiting.unexpected.wait()
                self._waiting = arrival
        except TimeoutError:
            other = self._waiting.domain.name if self._waiting is not None else ""
            raise errors.ResourceBusy(
                f"migration of domain '{arrival.domain.name}' without a tunnel: the data of domain '{other}' is"
                " waited for, and one at a time can be; --p2p --tunnelled needs no waiting"
            ) from None

    def divert(self, sock: socket.socket, peer: Peer, serve: Callable[[socket.socket, Peer], object]) -> bool:
        """Whether the new connection ``sock`` is looked into here first; ``serve`` gets it when it is a client's."""
        if peer.transport != "tcp" or not self.expecting or self._unknown >= UNKNOWN_MAX:
            return False
        self._unknown += 1
        self._background.spawn(f"first bytes of {peer.name}", self._look(sock, peer, serve))
        return True

    async def _look(self, sock: socket.socket, peer: Peer, serve: Callable[[socket.socket, Peer], object]) -> None:
        try:
            bare = await _is_bare(sock)
        except BaseException:
            sock.close()
            raise
        finally:
            self._unknown -= 1
        if not bare:
            serve(sock, peer)
            return
        with sock:
            arrival = self._waiting
            if arrival is None or arrival.unexpected.is_set():
                log.warning('bare stream peer="%s": no migration waits for it', peer.name)
                return
            log.info('domain=%s bare stream peer="%s"', arrival.domain.name, peer.name)
            try:
                await arrival.take(sock)
            except errors.RequestError as err:
                log.warning("domain=%s bare stream: %s", arrival.domain.name, err)


async def _is_bare(sock: socket.socket) -> bool:
    """Whether the first bytes are QEMU's; they stay where they are. False when they do not come in time."""
    try:
        async with asyncio.timeout(FIRST_BYTES_TIMEOUT):
            while True:
                await _readable(sock)
                seen = sock.recv(len(MAGIC), socket.MSG_PEEK)
                if not seen or not MAGIC.startswith(seen):
                    return False
                if seen == MAGIC:
                    return True
                await asyncio.sleep(_PAUSE)
    except (TimeoutError, OSError):
        return False


async def _readable(sock: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_reader(sock, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(sock)
