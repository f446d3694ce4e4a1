"""The connection by which a source talks to the destination of one migration; opened anew when it has gone."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

from culvert.ground import errors
from culvert.migration.peers import peer

log = logging.getLogger(__name__)

Spawn = Callable[[str, Coroutine[Any, Any, Any]], object]


class PeerConnection:
    """To the daemon at ``uri``. ``spawn`` runs what holds the connection; ``hypervisor`` as ``Dialler`` has."""

    def __init__(self, name: str, uri: str, dialler: peer.Dialler, spawn: Spawn, *, hypervisor: bool = True) -> None:
        self.uri = uri
        self._name = name
        self._dialler = dialler
        self._spawn = spawn
        self._hypervisor = hypervisor
        self._peer: peer.Peer | None = None
        self._release = asyncio.Event()

    async def open(self) -> peer.Peer:
        """A connection of its own for what follows; an earlier one is let go. Raises as ``Dialler.connect``."""
        self.close()
        self._release = asyncio.Event()
        ready: asyncio.Future[peer.Peer] = asyncio.get_running_loop().create_future()
        self._spawn(f"{self._name}: connection", self._hold(ready, self._release))
        try:
            self._peer = await ready
        except BaseException:
            self.close()
            raise
        return self._peer

    async def reach(self, *, again: bool, stale: bool = False) -> peer.Peer:
        """The connection; where it was lost and the migration is not (``again``), another one.

        ``stale``: the link was closed for a while. Then TCP may wait for seconds before it tries an old connection
        once more (RFC 6298 section 5.5), and a guest that stands still must not wait for that.
        """
        if self._peer is not None and not (again and (stale or self._peer.closed.is_set())):
            return self._peer
        log.info("%s: connecting again to %s", self._name, self.uri)
        return await self.open()

    def close(self) -> None:
        """Let go of the connection. Idempotent."""
        self._peer = None
        self._release.set()

    async def _hold(self, ready: asyncio.Future[peer.Peer], release: asyncio.Event) -> None:
        try:
            async with self._dialler.connect(self.uri, hypervisor=self._hypervisor) as connected:
                if not ready.done():
                    ready.set_result(connected)
                    await release.wait()
        except errors.RequestError as err:
            if not ready.done():
                ready.set_exception(err)
