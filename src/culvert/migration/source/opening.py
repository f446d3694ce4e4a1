"""Opening the way of a migration: which route, and the connections for it."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from functools import partial

from culvert.channels.data_path import DataPath
from culvert.channels.key import ChannelKey
from culvert.channels.plan import Channel, ChannelPlan
from culvert.channels.pump_path import PumpPath
from culvert.channels.route import AUTO, COMPRESSION_PARAMETER, PARAMETER, Route, choose
from culvert.channels.simple_paths import DirectPath, StreamPath
from culvert.channels.ticket import TICKET_PARAMETER, WITHOUT_POSTCOPY, Ticket, hidden
from culvert.ground import errors
from culvert.ground import uri as uris
from culvert.io.detached import Detached
from culvert.migration.convergence import autopilot, link, policy
from culvert.migration.options import combinations, hazards, preflight
from culvert.migration.peers import peer
from culvert.migration.source.departure import Departure
from culvert.protocol.constants_migrate import MigrateFlag

log = logging.getLogger(__name__)

PROBE_TIMEOUT = 5.0  # seconds: who takes longer for 64 KiB is not measured


def way_in(where: str) -> tuple[uris.ConnectionURI, Ticket]:
    """A destination's migration URI without its ticket, and the ticket: whatever is kept, shown or logged is made of
    the former. Raises ``errors.InvalidArgument``, without the ticket too."""
    try:
        uri = uris.parse(where)
    except errors.InvalidArgument:
        raise errors.InvalidArgument(f"the destination's migration URI '{hidden(where)}' cannot be read") from None
    return uri.without_parameters(TICKET_PARAMETER), Ticket.parse(uri.parameters.get(TICKET_PARAMETER, ""))


async def choose_route(destination: peer.Peer, departure: Departure) -> tuple[Route, str]:
    """The route to ``destination`` and the word for its compression: as asked for, configured, and possible."""
    settings, asked = departure.settings, uris.parse(departure.destination_uri).parameters
    route = asked.get(PARAMETER, settings.route)
    compression = asked.get(COMPRESSION_PARAMETER, departure.compression or settings.compression)
    abilities = frozenset[str]() if route == Route.STREAM.value else await destination.abilities()
    options, transport = departure.options, destination.uri.transport
    if options.migrate_uri and transport != "tcp":
        transport = "tls"  # what the destination has there is known only when it has prepared
    return choose(
        route,
        abilities,
        transport,
        connections=options.connections,
        compression=compression,
        postcopy=options.postcopy,
    ), compression


async def arm(destination: peer.Peer, departure: Departure, *, prepared: bool = False) -> None:
    """Have ``departure.options`` ask for what ``autopilot`` may need, where the URI or the configuration wants it.

    ``prepared``: by a client, so that post-copy and channels are what the destination has been told already. Raises
    ``InvalidArgument`` for a word that is neither on nor off.
    """
    asked, settings, options = uris.parse(departure.destination_uri).parameters, departure.settings, departure.options
    word = asked.get(autopilot.PARAMETER, "on" if settings.auto else "off")
    if word not in ("on", "off"):
        raise errors.InvalidArgument(f"auto '{word}' is not one of on, off")
    if word == "off":
        return
    route, abilities = asked.get(PARAMETER, settings.route), await destination.abilities()
    pump = route in (AUTO, Route.PUMP.value) and Route.PUMP.value in abilities
    live = options.has(MigrateFlag.LIVE) and not options.has(MigrateFlag.PAUSED) and departure.begun.was_running
    returns = pump or (route == Route.DIRECT.value and Route.DIRECT.value in abilities)
    alone = not options.connections and not options.xbzrle
    asks_optional = combinations.OPTIONAL_ABILITY in abilities
    loses = preflight.loses_armed(departure.domain, await departure.domain.hypervisor.version())
    can = live and returns and alone and asks_optional and not loses
    may = autopilot.May(
        postcopy=options.postcopy or (can and not prepared),
        parallel=pump and not prepared,
        compress=pump and COMPRESSION_PARAMETER not in asked and settings.compression == "off",
    )
    probe = partial(_probe, destination, abilities)
    departure.options, plan = await autopilot.arm(departure.domain.hypervisor, options, may, probe)
    departure.auto, departure.record.auto = True, plan.because
    departure.compression = "auto" if plan.compress else ""
    departure.note(f"auto: {plan.because}")
    if plan.known.dirty is None:
        departure.beside("the guest is measured", _measure_guest(departure, plan))


async def _measure_guest(departure: Departure, plan: policy.Plan) -> None:
    """What the plan did not need to wait for is told as soon as it is known."""
    dirty = await autopilot.dirty_rate(departure.domain.hypervisor)
    if dirty is None:
        return
    told = replace(plan, known=replace(plan.known, dirty=dirty)).because
    if departure.record.auto == plan.because:
        departure.record.auto = told
    departure.note(f"auto: {told}")


async def _probe(destination: peer.Peer, abilities: frozenset[str]) -> link.Link | None:
    """What the link carries; ``None``, and a line in the log, where that cannot be found out."""
    if link.PROBE_ABILITY not in abilities:
        return None
    try:
        async with asyncio.timeout(PROBE_TIMEOUT):
            return await link.measure(destination.probe)
    except* (errors.RequestError, TimeoutError) as err:
        log.info("auto: the link to %s could not be measured: %s", destination.uri, err.exceptions[0])
    return None


def lead(public: uris.ConnectionURI, departure: Departure) -> None:
    """Have the data go to the address that a migration URI has named, as the destination's answer has it; without one
    it takes the way that is known to be open, whatever the destination calls itself."""
    if departure.options.migrate_uri:
        calls, named = uris.parse(departure.destination_uri), public
        if calls.transport == named.transport:
            named = replace(calls, host=named.host, port=named.port)
        departure.data_uri = str(named.without_parameters(WITHOUT_POSTCOPY))


async def check_host(reached: peer.Peer, departure: Departure) -> None:
    """Whoever is at the address that the data is to take must be who has prepared: a name or a socket that leads to
    the destination there may lead to this very daemon here. Raises ``OperationInvalid``; nothing has happened then.
    """
    host = await reached.host()
    if host in ("", departure.destination_host):
        return
    who = "a daemon that has not prepared for it"
    if host == str(departure.settings.host_uuid):
        who = f"the daemon of the source itself, '{departure.settings.hostname}'"
    raise errors.OperationInvalid(
        f"the data of domain '{departure.begun.name}' would go to {who}: that is who is at '{reached.name}' as seen "
        "from here, the address that the destination gives. Have it give another one: 'host' in section [migration] "
        "of its configuration, or a migration URI (tcp://ADDRESS)"
    )


def heed(public: uris.ConnectionURI, departure: Departure) -> None:
    """What the destination says in its migration URI of what it cannot do, and need not."""
    if why := public.parameters.get(WITHOUT_POSTCOPY):
        options = departure.options = departure.options.without_postcopy()
        instead = f"; {options.connections} channels instead" if options.connections else ""
        departure.record.auto = f"without post-copy: {why}{instead}"
        departure.note(f"auto: {departure.record.auto}")


async def agree_on_postcopy(destination: peer.Peer, departure: Departure, route: Route) -> None:
    """Have ``departure.options`` say what post-copy to this peer is like; refuse what the two QEMUs cannot do."""
    source, there = await departure.domain.hypervisor.version(), await destination.version()
    abilities = await destination.abilities()
    departure.options = combinations.agree(departure.options, route, abilities, source=source, destination=there)


async def destination_qemu(destination: peer.Peer, departure: Departure) -> int:
    """The version of QEMU there, 0 where the destination does not say."""
    try:
        return await destination.version()
    except errors.RemoteError as err:
        log.info("%s: the destination does not say which QEMU it has: %s", departure.shell.name, err)
        return 0


async def tell_hazards(departure: Departure, route: Route, *, there: int) -> None:
    """What is known to go wrong between the two QEMUs, the destination's of version ``there``, is told now, and once
    more if this fails; nothing where the version is not known (0)."""
    source = await departure.domain.hypervisor.version()
    asked = combinations.features(departure.options, route)
    if departure.domain.definition.type == "qemu":
        asked |= {"tcg"}
    for hazard in hazards.of(asked, source=source, destination=there):
        told = hazards.words(hazard, source=source, destination=there)
        log.warning("%s: %s", departure.shell.name, told)
        departure.hazards = (*departure.hazards, told)
        departure.note(told)


async def open_prepared(destination: peer.Peer, departure: Departure, opened_by: Ticket) -> DataPath:
    """The way into a migration that a client has prepared at ``destination``."""
    await arm(destination, departure, prepared=True)
    route, compression = await choose_route(destination, departure)
    if route is not Route.PUMP:  # given one descriptor QEMU has no channel for preempted pages (combinations.agree)
        departure.options = replace(departure.options, preempt=False)
    await tell_hazards(departure, route, there=departure.destination_qemu)
    if route is Route.STREAM:
        setup = departure.options.setup()
        key = ChannelKey(opened_by, await destination.wire(), ChannelPlan.of(setup))
        return StreamPath(await destination.attach(key), setup)
    return await open_data_path(await destination.wire(), departure, opened_by, route, compression)


async def open_data_path(
    wire: int, departure: Departure, opened_by: Ticket, route: Route, compression: str
) -> DataPath:
    """Open the connections for the data. ``wire``: what the destination speaks; the connection that said so may have
    gone since."""
    uri, settings = departure.data_uri or departure.destination_uri, departure.settings
    setup = departure.options.setup(return_path=True)
    key = ChannelKey(opened_by, wire, ChannelPlan.of(setup))
    if route is Route.DIRECT:
        async with departure.dialler.connect(uri, hypervisor=False) as data:
            if departure.data_uri:
                await check_host(data, departure)
            return DirectPath(await data.direct(key), setup)

    async def dial(channel: Channel, received: int) -> tuple[int, Detached]:
        opened: Detached | None = None
        try:
            async with departure.dialler.connect(uri, hypervisor=False) as data:
                if departure.data_uri:
                    await check_host(data, departure)
                there, opened = await data.channel(key, channel, received)
            return there, opened
        except BaseException:
            # Nobody waits for it any more.
            if opened is not None:
                opened.sock.close()
            raise

    data_path = PumpPath(
        f"migration {departure.attempt}",
        dial,
        departure.domain.runtime,
        setup=setup,
        compression=compression,
        limits=settings.pump,
        patience=settings.reattach_seconds,
    )
    await data_path.open()
    return data_path
