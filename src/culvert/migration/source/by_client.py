"""A client takes the migration through its steps, each by a call of its own; the data goes from daemon to daemon."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

from culvert.channels.data_path import DataPath
from culvert.channels.simple_paths import DirectPath
from culvert.channels.ticket import Ticket, hidden
from culvert.channels.work import Done
from culvert.ground import errors
from culvert.migration.handover.machine_source import Event
from culvert.migration.peers import native, peer
from culvert.migration.peers.connection import PeerConnection
from culvert.migration.source import opening
from culvert.migration.source.departure import Departure

log = logging.getLogger(__name__)

Spawn = Callable[[str, Coroutine[Any, Any, Any]], asyncio.Task[Done[Any]]]


class ByClient:
    """Waits for the client's calls: ``perform``, then ``confirm``."""

    def __init__(self, departure: Departure, spawn: Spawn) -> None:
        self.waiting = asyncio.Event()
        """The journal has the migration, and the client may perform."""
        self.granted = asyncio.Event()
        """Everything is sent, and perform may be answered with the grant."""
        self._departure = departure
        self._spawn = spawn
        self._performing = asyncio.Event()
        self._confirmed: asyncio.Future[Event] = asyncio.get_running_loop().create_future()
        self._connection: PeerConnection | None = None
        self._ticket = Ticket("", "")
        self._watching: asyncio.Task[Done[Any]] | None = None

    def perform(self, migrate_uri: str) -> None:
        """The client says where to. Raises ``ArgumentUnsupported`` for an address that leads nowhere."""
        departure = self._departure
        if native.is_address(migrate_uri):
            departure.destination_uri = migrate_uri
        else:
            try:
                public, self._ticket = opening.way_in(migrate_uri)
            except errors.InvalidArgument as err:
                raise errors.ArgumentUnsupported(
                    f"migration of domain '{departure.begun.name}': the destination's migration URI"
                    f" '{hidden(migrate_uri)}' does not lead into a tunnel; use --p2p --tunnelled"
                ) from err
            departure.destination_uri = str(public)
        self._performing.set()

    def confirm(self, *, arrived: bool) -> None:
        """The client says what the destination has answered to finish.

        Its word alone neither destroys the copy here nor lets it run: the destination is asked. A libvirtd cannot be
        asked for an attempt; the client has asked it.
        """
        if self._confirmed.done():
            return
        if not native.is_address(self._departure.destination_uri):
            self._departure.doubt = errors.OperationFailed("the client confirmed it so")
            self._confirmed.set_result(Event.CLAIMED)
        else:
            self._departure.doubt = errors.OperationAborted("the client says that the guest does not run there")
            self._confirmed.set_result(Event.YES if arrived else Event.NO)

    def gone(self, error: errors.RequestError) -> None:
        """The client has gone, and will not confirm any more."""
        self._departure.fail(error)
        if not self._confirmed.done():
            self._departure.doubt = error
            self._confirmed.set_result(Event.CUT)

    async def prepare(self) -> DataPath:
        departure = self._departure
        self.waiting.set()
        await departure.until_failed(self._performing.wait())
        where = departure.destination_uri
        if native.is_address(where):
            await departure.is_stock(where)
            connecting = native.connect(where, departure.dialler.seconds)
            return DirectPath(await departure.until_failed(connecting), departure.options.setup(return_path=True))
        await departure.met()
        self._connection = PeerConnection(
            departure.shell.name, where, departure.dialler, self._spawn, hypervisor=False
        )
        return await departure.until_failed(self._open(self._connection))

    async def _open(self, connection: PeerConnection) -> DataPath:
        destination = await connection.open()
        await opening.check_host(destination, self._departure)
        await destination.keep_alive()
        data_path = await opening.open_prepared(destination, self._departure, self._ticket)
        name = f"{self._departure.shell.name}: connection lost?"
        self._watching = self._spawn(name, self._watch(destination, data_path))
        return data_path

    async def _watch(self, destination: peer.Peer, data_path: DataPath) -> None:
        await destination.closed.wait()
        if not data_path.outlives_connection:
            lost = f"connection to {destination.uri.host} lost: {destination.close_reason}"
            self._departure.fail(errors.ConnectionLost(lost))

    async def grant(self) -> Event:
        self._leave()
        self.granted.set()
        return await self._confirmed

    def call_off(self) -> None:
        """The client does, when it hears of it."""
        self._leave()

    def _leave(self) -> None:
        if self._watching is not None:
            self._watching.cancel()
        if self._connection is not None:
            self._connection.close()

    async def close(self) -> None:
        self._leave()
