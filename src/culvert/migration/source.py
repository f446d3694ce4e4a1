"""The source's side of every migration of this host: who is leaving, and the two ways of driving the steps.

Peer-to-peer, this daemon drives all five and the client only waits::

    client ── PERFORM3(dconnuri) ─▶ source ── PREPARE_TUNNEL3, stream, FINISH3 ─▶ destination

Driven by the client, each step is a call of its own; the data still goes through the destination's one port::

    client ── BEGIN3, PERFORM3, CONFIRM3 ─▶ source ── MIGRATION_ATTACH, stream ─▶ destination
    client ── PREPARE3, FINISH3 ──────────────────────────────────────────────▶ destination
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Protocol
from uuid import UUID

from culvert.drivers.qemu.domain import Domain
from culvert.drivers.qemu.driver import Driver
from culvert.ground import errors
from culvert.ground import uri as uris
from culvert.migration import ask, native, parameters, peer, peer_to_peer, preflight
from culvert.migration.budget import Budget
from culvert.migration.departure import Departure
from culvert.migration.parameters import Options
from culvert.migration.phases import Phase
from culvert.migration.settings import Settings
from culvert.migration.statistics import Records
from culvert.migration.ticket import TICKET_PARAMETER, Ticket
from culvert.migration.work import Background
from culvert.protocol.constants import DomainState, EventID, MigrateFlag

log = logging.getLogger(__name__)


class Owner(Protocol):
    """The connection that drives a migration step by step."""

    @property
    def principal(self) -> str:
        """Who is at its other end, as far as that is proved; empty where nothing is."""

    def on_close(self, callback: Callable[[], None]) -> Callable[[], None]: ...


class Source:
    """All departures; ``background`` owns what must go on when a client has gone."""

    def __init__(self, driver: Driver, settings: Settings, background: Background) -> None:
        self._driver = driver
        self._settings = settings
        self._background = background
        self._budget = Budget(settings.host_speed)
        self._departures: dict[UUID, Departure] = {}
        self.completed = Records()
        """The record of each domain's last migration out of here."""

    # -- jobs -----------------------------------------------------------------------------------------------------

    async def stop(self, timeout: float) -> None:
        """The daemon ends: cancel what can still be cancelled and wait for it; those guests run on here.

        A migration whose outcome only the destination knows is left as it is written down; the next daemon asks.
        """
        cancelled = []
        for departure in self._departures.values():
            departure.fail(errors.OperationAborted(f"the daemon on {self._settings.hostname} is stopping"))
            if departure.cause is not None:
                cancelled.append(departure)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                for departure in cancelled:
                    await departure.over.wait()

    # -- driven by this daemon ------------------------------------------------------------------------------------

    async def migrate(self, domain: Domain, destination: str, options: Options) -> None:
        """The whole migration, peer-to-peer. On return the guest runs at ``destination``; otherwise raises.

        It goes on when the client that asked for it goes away.
        """
        parameters.check_combination(options)
        if options.migrate_uri:
            raise errors.ArgumentUnsupported("migration URI is not supported by tunnelled migration")
        uris.parse(destination)
        departure = self._depart(domain, options)
        departure.destination_uri = destination
        await self._background.run(f"migrate {domain.name}", self._drive(departure))

    async def _drive(self, departure: Departure) -> None:
        try:
            try:
                arrived = await peer_to_peer.drive(departure, await self._begin(departure), self._driver.complete)
            except errors.RequestError as err:
                departure.cause = err  # what this side saw first, or what the destination knows better
                arrived = False
            await self._settle(departure, arrived=arrived)
            if not arrived:
                assert departure.cause is not None, "who does not arrive has a reason"
                raise told(
                    departure.cause,
                    f"migration of domain '{departure.domain.name}' to {departure.destination_uri} failed in phase "
                    f"'{departure.reached.value}'",
                )
        finally:
            self._forget(departure)

    # -- driven by a client ---------------------------------------------------------------------------------------

    async def begin(self, domain: Domain, options: Options, owner: Owner) -> tuple[bytes, str]:
        """BEGIN3: (cookie, XML for the destination). The domain is held for the migration until ``confirm``.

        When the connection ``owner`` ends before that, the migration is dropped or its end asked for.
        """
        parameters.check_combination(options)
        departure = self._depart(domain, options)
        try:
            options = await self._begin(departure)
        except BaseException:
            self._forget(departure)
            raise
        departure.disown = owner.on_close(lambda: self._owner_gone(departure))
        # An offline migration has no perform, so what perform's cookie would carry goes with this one.
        offline = options.has(MigrateFlag.OFFLINE)
        return departure.last_cookie() if offline else departure.cookie(), options.destination_xml or ""

    async def perform(self, domain: Domain, options: Options, cookie_in: bytes) -> bytes:
        """PERFORM3 driven by a client: the guest goes to where ``migrate_uri`` says. The next cookie."""
        departure = self._departures.get(domain.uuid)
        if departure is None or departure.phase is not Phase.BEGIN3:
            raise errors.OperationInvalid(f"domain '{domain.name}' is not being prepared for migration: begin first")
        departure.options = replace(
            departure.options, bandwidth=options.bandwidth, flags=departure.options.flags | options.flags
        )
        departure.check_destination(cookie_in)
        departure.destination_uri = options.migrate_uri or ""
        return await self._background.run(f"perform {domain.name}", self._perform(departure))

    async def _perform(self, departure: Departure) -> bytes:
        try:
            if native.is_address(departure.destination_uri):
                await native.perform(departure)
            else:
                await self._perform_tunnelled(departure)
        except errors.RequestError as err:
            cause = departure.cause = departure.cause or err
            await self._settle(departure, arrived=False)
            self._forget(departure)
            raise told(cause, f"migration of domain '{departure.domain.name}' failed in phase 'perform3'") from err
        return departure.last_cookie()

    async def _perform_tunnelled(self, departure: Departure) -> None:
        where = uris.parse(departure.destination_uri)
        ticket = where.parameters.get(TICKET_PARAMETER)
        if not ticket:
            raise errors.ArgumentUnsupported(
                f"migration of domain '{departure.domain.name}': the destination's migration URI "
                f"'{departure.destination_uri}' does not lead into a tunnel; use --p2p --tunnelled"
            )
        async with peer.connect(departure.destination_uri, self._settings, hypervisor=False) as destination:
            await departure.until_failed(destination.keep_alive())
            way = await departure.until_failed(peer_to_peer.open_way(destination, departure, Ticket.parse(ticket)))
            await peer_to_peer.perform(destination, departure, way)

    async def confirm(self, domain: Domain, *, cancelled: bool) -> None:
        """CONFIRM3: the client says what the destination answered to finish.

        After a failed perform the guest already runs on here, and confirming that again changes nothing. Raises
        ``OperationInvalid`` when there is no migration that could be confirmed.
        """
        departure = self._departures.get(domain.uuid)
        if departure is None:
            if cancelled:
                return
            raise errors.OperationInvalid(f"domain '{domain.name}' has no migration to confirm")
        if departure.phase is Phase.PERFORM3:
            raise errors.OperationInvalid(f"migration of domain '{domain.name}' is still sending: abort it first")
        if not cancelled and departure.phase is Phase.BEGIN3 and not departure.options.has(MigrateFlag.OFFLINE):
            raise errors.OperationInvalid(f"domain '{domain.name}' has not been sent, so it runs nowhere else")
        await self._background.run(f"confirm {domain.name}", self._confirm(departure, arrived=not cancelled))

    async def _confirm(self, departure: Departure, *, arrived: bool) -> None:
        """The client's word alone neither destroys the copy here nor lets it run: the destination is asked too."""
        claimed = arrived
        try:
            # Who has opened a libvirtd's QEMU to us cannot be asked; the client has asked it.
            if departure.phase is Phase.PERFORM3_DONE and not native.is_address(departure.destination_uri):
                arrived = await ask.has_arrived(departure, errors.OperationFailed("the client confirmed it so"))
            await self._settle(departure, arrived=arrived)
            if claimed and not arrived:
                assert departure.cause is not None, "who does not arrive has a reason"
                raise told(departure.cause, f"domain '{departure.domain.name}' has not arrived and goes on here")
        finally:
            self._forget(departure)

    def _owner_gone(self, departure: Departure) -> None:
        """The client that drove a migration has gone without confirming it."""
        if self._departures.get(departure.domain.uuid) is not departure:
            return
        gone = errors.OperationAborted(f"the client that migrated domain '{departure.domain.name}' has gone")
        departure.fail(gone)
        if departure.phase in (Phase.BEGIN3, Phase.PERFORM3_DONE):
            self._background.spawn(f"ownerless {departure.domain.name}", self._without_owner(departure, gone))

    async def _without_owner(self, departure: Departure, gone: errors.RequestError) -> None:
        try:
            arrived = departure.phase is Phase.PERFORM3_DONE and await ask.has_arrived(departure, gone)
            await self._settle(departure, arrived=arrived)
        except errors.RequestError as err:
            log.error("domain=%s %s", departure.domain.name, err)
        finally:
            self._forget(departure)

    # -- what both ways share -------------------------------------------------------------------------------------

    def _depart(self, domain: Domain, options: Options) -> Departure:
        """A new migration of ``domain``; raises ``OperationInvalid`` when it is in one, or does not run."""
        if domain.job is not None:
            raise errors.OperationInvalid(
                f"cannot migrate domain '{domain.name}' while job '{domain.job.description}' runs"
            )
        if not options.has(MigrateFlag.OFFLINE):
            domain.require_active()
        departure = Departure(domain, options, self._settings, self._budget)
        domain.job = departure
        self._departures[domain.uuid] = departure
        return departure

    async def _begin(self, departure: Departure) -> Options:
        """BEGIN3: preflight, and the options with the XML that the destination is to prepare."""
        domain, options = departure.domain, departure.options
        xml = await preflight.check(domain, options, self._driver.complete)
        if domain.state is DomainState.PAUSED:
            options = options.with_flags(MigrateFlag.PAUSED)
        departure.options = replace(
            options, destination_xml=xml, destination_name=options.destination_name or domain.name
        )
        return departure.options

    async def _settle(self, departure: Departure, *, arrived: bool) -> None:
        """CONFIRM3, and what the record of the migration says from now on."""
        try:
            await departure.confirm(arrived=arrived)
        finally:
            self.completed.put(departure.domain.uuid, departure.record)
            departure.domain.tell(EventID.JOB_COMPLETED, record=departure.record)
            log.info(
                "domain=%s migration=%s outcome=%s bytes=%d ms=%d",
                *(departure.domain.name, departure.attempt, departure.record.type.name),
                *(departure.record.tunnel_bytes, departure.record.elapsed_ms),
            )
        if arrived and departure.options.has(MigrateFlag.UNDEFINE_SOURCE) and departure.domain.is_persistent:
            await self._driver.undefine(departure.domain)

    def _forget(self, departure: Departure) -> None:
        self._departures.pop(departure.domain.uuid, None)
        departure.over.set()
        departure.disown()
        if departure.domain.job is departure:
            departure.domain.job = None

    async def recover(self) -> None:
        """After a restart of the daemon: bring migrations that an earlier one left to their end."""
        for domain in self._driver.domains():
            if (left := Departure.left_behind(domain, self._settings)) is not None:
                domain.job = left
                self._departures[domain.uuid] = left
                self._background.spawn(f"recover {domain.name}", self._recover(left))

    async def _recover(self, departure: Departure) -> None:
        lost = errors.OperationFailed("the daemon was restarted in mid-migration")
        try:
            if departure.phase is Phase.PERFORM3:
                await departure.take_back()
            arrived = departure.phase is Phase.PERFORM3_DONE and await ask.has_arrived(departure, lost)
            departure.cause = departure.cause or lost
            await self._settle(departure, arrived=arrived)
        except errors.RequestError as err:
            log.error("domain=%s migration=%s cannot be recovered: %s", departure.domain.name, departure.attempt, err)
        finally:
            self._forget(departure)


def told(cause: errors.RequestError, where: str) -> errors.RequestError:
    """``cause`` with what was being done in front of it, its code unchanged."""
    code, domain, message = errors.triple(cause)
    return errors.RemoteError(f"{where}: {message}", code=code, domain=domain, errno=cause.errno)
