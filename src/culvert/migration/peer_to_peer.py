"""The source drives all five steps itself; the client only waits for the end of its one call."""

from __future__ import annotations

import asyncio
import logging

from culvert.ground import errors
from culvert.ground import uri as uris
from culvert.migration import ask, peer
from culvert.migration.departure import Broke, Departure
from culvert.migration.parameters import Options
from culvert.migration.route import PARAMETER, TOKEN_PARAMETER, DirectWay, Route, StreamWay, Way, choose
from culvert.migration.work import captured
from culvert.protocol.constants import MigrateFlag

log = logging.getLogger(__name__)

CLEAN_UP_TIMEOUT = 15.0  # seconds for a destination to confirm that it has dropped a cancelled migration

# Causes seen from here of which the destination may know better why.
_SEEN_FROM_AFAR = (Broke, errors.StreamFailed, errors.RemoteError)


async def drive(departure: Departure, options: Options) -> bool:
    """Prepare, perform and finish, by the destination that ``departure`` names: whether the guest has arrived.

    Raises why it has not, where that is certain from what was seen here.
    """
    async with peer.connect(departure.destination_uri, departure.settings) as destination:
        await departure.until_failed(destination.check())
        departure.record.step = "prepare"
        if options.has(MigrateFlag.OFFLINE):
            cookie_out, _ = await destination.prepare(options, departure.cookie())
            departure.check_destination(cookie_out)
            await destination.finish(options, departure.last_cookie(), cancelled=False)
            return True
        way = await departure.until_failed(_prepare(destination, departure, options))
        try:
            await perform(destination, departure, way)
        except errors.RequestError as err:
            # The way was aborted, so the guest can never run there: it need not wait for the clean-up.
            await departure.run_on()
            raise await _told_by(destination, options, departure, err) from err
        try:
            await destination.finish(options, departure.last_cookie(), cancelled=False)
        except errors.RequestError as err:
            # Whatever the answer was, or that it was lost: the guest may run there, so it stays paused here until
            # the destination has said what became of it.
            return await ask.has_arrived(departure, err)
        return True


async def open_way(destination: peer.Peer, departure: Departure, token: str) -> Way:
    """The way into a migration that a client has prepared at ``destination`` and that waits for ``token``."""
    if await _choose(destination, departure.settings.route) is Route.DIRECT:
        return await _direct(departure, token)
    return StreamWay(await destination.attach(token))


async def _choose(destination: peer.Peer, route: str) -> Route:
    abilities = frozenset[str]() if route == Route.STREAM.value else await destination.abilities()
    return choose(route, abilities, destination.uri.transport)


async def _prepare(destination: peer.Peer, departure: Departure, options: Options) -> Way:
    route = await _choose(destination, destination.uri.parameters.get(PARAMETER, departure.settings.route))
    if route is Route.STREAM:
        cookie_out, stream = await destination.prepare_tunnel(options, departure.cookie())
        departure.check_destination(cookie_out)
        return StreamWay(stream)
    cookie_out, where = await destination.prepare(options.without_flags(MigrateFlag.TUNNELLED), departure.cookie())
    departure.check_destination(cookie_out)
    return await _direct(departure, uris.parse(where).parameters.get(TOKEN_PARAMETER, ""))


async def _direct(departure: Departure, token: str) -> Way:
    # To where the calls go too: that road is known to be open, whatever the destination calls itself.
    async with peer.connect(departure.destination_uri, departure.settings, hypervisor=False) as data:
        return DirectWay(await data.direct(token))


async def perform(destination: peer.Peer, departure: Departure, way: Way) -> None:
    """``departure.perform`` for as long as the connection lives by which the destination can be reached."""
    async with asyncio.TaskGroup() as tasks:
        watch = tasks.create_task(
            _fail_when_closed(destination, departure), name=f"migration {departure.attempt}: connection"
        )
        done = await captured(departure.perform(way))
        watch.cancel()
    done.unwrap()


async def _fail_when_closed(destination: peer.Peer, departure: Departure) -> None:
    await destination.closed.wait()
    departure.fail(
        errors.ConnectionLost(f"connection to {departure.destination_uri} lost: {destination.close_reason}")
    )


async def _told_by(
    destination: peer.Peer, options: Options, departure: Departure, cause: errors.RequestError
) -> errors.RequestError:
    """Have the destination clean up; its own reason may be better than what was seen from here."""
    try:
        async with asyncio.timeout(CLEAN_UP_TIMEOUT):
            await destination.finish(options, departure.cookie(), cancelled=True)
    except errors.RemoteError as err:
        if err.remote_code != errors.ErrorCode.MIGRATE_FINISH_OK and isinstance(cause, _SEEN_FROM_AFAR):
            return err
    except (errors.RequestError, TimeoutError) as err:
        log.info("domain=%s the destination did not confirm its clean-up: %s", departure.domain.name, err)
    return cause
