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
from collections.abc import Sequence
from dataclasses import replace
from uuid import UUID

from culvert.channels.work import Background, either
from culvert.ground import errors
from culvert.ground import uri as uris
from culvert.hypervisor.contract import Guest, Guests
from culvert.io import apart
from culvert.migration.convergence.budget import Budget
from culvert.migration.handover.machine import Next, Step
from culvert.migration.handover.machine_source import START, Event, State
from culvert.migration.journal.history import Entry
from culvert.migration.journal.journal import Journal
from culvert.migration.options import combinations, guest_cpu, migration_uri, parameters, preflight
from culvert.migration.options.owner import Owner
from culvert.migration.options.parameters import Options
from culvert.migration.options.settings import Settings
from culvert.migration.peers.peer import Dialler
from culvert.migration.progress.statistics import JobRecords
from culvert.migration.source import peer_to_peer, source_cookie, stability
from culvert.migration.source.by_client import ByClient
from culvert.migration.source.departure import Departure
from culvert.migration.source.peer_to_peer import PeerToPeer
from culvert.protocol.constants_migrate import JobType, MigrateFlag
from culvert.protocol.constants_state import DomainState, EventID

log = logging.getLogger(__name__)


class Source:
    """All departures; ``background`` owns what must go on when a client has gone."""

    def __init__(
        self, guests: Guests, settings: Settings, dialler: Dialler, background: Background, journal: Journal
    ) -> None:
        self._guests = guests
        self._settings = settings
        self._dialler = dialler
        self._background = background
        self._journal = journal
        self._budget = Budget(settings.host_speed)
        self._departures: dict[UUID, Departure] = {}
        self.completed = JobRecords()
        """The record of each domain's last migration out of here."""

    async def stop(self, timeout: float) -> None:
        """The daemon ends: cancel what can still be cancelled and wait for it; those guests run on here.

        A migration whose outcome only the destination knows is left as it is written down; the next daemon asks.
        """
        for departure in self._departures.values():
            departure.fail(errors.OperationAborted(f"the daemon on {self._settings.hostname} is stopping"))
        ending = [departure for departure in self._departures.values() if departure.ends_by_itself]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                for departure in ending:
                    await departure.over.wait()

    # -- driven by this daemon ------------------------------------------------------------------------------------

    async def migrate(self, domain: Guest, destination: str, options: Options) -> None:
        """The whole migration, peer-to-peer. On return the guest runs at ``destination``; otherwise raises.

        It goes on when the client that asked for it goes away.
        """
        parameters.check_combination(options)
        if options.migrate_uri:
            migration_uri.host(options.migrate_uri)
            options = replace(options, migrate_uri=migration_uri.spelled(options.migrate_uri))
        uris.parse(destination)
        if options.has(MigrateFlag.POSTCOPY_RESUME):
            await self.resume_postcopy(domain)
            return
        # Not while another call changes it: the machine that is described now is the one that must arrive.
        async with domain.changing("migrate"):
            departure = self._depart(domain, destination, options)
        await self._background.run(f"migrate {domain.name}", self._migrate(departure))

    async def _migrate(self, departure: Departure) -> None:
        name, where = departure.begun.name, departure.begun.peer
        try:
            await self._begin(departure)
            if departure.options.has(MigrateFlag.OFFLINE):
                await self._move_definition(departure)
                return
        except errors.RequestError as err:
            self._forget(departure)
            raise told(err, f"migration of domain '{name}' to {where} failed in phase 'begin3'") from err
        except BaseException:
            self._forget(departure)
            raise
        departure.driving = self._peer_to_peer(departure)
        self._background.spawn(f"migration of {name}", self._live(departure, START))
        await departure.answerable.wait()
        self._answer(departure, f"migration of domain '{name}' to {where}")

    async def _move_definition(self, departure: Departure) -> None:
        await departure.account.ledger.write(Step.BEGIN3)
        try:
            await peer_to_peer.move_definition(departure)
        except errors.RequestError as err:
            departure.cause.set(err)
            await self._end_offline(departure, arrived=False)
            raise
        await self._end_offline(departure, arrived=True)

    def _peer_to_peer(self, departure: Departure) -> PeerToPeer:
        driving = PeerToPeer(departure, self._guests.complete, self._background.spawn)
        departure.rescue.by = lambda: driving
        return driving

    # -- driven by a client ---------------------------------------------------------------------------------------

    async def begin(self, domain: Guest, options: Options, owner: Owner) -> tuple[bytes, str]:
        """BEGIN3: (cookie, XML for the destination). The domain is held for the migration until ``confirm``.

        When the connection ``owner`` ends before that, the migration is dropped or its end asked for.
        """
        parameters.check_combination(options)
        async with domain.changing("migrate"):
            departure = self._depart(domain, "", options)
        try:
            await self._begin(departure)
            await _offer_preempt(departure)
            if options.has(MigrateFlag.OFFLINE):
                await departure.account.ledger.write(Step.BEGIN3)
        except BaseException:
            self._forget(departure)
            raise
        xml = departure.options.destination_xml or ""
        if options.has(MigrateFlag.OFFLINE):
            departure.disown = owner.on_close(lambda: self._offline_owner_gone(departure))
            # An offline migration has no perform, so what perform's cookie would carry goes with this one.
            return await source_cookie.offline(departure), xml
        driving = departure.driving = ByClient(departure, self._background.spawn)
        departure.rescue.by = lambda: self._peer_to_peer(departure)
        gone = errors.OperationAborted(f"the client that migrated domain '{domain.name}' has gone")
        departure.disown = owner.on_close(lambda: driving.gone(gone))
        self._background.spawn(f"migration of {domain.name}", self._live(departure, START))
        await either(driving.waiting, departure.over)
        if departure.over.is_set():
            self._answer(departure, f"migration of domain '{domain.name}'")
        return source_cookie.plain(departure), xml

    async def perform(self, domain: Guest, options: Options, cookie_in: bytes) -> bytes:
        """PERFORM3 driven by a client: the guest goes to where ``migrate_uri`` says. The next cookie."""
        departure = self._departures.get(domain.uuid)
        if departure is None or departure.state is not State.BEGIN3 or not isinstance(departure.driving, ByClient):
            raise errors.OperationInvalid(f"domain '{domain.name}' is not being prepared for migration: begin first")
        departure.options = replace(
            departure.options, bandwidth=options.bandwidth, flags=departure.options.flags | options.flags
        )
        there = await source_cookie.check_destination(departure, cookie_in)
        await stability.check_told(departure, there, self._guests.complete)
        # What begin has offered, and prepare has not taken up, is not had.
        departure.options = replace(departure.options, preempt=departure.options.preempt and there.preempt)
        departure.destination_qemu = there.qemu
        driving = departure.driving
        try:
            driving.perform(options.migrate_uri or "")
        except errors.RequestError as err:
            departure.fail(err)
        await either(driving.granted, departure.answerable)
        if not driving.granted.is_set():
            self._answer(departure, f"migration of domain '{domain.name}'")
        return await source_cookie.granting(departure)

    async def start_postcopy(self, domain: Guest) -> None:
        """START_POST_COPY: let ``domain``'s migration go over to post-copy as soon as it can.

        Raises ``OperationInvalid`` when it is in none that may.
        """
        departure = self._departures.get(domain.uuid)
        if departure is None:
            raise errors.OperationInvalid("post-copy can only be started while outgoing migration is in progress")
        await departure.shell.ask(Event.SWITCH)

    async def resume_postcopy(self, domain: Guest) -> None:
        """POSTCOPY_RESUME: try at once to take up a post-copy that has lost its way, and wait for its end.

        Raises ``OperationInvalid`` where there is none, and why it did not arrive.
        """
        departure = self._departures.get(domain.uuid)
        if departure is None or departure.state not in (State.POSTCOPY, State.POSTCOPY_FAILED):
            raise errors.OperationInvalid(f"domain '{domain.name}' has no post-copy migration that could be resumed")
        departure.hurry()
        await departure.answerable.wait()
        self._answer(departure, f"migration of domain '{domain.name}'")

    async def confirm(self, domain: Guest, cookie_in: bytes = b"", *, cancelled: bool) -> None:
        """CONFIRM3: the client says what the destination answered to finish; ``cookie_in`` is from there.

        After a failed perform the guest already runs on here, and confirming that again changes nothing. Raises
        ``OperationInvalid`` when there is no migration that could be confirmed.
        """
        departure = self._departures.get(domain.uuid)
        if departure is None:
            if cancelled:
                return
            raise errors.OperationInvalid(f"domain '{domain.name}' has no migration to confirm")
        if departure.options.has(MigrateFlag.OFFLINE):
            ending = self._end_offline(departure, arrived=not cancelled)
            await self._background.run(f"confirm {domain.name}", ending)
            return
        if departure.state is State.PERFORM3:
            raise errors.OperationInvalid(f"migration of domain '{domain.name}' is still sending: abort it first")
        if departure.state is State.BEGIN3:
            if not cancelled:
                raise errors.OperationInvalid(f"domain '{domain.name}' has not been sent, so it runs nowhere else")
            departure.fail(errors.OperationAborted("migration out job: canceled by client"))
        elif isinstance(departure.driving, ByClient):
            if not cancelled:
                await departure.account.hear(cookie_in)
            departure.driving.confirm(arrived=not cancelled)
        await departure.answerable.wait()
        if not cancelled:
            self._answer(departure, f"domain '{domain.name}' has not arrived, its migration")

    def _offline_owner_gone(self, departure: Departure) -> None:
        name = departure.begun.name
        departure.cause.set(errors.OperationAborted(f"the client that migrated domain '{name}' has gone"))
        self._background.spawn(f"end migration of {name}", self._end_offline(departure, arrived=False))

    async def _end_offline(self, departure: Departure, *, arrived: bool) -> None:
        """The definition is there too, or it is not; nothing runs that could be anywhere else."""
        departure.record.finish(
            JobType.COMPLETED if arrived else JobType.FAILED, error=str(departure.cause.error or "")
        )
        try:
            await departure.account.ledger.write(Step.LEFT if arrived else Step.STAYED)
            await departure.account.summarise()
        except errors.RequestError as err:
            log.error("%s: its history is not complete: %s", departure.shell.name, err)
        self._told(departure)
        self._forget(departure)
        if arrived:
            await self._leave(departure)

    # -- what both ways share -------------------------------------------------------------------------------------

    def _depart(self, domain: Guest, destination: str, options: Options) -> Departure:
        """A new migration of ``domain``, which the caller holds. Raises ``OperationInvalid`` when it does not run."""
        if not options.has(MigrateFlag.OFFLINE):
            domain.require_active()
        departure = Departure.of(
            *(domain, destination, options, self._settings),
            dialler=self._dialler,
            journal=self._journal,
            budget=self._budget,
        )
        domain.job = departure
        self._departures[domain.uuid] = departure
        return departure

    async def _begin(self, departure: Departure) -> None:
        """BEGIN3: preflight, and the options with the XML that the destination is to prepare."""
        domain, options = departure.domain, departure.options
        await preflight.check(domain, options)
        runs, configured, complete = domain.as_it_runs, guest_cpu.configured(domain), self._guests.complete
        xml = await apart.run(preflight.travelling, runs, configured, options.destination_xml, complete)
        if domain.state is DomainState.PAUSED:
            options = options.with_flags(MigrateFlag.PAUSED)
        departure.options = replace(
            options, destination_xml=xml, destination_name=options.destination_name or domain.name
        )

    async def _live(self, departure: Departure, start: Next[State]) -> None:
        """Run ``departure`` to its end and leave everything as that says."""
        try:
            await departure.live(start)
            await departure.account.summarise()
            self._told(departure)
            if departure.state is State.LEFT:
                await self._leave(departure)
        finally:
            self._forget(departure)
            departure.answerable.set()

    def _told(self, departure: Departure) -> None:
        record = departure.record
        self.completed.put(UUID(departure.begun.uuid), record)
        if departure.guest is not None:
            departure.guest.tell(EventID.JOB_COMPLETED, record=record)
        log.info(
            "domain=%s migration=%s outcome=%s bytes=%d ms=%d",
            *(departure.begun.name, departure.attempt, record.type.name, record.tunnel_bytes, record.elapsed_ms),
        )

    async def _leave(self, departure: Departure) -> None:
        """What stays here of a domain that has gone: nothing, or a definition that does not start by itself."""
        guest = departure.guest
        if guest is not None and guest.is_persistent and departure.options.has(MigrateFlag.UNDEFINE_SOURCE):
            await self._guests.undefine(guest)

    def _answer(self, departure: Departure, what: str) -> None:
        """Return when the guest has arrived; raise why it has not, or why nobody knows."""
        if departure.state is State.LEFT:
            return
        cause = departure.cause.error
        if waits_for := departure.waits_for:
            why = f"{cause}; " if departure.state is State.RETURNED else ""
            cause = errors.OperationFailed(f"{why}{waits_for}")
        assert cause is not None, "who does not arrive has a reason"
        raise told(cause, f"{what} failed in phase '{departure.account.failed_in}'", departure.hazards)

    def _forget(self, departure: Departure) -> None:
        if self._departures.get(UUID(departure.begun.uuid)) is departure:
            del self._departures[UUID(departure.begun.uuid)]
        departure.over.set()
        departure.disown()
        if departure.guest is not None and departure.guest.job is departure:
            departure.guest.job = None

    # -- what is left undecided -----------------------------------------------------------------------------------

    def check_free(self, uuid: UUID) -> None:
        """Raise ``OperationInvalid`` while the domain's migration out of here is not over."""
        departure = self._departures.get(uuid)
        if departure is not None:
            raise errors.OperationInvalid(
                f"domain '{departure.begun.name}' cannot be started here, it may run elsewhere: "
                f"{departure.waits_for or departure.description}"
            )

    @property
    def under_way(self) -> int:
        """How many guests are leaving, those that wait for a word among them."""
        return len(self._departures)

    def waiting(self) -> list[Departure]:
        """The migrations whose guest stands still here until it is known where it runs."""
        return [departure for departure in self._departures.values() if departure.waits_for]

    async def resolve(self, uuid: UUID, *, here: bool, who: str) -> None:
        """An operator decides where the guest runs, in the place of a destination that does not say.

        On return the decision is in the journal and is being carried out. Raises ``OperationInvalid`` where nothing
        is waited for, or where that cannot be decided; then nothing has changed.
        """
        departure = self._departures.get(uuid)
        if departure is None or not departure.waits_for:
            raise errors.OperationInvalid(f"no migration of domain {uuid} waits for a decision")
        word = "here" if here else f"at {departure.begun.peer}"
        log.warning("%s: %s says that the guest runs %s", departure.shell.name, who, word)
        await departure.account.ledger.record(f"{who} says that the guest runs {word}")
        doubt = departure.doubt
        departure.doubt = errors.OperationAborted(f"{who} has decided that the guest runs {word}")
        try:
            await departure.shell.ask(Event.RESOLVED_HERE if here else Event.RESOLVED_THERE)
        except errors.RequestError as err:
            departure.doubt = doubt
            await departure.account.ledger.note(f"refused to {who}: {err}")
            raise
        await departure.over.wait()

    def take_up(self, entry: Entry, guest: Guest | None, found: Next[State]) -> None:
        """Take up the migration of ``entry`` that an earlier daemon has left, as ``found`` says."""
        departure = Departure.left(
            entry, found.state, guest, self._settings, dialler=self._dialler, journal=self._journal
        )
        departure.doubt = errors.OperationFailed("the daemon was restarted in mid-migration")
        departure.driving = self._peer_to_peer(departure)
        if guest is not None:
            guest.job = departure
        self._departures[UUID(entry.begun.uuid)] = departure
        self._background.spawn(f"recover {entry.begun.name}", self._live(departure, found))


async def _offer_preempt(departure: Departure) -> None:
    """A client that drives hands the destination only cookies: begin's says what could be had from here."""
    options, version = (
        departure.options,
        await departure.domain.hypervisor.version() if departure.options.postcopy else 0,
    )
    departure.options = replace(options, preempt=combinations.can_preempt(options, version))


def told(cause: errors.RequestError, where: str, also: Sequence[str] = ()) -> errors.RequestError:
    """``cause`` with what was being done in front of it, its code unchanged; ``also``: what may be behind it."""
    code, domain, message = errors.triple(cause)
    return errors.RemoteError("; ".join((f"{where}: {message}", *also)), code=code, domain=domain, errno=cause.errno)
