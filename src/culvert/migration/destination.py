"""The destination's side of every migration of this host: who is arriving, and what became of those who came."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from uuid import UUID

from culvert.domain import format as xml_format
from culvert.drivers.qemu import migration as qemu
from culvert.drivers.qemu.domain import Domain
from culvert.drivers.qemu.driver import Driver
from culvert.ground import errors
from culvert.migration import cookie, foreign, guest_cpu, parameters, statistics
from culvert.migration.arrival import ANNOTATION, NAMELESS, Arrival
from culvert.migration.cookie import Cookie
from culvert.migration.native import BareStreams
from culvert.migration.outcomes import Outcomes, Word
from culvert.migration.parameters import Options
from culvert.migration.phases import Phase
from culvert.migration.settings import Settings
from culvert.migration.source import Owner
from culvert.migration.statistics import Records
from culvert.migration.ticket import Gate, Ticket, Token, refused
from culvert.migration.work import Background
from culvert.protocol.constants import DomainState, MigrateFlag, ShutoffReason, StoppedDetail
from culvert.protocol.culvert import Outcome

log = logging.getLogger(__name__)

REMEMBERED = 1000  # attempts whose reason for failing is kept to be asked for; the oldest are forgotten first
OFFLINE_MAX = 64  # offline migrations that are prepared at one time: each holds a definition


@dataclass(frozen=True, slots=True)
class _Offline:
    """An offline migration between prepare and finish; ``disown``: its connection no longer matters."""

    options: Options
    cookie: Cookie
    disown: Callable[[], None]


class Destination:
    """All arrivals; ``background`` owns what must go on when a client has gone."""

    def __init__(self, driver: Driver, settings: Settings, background: Background, outcomes: Outcomes) -> None:
        self._driver = driver
        self._settings = settings
        self._background = background
        self._arrivals: dict[str, Arrival] = {}
        self._offline: dict[str, _Offline] = {}
        self._preparing: set[str] = set()
        self._outcomes = outcomes
        self._reasons: OrderedDict[str, str] = OrderedDict()
        self.bare = BareStreams(background)
        """For sources that are no culvert and send without a tunnel."""
        self.completed = Records()
        """The record of each domain's last migration to here."""

    # -- jobs -----------------------------------------------------------------------------------------------------

    # -- the steps ------------------------------------------------------------------------------------------------

    async def prepare(self, options: Options, cookie_in: bytes, owner: Owner) -> tuple[bytes, Arrival | None]:
        """PREPARE3, with a tunnel or without: (our cookie, the arrival whose ``carry`` takes the data stream).

        Everything is made ready: XML checked, QEMU started and listening. When the connection ``owner`` ends before
        finish, the attempt is given up. There is no arrival for an offline migration. Raises what is wrong; then
        nothing is left of the attempt.
        """
        theirs = cookie.parse(cookie_in)
        if theirs.host_uuid == self._settings.host_uuid:
            raise errors.InternalError(f"Attempt to migrate guest to the same host {theirs.host_uuid}")
        parameters.check_combination(options)
        definition = foreign.parse(options.destination_xml or "")
        name = options.destination_name or definition.name
        if definition.uuid != str(theirs.uuid):
            raise errors.InternalError(f"Incoming cookie data had unexpected UUID {theirs.uuid} vs {definition.uuid}")
        if name in self._preparing:
            raise errors.OperationInvalid(f"domain '{name}' is being migrated to this host already")
        self._preparing.add(name)
        try:
            if (earlier := self._arrivals.get(name)) is not None and not earlier.lifeline.held:
                # Its source has gone and may come back; now it has, with something else in mind.
                again = errors.OperationAborted("the domain is being migrated to this host anew")
                await self._background.run(f"give up {name}", self._give_up(earlier, again))
            if options.has(MigrateFlag.OFFLINE):
                self._check_free(name, theirs.uuid)
                self._expect_offline(name, options, theirs, owner)
                return self._cookie(name, theirs), None
            as_it_runs = guest_cpu.obey(definition, theirs)
            guest_cpu.check_model(as_it_runs, self._driver.host.machines.cpu_models)
            domain = await self._driver.launch_incoming(as_it_runs, name)
            arrival = self._arrival(domain, options, theirs, owner)
            domain.job = arrival
            self._arrivals[name] = arrival
        finally:
            self._preparing.discard(name)
        try:
            await guest_cpu.verify(domain)
            guest_cpu.remember(domain, definition.cpu)
            await arrival.open()
            if not theirs.attempt and not options.has(MigrateFlag.TUNNELLED):
                await self.bare.expect(arrival)
        except BaseException as err:
            cause = (
                err if isinstance(err, errors.RequestError) else errors.OperationAborted("prepare was interrupted")
            )
            await self._background.run(f"give up {name}", self._give_up(arrival, cause))
            raise
        arrival.lifeline.hold(owner)
        arrival.disown = owner.on_close(lambda: self._owner_gone(arrival, owner))
        return self._cookie(name, theirs), arrival

    def _arrival(self, domain: Domain, options: Options, theirs: Cookie, owner: Owner) -> Arrival:
        # Driven by a client, the data comes from somebody else than who prepares.
        holder = owner.principal if options.has(MigrateFlag.PEER2PEER) else ""
        gate = Gate(Ticket.draw(), holder, asyncio.get_running_loop().time() + self._settings.attach_seconds)
        arrival = Arrival(
            *(domain, options, theirs),
            gate=gate,
            outcomes=self._outcomes,
            settings=self._settings,
            spawn=self._background.spawn,
            abandoned=lambda: self._abandoned(arrival),
        )
        return arrival

    def attach(self, text: str, who: str) -> tuple[Arrival, Token]:
        """The arrival whose data path the token in ``text`` opens, once, for ``who``.

        Raises ``AuthenticationFailed`` for a token that this host has not given out, that has been used, that has
        expired, or that was given to somebody else.
        """
        token = Token.parse(text)
        for arrival in self._arrivals.values():
            if arrival.gate.ticket.name == token.name:
                arrival.gate.admit(token, who, asyncio.get_running_loop().time())
                return arrival, token
        raise refused()

    async def finish(self, name: str, options: Options, cookie_in: bytes, *, cancelled: bool) -> tuple[Domain, bytes]:
        """FINISH3: (the domain that runs here now, the last cookie).

        With ``cancelled``, or when it does not come to that, raises why: ``MigrateFinishOk`` where there was only
        cleaning up to do, otherwise the destination's own reason. Goes on when the caller has gone.
        """
        if options.has(MigrateFlag.OFFLINE):
            return await self._finish_offline(name, cookie_in, cancelled=cancelled)
        arrival = self._arrivals.get(name)
        if arrival is None:
            raise errors.NoDomain(f"no migration of a domain '{name}' is prepared here (it may have been given up)")
        if arrival.phase is not Phase.PREPARE:
            raise errors.OperationInvalid(f"migration of domain '{name}' is being finished already")
        return await self._background.run(f"finish {name}", self._finish(arrival, cookie_in, cancelled=cancelled))

    async def _finish(self, arrival: Arrival, cookie_in: bytes, *, cancelled: bool) -> tuple[Domain, bytes]:
        domain = arrival.domain
        try:
            if cancelled:
                why = await arrival.why_cancelled()
                await arrival.give_up(errors.OperationAborted("the source cancelled the migration"))
                raise why or errors.MigrateFinishOk(
                    f"migration of domain '{domain.name}' is cancelled and cleaned up"
                )
            # A cookie that says nothing is accepted here, as libvirt does.
            theirs = cookie.parse(cookie_in) if cookie_in else arrival.cookie
            arrival.record.reported = theirs.statistics
            if arrival.options.has(MigrateFlag.PERSIST_DEST):
                await self._persist(arrival, theirs)
            await arrival.finish()
        except errors.RequestError as err:
            await arrival.give_up(err)
            raise
        finally:
            self._settled(arrival)
        return domain, self._cookie(domain.name, theirs, statistics.numbers(arrival.refreshed()))

    async def _persist(self, arrival: Arrival, theirs: Cookie) -> None:
        xml = theirs.persistent_xml or xml_format.format(guest_cpu.configured(arrival.domain), secure=True)
        definition = replace(foreign.parse(xml), name=arrival.domain.name, uuid=str(arrival.domain.uuid))
        await arrival.domain.became_persistent(self._driver.complete(definition))

    def _expect_offline(self, name: str, options: Options, theirs: Cookie, owner: Owner) -> None:
        """Keep what finish will define, until then or until the connection ``owner`` ends."""
        if name in self._offline:
            raise errors.OperationInvalid(f"domain '{name}' is being migrated to this host already")
        if len(self._offline) >= OFFLINE_MAX:
            raise errors.ResourceBusy(f"{OFFLINE_MAX} offline migrations to this host wait for their end already")

        def forget() -> None:
            del self._offline[name]

        self._offline[name] = _Offline(options, theirs, owner.on_close(forget))

    async def _finish_offline(self, name: str, cookie_in: bytes, *, cancelled: bool) -> tuple[Domain, bytes]:
        if (expected := self._offline.pop(name, None)) is None:
            raise errors.NoDomain(f"no offline migration of a domain '{name}' is prepared here")
        expected.disown()
        options, theirs = expected.options, expected.cookie
        if cancelled:
            raise errors.MigrateFinishOk(f"offline migration of domain '{name}' is cancelled")
        # libvirt's client, which skips perform, sends none; then the one of begin counts.
        theirs = cookie.parse(cookie_in) if cookie_in else theirs
        definition = replace(foreign.parse(theirs.persistent_xml or options.destination_xml or ""), name=name)
        domain = await self._driver.define_xml(xml_format.format(definition))
        return domain, self._cookie(name, theirs)

    # -- what became of it ----------------------------------------------------------------------------------------

    def _check_free(self, name: str, uuid: UUID) -> None:
        """Raises ``DomainExists`` when another domain has this name, or this UUID under another name."""
        for other in self._driver.domains():
            if (other.name == name) != (other.uuid == uuid):
                raise errors.DomainExists(f"domain '{other.name}' already exists here with uuid {other.uuid}")

    async def outcome(self, attempt: str) -> tuple[Outcome, str]:
        """What became of ``attempt``, and why, for a source that has lost the answer to finish.

        Who asks has no answer under way any more, so an attempt that nobody is finishing is given up before the
        answer: a late finish can then not start the guest behind the source's back.
        """
        for arrival in list(self._arrivals.values()):
            if arrival.attempt == attempt:
                if arrival.phase is Phase.PREPARE:
                    await self._background.run(
                        f"give up {arrival.domain.name}",
                        self._give_up(
                            arrival, errors.OperationAborted("the source lost its connection before finish")
                        ),
                    )
                    break
                return arrival.outcome, ""
        if await self._outcomes.get(attempt) is Word.RUNNING:
            return Outcome.RUNNING, ""
        if attempt in self._reasons:
            return Outcome.GONE, self._reasons[attempt]
        return Outcome.UNKNOWN, "the destination has no such migration, and will never run its guest"

    def _owner_gone(self, arrival: Arrival, owner: Owner) -> None:
        arrival.lifeline.release(owner)
        if arrival.outcome is Outcome.GONE:
            self._settled(arrival)

    def _abandoned(self, arrival: Arrival) -> None:
        """Nobody of the source's side is there any more."""
        if arrival.phase is Phase.PREPARE and arrival.outcome is Outcome.PENDING:
            waited = f", {arrival.lifeline.patience:g} s ago" if arrival.lifeline.patience else ""
            gone = errors.ConnectionLost(f"the source's last connection has ended before finish{waited}")
            self._background.spawn(f"give up {arrival.domain.name}", self._give_up(arrival, gone))

    async def _give_up(self, arrival: Arrival, cause: errors.RequestError) -> None:
        try:
            await arrival.give_up(cause)
        except errors.RequestError as err:
            log.error("domain=%s migration=%s %s", arrival.domain.name, arrival.attempt, err)
        finally:
            self._settled(arrival)

    def _settled(self, arrival: Arrival) -> None:
        """The attempt is over: remember how."""
        if self._arrivals.get(arrival.domain.name) is arrival:
            del self._arrivals[arrival.domain.name]
        arrival.disown()
        if arrival.attempt and arrival.cause is not None:
            self._reasons[arrival.attempt] = str(arrival.cause)
            while len(self._reasons) > REMEMBERED:
                self._reasons.popitem(last=False)
        self.completed.put(arrival.domain.uuid, arrival.refreshed())

    async def recover(self) -> None:
        """After a restart of the daemon: a guest whose CPUs run has arrived; one that still waits is killed.

        As libvirt's qemuProcessRecoverMigrationIn, for the phases before and in finish.
        """
        for domain in self._driver.domains():
            attempt = domain.annotations.get(ANNOTATION)
            if attempt is None or not domain.is_active:
                continue
            nameless = attempt == NAMELESS  # a libvirtd's: nothing but the guest itself tells
            word = await self._outcomes.get(attempt)
            if word is Word.RUNNING or ((nameless or word is Word.FINISHING) and domain.state is DomainState.RUNNING):
                await self._outcomes.put("" if nameless else attempt, Word.RUNNING, domain.name)
                await qemu.annotate(domain, ANNOTATION, "")
                continue
            log.warning("domain=%s migration=%s had not arrived when the daemon ended: killed", domain.name, attempt)
            self._reasons[attempt] = "the destination's daemon was restarted before the guest had arrived"
            await domain.kill(ShutoffReason.FAILED, StoppedDetail.FAILED)

    def _cookie(self, name: str, theirs: Cookie, figures: dict[str, int] | None = None) -> bytes:
        return cookie.build(
            Cookie(
                name=name,
                uuid=theirs.uuid,
                hostname=self._settings.hostname,
                host_uuid=self._settings.host_uuid,
                attempt=theirs.attempt,
                statistics=figures or {},
            )
        )
