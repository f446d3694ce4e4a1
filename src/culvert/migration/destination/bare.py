"""Migration without a tunnel into this host: QEMU's stream on a bare connection, from a libvirtd.

QEMU opens no port here (the other direction is ``native``). The connection comes to the daemon's own clear-text port:
QEMU's stream begins with four bytes that no packet of the RPC can begin with, a length far above the allowed one.
Nothing in it says which migration it belongs to, so one at a time waits for such a connection and the next one waits
for its turn.

Nobody is asked who he is on such a connection, as in libvirt's own native migration; a tunnel is what asks.

Source: QEMU's migration/qemu-file-types.h (QEMU_VM_FILE_MAGIC).
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable

from culvert.channels.work import Background
from culvert.ground import errors
from culvert.io.listener import Accepted
from culvert.migration.destination.intake import Intake

log = logging.getLogger(__name__)

MAGIC = b"QEVM"  # QEMU_VM_FILE_MAGIC
TURN_TIMEOUT = 20.0  # seconds a prepare waits for the one before it to get its connection
FIRST_BYTES_TIMEOUT = 10.0  # seconds for a connection to show what it is; then it is taken for a client's
UNKNOWN_MAX = 20  # connections that have shown nothing yet
_PAUSE = 0.05  # seconds between two looks


class BareStreams:
    """Who waits for a connection that says nothing but QEMU's stream."""

    def __init__(self, background: Background) -> None:
        self._background = background
        self._turn = asyncio.Lock()
        self._waiting: Intake | None = None
        self._unknown = 0

    @property
    def expecting(self) -> bool:
        """Whether an arrival still waits for its data."""
        return self._waiting is not None and not self._waiting.unexpected.is_set()

    async def expect(self, intake: Intake) -> None:
        """The next bare connection is for ``intake``.

        Raises ``errors.ResourceBusy`` when another one's does not come within ``TURN_TIMEOUT`` seconds.
        """
        try:
            async with asyncio.timeout(TURN_TIMEOUT), self._turn:
                if self._waiting is not None:
                    await self._waiting.unexpected.wait()
                self._waiting = intake
        except TimeoutError:
            other = self._waiting.domain.name if self._waiting is not None else ""
            raise errors.ResourceBusy(
                f"migration of domain '{intake.domain.name}' without a tunnel: the data of domain '{other}' is"
                " waited for, and one at a time can be; --p2p --tunnelled needs no waiting"
            ) from None

    def divert(self, sock: socket.socket, peer: Accepted, serve: Callable[[socket.socket, Accepted], object]) -> bool:
        """Whether the new connection ``sock`` is looked into here first; ``serve`` gets it when it is a client's."""
        if peer.transport != "tcp" or not self.expecting or self._unknown >= UNKNOWN_MAX:
            return False
        self._unknown += 1
        self._background.spawn(f"first bytes of {peer.name}", self._look(sock, peer, serve))
        return True

    async def _look(
        self, sock: socket.socket, peer: Accepted, serve: Callable[[socket.socket, Accepted], object]
    ) -> None:
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
            intake = self._waiting
            if intake is None or intake.unexpected.is_set():
                log.warning('bare stream peer="%s": no migration waits for it', peer.name)
                return
            log.info('domain=%s bare stream peer="%s"', intake.domain.name, peer.name)
            try:
                await intake.take(sock)
            except errors.RequestError as err:
                log.warning("domain=%s bare stream: %s", intake.domain.name, err)


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
