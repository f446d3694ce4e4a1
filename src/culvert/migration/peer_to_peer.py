"""The source drives all five steps itself; the client only waits for the end of its one call."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing

from culvert.domain.definition import DomainDef
from culvert.ground import errors
from culvert.ground import uri as uris
from culvert.io.detached import Detached
from culvert.migration import ask, peer, stability, stock
from culvert.migration.departure import Broke, Departure
from culvert.migration.parameters import Options
from culvert.migration.pump_way import PumpWay
from culvert.migration.route import COMPRESSION_PARAMETER, PARAMETER, Route, Way, choose
from culvert.migration.ticket import TICKET_PARAMETER, Ticket
from culvert.migration.ways import DirectWay, StreamWay
from culvert.migration.work import captured
from culvert.protocol.constants import MigrateFlag

log = logging.getLogger(__name__)

CLEAN_UP_TIMEOUT = 15.0  # seconds for a destination to confirm that it has dropped a cancelled migration

# Causes seen from here of which the destination may know better why.
_SEEN_FROM_AFAR = (Broke, errors.StreamFailed, errors.RemoteError)


async def drive(departure: Departure, options: Options, complete: Callable[[DomainDef], DomainDef]) -> bool:
    """Prepare, perform and finish, by the destination that ``departure`` names: whether the guest has arrived.

    ``complete`` gives a definition libvirt's defaults. Raises why it has not, where that is certain from what was
    seen here.
    """
    async with peer.connect(departure.destination_uri, departure.settings) as destination:
        await departure.until_failed(destination.check())
        if is_stock := not await departure.until_failed(destination.abilities()):
            stock.check(departure.domain.definition, destination.uri)
        departure.record.step = "prepare"
        if options.has(MigrateFlag.OFFLINE):
            cookie_out, _ = await destination.prepare(options, departure.cookie())
            departure.check_destination(cookie_out)
            await destination.finish(options, departure.last_cookie(), cancelled=False)
            return True
        try:
            way = await departure.until_failed(_prepare(destination, departure, options))
        except errors.RequestError as err:
            if is_stock and not isinstance(err, errors.RemoteError):
                await stock.tidy(departure, options)
            raise
        try:
            with closing(way):
                async with _reaching(destination, departure, again=way.outlives_connection) as reached:
                    await departure.until_failed(stability.check(reached, departure, options, complete))
                await perform(destination, departure, way)
        except errors.RequestError as err:
            # The way was aborted, so the guest can never run there: it need not wait for the clean-up.
            await departure.run_on()
            raise await _told_by(destination, options, departure, err, again=way.outlives_connection) from err
        try:
            again, stale = way.outlives_connection, way.interruptions > 0
            async with _reaching(destination, departure, again=again, stale=stale) as reached:
                await reached.finish(options, departure.last_cookie(), cancelled=False)
        except errors.RequestError as err:
            # Whatever the answer was, or that it was lost: the guest may run there, so it stays paused here until
            # the destination has said what became of it.
            return await ask.has_arrived(departure, err)
        return True


@asynccontextmanager
async def _reaching(
    destination: peer.Peer, departure: Departure, *, again: bool, stale: bool = False
) -> AsyncIterator[peer.Peer]:
    """``destination``; where its connection was lost and the migration is not (``again``), by another one.

    ``stale``: the road was closed for a while. Then TCP may wait for seconds before it tries an old connection once
    more (RFC 6298 section 5.5), and a guest that stands still must not wait for that.
    """
    if again and (stale or destination.closed.is_set()):
        log.info("domain=%s connecting again to %s", departure.domain.name, departure.destination_uri)
        async with peer.connect(departure.destination_uri, departure.settings) as reached:
            yield reached
    else:
        yield destination


async def open_way(destination: peer.Peer, departure: Departure, ticket: Ticket) -> Way:
    """The way into a migration that a client has prepared at ``destination`` and that ``ticket`` opens."""
    route, compression = await _choose(destination, departure)
    if route is Route.STREAM:
        return StreamWay(await destination.attach(ticket.token(0, 1)), departure.options.setup())
    return await _open(departure, ticket, route, compression)


async def _choose(destination: peer.Peer, departure: Departure) -> tuple[Route, str]:
    settings, asked = departure.settings, uris.parse(departure.destination_uri).parameters
    route = asked.get(PARAMETER, settings.route)
    compression = asked.get(COMPRESSION_PARAMETER, settings.compression)
    abilities = frozenset[str]() if route == Route.STREAM.value else await destination.abilities()
    connections = departure.options.connections
    return choose(
        route, abilities, destination.uri.transport, connections=connections, compression=compression
    ), compression


async def _prepare(destination: peer.Peer, departure: Departure, options: Options) -> Way:
    route, compression = await _choose(destination, departure)
    if route is Route.STREAM:
        cookie_out, stream = await destination.prepare_tunnel(options, departure.cookie())
        departure.check_destination(cookie_out)
        return StreamWay(stream, departure.options.setup())
    cookie_out, where = await destination.prepare(options.without_flags(MigrateFlag.TUNNELLED), departure.cookie())
    departure.check_destination(cookie_out)
    ticket = Ticket.parse(uris.parse(where).parameters.get(TICKET_PARAMETER, ""))
    try:
        return await _open(departure, ticket, route, compression)
    except errors.RequestError as err:
        # A destination that has seen a channel would wait for the next one.
        raise await _told_by(destination, options, departure, err, again=route is Route.PUMP) from err


async def _open(departure: Departure, ticket: Ticket, route: Route, compression: str) -> Way:
    """Open the connections for the data: to where the calls go too, for that road is known to be open, whatever the
    destination calls itself."""
    uri, settings, attempts = departure.destination_uri, departure.settings, itertools.count(1)
    if route is Route.DIRECT:
        async with peer.connect(uri, settings, hypervisor=False) as data:
            setup = departure.options.setup(return_path=True)
            return DirectWay(await data.direct(ticket.token(0, next(attempts))), setup)

    async def dial(channel: int, received: int) -> tuple[int, Detached]:
        async with peer.connect(uri, settings, hypervisor=False) as data:
            return await data.channel(ticket.token(channel, next(attempts)), channel, received)

    way = PumpWay(
        f"migration {departure.attempt}",
        dial,
        settings,
        departure.domain.require_active().runtime,
        setup=departure.options.setup(return_path=True),
        compression=compression,
    )
    await way.open()
    return way


async def perform(destination: peer.Peer, departure: Departure, way: Way) -> None:
    """``departure.perform`` for as long as the connection lives by which the destination can be reached."""
    async with asyncio.TaskGroup() as tasks:
        watch = tasks.create_task(
            _fail_when_closed(destination, departure, way), name=f"migration {departure.attempt}: connection"
        )
        done = await captured(departure.perform(way))
        watch.cancel()
    done.unwrap()


async def _fail_when_closed(destination: peer.Peer, departure: Departure, way: Way) -> None:
    await destination.closed.wait()
    if way.outlives_connection:
        log.warning(
            "domain=%s connection to %s lost: %s; the migration goes on",
            departure.domain.name,
            destination.uri,
            destination.close_reason,
        )
        return
    departure.fail(
        errors.ConnectionLost(f"connection to {departure.destination_uri} lost: {destination.close_reason}")
    )


async def _clean_up(destination: peer.Peer, options: Options, departure: Departure, *, again: bool) -> None:
    try:
        async with _reaching(destination, departure, again=again) as reached:
            await reached.finish(options, departure.cookie(), cancelled=True)
    except errors.ConnectionLost:
        if not again:
            raise
        # It was lost before, and this call was what noticed it.
        async with _reaching(destination, departure, again=again) as reached:
            await reached.finish(options, departure.cookie(), cancelled=True)


async def _told_by(
    destination: peer.Peer, options: Options, departure: Departure, cause: errors.RequestError, *, again: bool
) -> errors.RequestError:
    """Have the destination clean up; its own reason may be better than what was seen from here."""
    try:
        async with asyncio.timeout(CLEAN_UP_TIMEOUT):
            await _clean_up(destination, options, departure, again=again)
    except errors.RemoteError as err:
        if err.remote_code != errors.ErrorCode.MIGRATE_FINISH_OK and isinstance(cause, _SEEN_FROM_AFAR):
            return err
    except (errors.RequestError, TimeoutError) as err:
        log.info("domain=%s the destination did not confirm its clean-up: %s", departure.domain.name, err)
    return cause
