"""This daemon takes the migration through its steps; the client only waits for the end of its one call."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any

from culvert.channels.data_path import DataPath
from culvert.channels.key import ChannelKey
from culvert.channels.plan import ChannelPlan
from culvert.channels.route import Route
from culvert.channels.simple_paths import DirectPath, StreamPath
from culvert.channels.ticket import Ticket
from culvert.channels.work import Done
from culvert.domain.definition import DomainDef
from culvert.ground import errors
from culvert.migration.handover.machine_source import Event, State
from culvert.migration.peers import native, peer, stock
from culvert.migration.peers.connection import PeerConnection
from culvert.migration.source import ask, opening, source_cookie, stability
from culvert.migration.source.departure import Departure
from culvert.migration.source.sending import Broke
from culvert.protocol.constants_migrate import MigrateFlag

log = logging.getLogger(__name__)

Spawn = Callable[[str, Coroutine[Any, Any, Any]], asyncio.Task[Done[Any]]]

CLEAN_UP_TIMEOUT = 15.0  # seconds for a destination to confirm that it has dropped a cancelled migration

# Causes seen from here of which the destination may know better why.
_SEEN_FROM_AFAR = (Broke, errors.StreamFailed, errors.RemoteError)


class PeerToPeer:
    """``complete`` gives a definition libvirt's defaults; ``spawn`` runs what a command does not wait for."""

    def __init__(self, departure: Departure, complete: Callable[[DomainDef], DomainDef], spawn: Spawn) -> None:
        self._departure = departure
        self._complete = complete
        self._spawn = spawn
        self._name = departure.shell.name
        self._connection = PeerConnection(self._name, departure.destination_uri, departure.dialler, spawn)
        self._beside: PeerConnection | None = None
        self._data_path: DataPath | None = None
        self._prepared = False
        self._by_pump = False
        self._watching: asyncio.Task[Done[Any]] | None = None
        self._calling_off: asyncio.Task[Done[Any]] | None = None

    async def prepare(self) -> DataPath:
        departure = self._departure
        self._data_path = data_path = await departure.until_failed(self._prepare())
        try:
            reached = await departure.until_failed(self._connection.reach(again=data_path.outlives_connection))
            await departure.until_failed(stability.check(reached, departure, departure.options, self._complete))
        except errors.RequestError as err:
            data_path.abort(str(err))
            data_path.close()
            raise
        self._watching = self._spawn(f"{self._name}: connection lost?", self._watch(reached, data_path))
        return data_path

    async def _prepare(self) -> DataPath:
        departure = self._departure
        destination = await self._connection.open()
        await destination.check()
        if is_stock := not await destination.abilities():
            stock.check(departure.domain.definition, destination.uri)
            await departure.is_stock(departure.destination_uri)
        departure.record.step = "prepare"
        if not is_stock:
            await departure.until_failed(opening.arm(destination, departure))
        route, compression = await opening.choose_route(destination, departure)
        self._by_pump = route is Route.PUMP
        wire = await destination.wire()
        if departure.options.postcopy:
            await opening.agree_on_postcopy(destination, departure, route)
        if departure.domain.is_active:
            there = await opening.destination_qemu(destination, departure)
            await opening.tell_hazards(departure, route, there=there)
        if not is_stock:
            departure.options = departure.options.without_places()
        options = departure.options
        departure.account.asked = True
        untunnelled = options.without_flags(MigrateFlag.TUNNELLED)
        try:
            if route is Route.STREAM and not options.migrate_uri:
                cookie_out, stream = await destination.prepare_tunnel(options, source_cookie.plain(departure))
                self._prepared = True
                await source_cookie.check_destination(departure, cookie_out)
                return StreamPath(stream, options.setup())
            cookie_out, where = await destination.prepare(untunnelled, source_cookie.plain(departure))
        except errors.RequestError as err:
            if is_stock and not isinstance(err, errors.RemoteError):
                await stock.tidy(departure.destination_uri, departure.on_wire, departure.dialler, self._cancel)
            raise
        self._prepared = True
        await source_cookie.check_destination(departure, cookie_out)
        if is_stock:
            return await self._native(where or options.migrate_uri or "")
        public, ticket = opening.way_in(where)
        opening.heed(public, departure)
        opening.lead(public, departure)
        if route is Route.STREAM:
            return await self._stream_beside(wire, ticket)
        return await opening.open_data_path(wire, departure, ticket, route, compression)

    async def _native(self, where: str) -> DataPath:
        """To the address at which a libvirtd's QEMU listens, as a migration URI has asked for."""
        if not native.is_address(where):
            raise errors.OperationFailed(
                f"{self._connection.uri} answers with a migration URI '{where}' without a port"
            )
        sock = await native.connect(where, self._departure.dialler.seconds)
        return DirectPath(sock, self._departure.options.setup(return_path=True))

    async def _stream_beside(self, wire: int, opened_by: Ticket) -> DataPath:
        """The route stream, along a connection to the address that a migration URI has named."""
        departure = self._departure
        beside = self._beside = PeerConnection(
            *(self._name, departure.data_uri, departure.dialler, self._spawn), hypervisor=False
        )
        destination, setup = await beside.open(), departure.options.setup()
        await opening.check_host(destination, departure)
        await destination.keep_alive()
        return StreamPath(await destination.attach(ChannelKey(opened_by, wire, ChannelPlan.of(setup))), setup)

    async def _watch(self, destination: peer.Peer, data_path: DataPath) -> None:
        await destination.closed.wait()
        lost = f"connection to {self._connection.uri} lost: {destination.close_reason}"
        if data_path.outlives_connection:
            log.warning("%s: %s; the migration goes on", self._name, lost)
        else:
            self._departure.fail(errors.ConnectionLost(lost))

    async def grant(self) -> Event:
        departure, data_path = self._departure, self._data_path
        try:
            # In post-copy no culvert gives the guest up because a connection has gone.
            kept = departure.state is State.POSTCOPY and not departure.begun.stock
            again = data_path is None or data_path.outlives_connection or kept
            stale = data_path is not None and data_path.interruptions > 0
            destination = await self._connection.reach(again=again, stale=stale)
            cookie_in, patient = await source_cookie.granting(departure), departure.options.postcopy
            answer = await destination.finish(departure.options, cookie_in, cancelled=False, patient=patient)
        except errors.RemoteError as err:
            departure.doubt = err
            return Event.NO
        except errors.RequestError as err:
            departure.doubt = err
            return Event.CUT
        await departure.account.hear(answer)
        return Event.YES

    async def reopen(self) -> DataPath:
        departure = self._departure
        destination = await self._connection.open()
        wire = await destination.wire()  # another daemon may be there than began it
        preempt = await departure.domain.hypervisor.has_preempt()
        name, ticket = await destination.recover(departure.attempt, departure.begun.secret, preempt=preempt)
        departure.options = replace(departure.options, destination_name=name, preempt=preempt)
        # By the pump whatever it began with: a QEMU that hangs in a missing page can be given a path only.
        self._data_path = await opening.open_data_path(wire, departure, Ticket.parse(ticket), Route.PUMP, "off")
        return self._data_path

    async def recall(self) -> tuple[Event, str]:
        departure = self._departure
        if self._calling_off is not None:
            await asyncio.wait([self._calling_off])  # its answer has the destination's reason

        async def off(destination: peer.Peer) -> None:
            name = departure.options.destination_name or departure.begun.name  # the attempt in the cookie counts
            options = replace(departure.options, destination_name=name)
            await destination.finish(options, source_cookie.recalling(departure), cancelled=True)

        where, dialler = departure.destination_uri, departure.dialler
        return await ask.word(where, departure.on_wire, departure.begun, dialler, off=off)

    def call_off(self) -> None:
        # Not waited for: the way was aborted, so the guest can never run there, and may go on here meanwhile.
        if self._prepared:
            self._calling_off = self._spawn(f"{self._name}: calling off", self._call_off())

    async def _call_off(self) -> None:
        """Have the destination clean up; its own reason may be better than what was seen from here."""
        # A destination that has seen a channel of the pump route would wait for the next one.
        again = self._by_pump
        try:
            async with asyncio.timeout(CLEAN_UP_TIMEOUT):
                try:
                    await self._cancel(await self._connection.reach(again=again))
                except errors.ConnectionLost:
                    if not again:
                        raise
                    # It was lost before, and this call was what noticed it.
                    await self._cancel(await self._connection.reach(again=True))
        except errors.RemoteError as err:
            if err.remote_code != errors.ErrorCode.MIGRATE_FINISH_OK:
                self._departure.better(err, than=_SEEN_FROM_AFAR)
        except (errors.RequestError, TimeoutError) as err:
            log.info("%s: the destination did not confirm its clean-up: %s", self._name, err)

    async def _cancel(self, destination: peer.Peer) -> None:
        await destination.finish(self._departure.options, source_cookie.plain(self._departure), cancelled=True)

    async def close(self) -> None:
        if self._calling_off is not None:
            await asyncio.wait([self._calling_off])
        if self._watching is not None:
            self._watching.cancel()
        self._connection.close()
        if self._beside is not None:
            self._beside.close()


async def move_definition(departure: Departure) -> None:
    """An offline migration: the definition goes to ``departure.destination_uri``. Raises why it has not."""
    async with departure.dialler.connect(departure.destination_uri) as destination:
        await departure.until_failed(destination.check())
        departure.record.step = "prepare"
        # There is no data: where it would go is nobody's business.
        options = replace(departure.options.without_places(), migrate_uri=None)
        cookie_out, _ = await destination.prepare(options, source_cookie.plain(departure))
        await source_cookie.check_destination(departure, cookie_out)
        await destination.finish(departure.options, await source_cookie.offline(departure), cancelled=False)
