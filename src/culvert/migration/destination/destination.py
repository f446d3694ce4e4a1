"""The destination's side of every migration of this host: who is arriving, and what became of those who came."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import TypeVar
from uuid import UUID

from culvert.channels.ticket import Gate, Ticket, Token, refused
from culvert.channels.work import Background
from culvert.domain import format as xml_format
from culvert.domain import parse as xml_parse
from culvert.domain.definition import DomainDef
from culvert.ground import errors
from culvert.hypervisor.contract import Guest, Guests
from culvert.io import apart
from culvert.migration.destination.arrival import Arrival
from culvert.migration.destination.bare import BareStreams
from culvert.migration.destination.intake import Intake
from culvert.migration.handover.machine import OVER, Next, Step
from culvert.migration.handover.machine_destination import FINAL, START, WORDS, Event, State, Word
from culvert.migration.handover.machine_recovery import DESTINATION
from culvert.migration.journal.history import Begun, Direction, Entry, Key
from culvert.migration.journal.journal import Journal
from culvert.migration.options import combinations, cookie, fitting, grant, guest_cpu, parameters
from culvert.migration.options.cookie import Cookie
from culvert.migration.options.owner import Owner
from culvert.migration.options.parameters import Options
from culvert.migration.options.settings import Settings
from culvert.migration.peers import cookies
from culvert.migration.progress import statistics
from culvert.migration.progress.statistics import JobRecords
from culvert.migration.recovery import recovery
from culvert.protocol.constants_migrate import MigrateFlag
from culvert.protocol.culvert import Outcome

OUTCOMES: dict[Word, Outcome] = {word: Outcome[word.name] for word in Word}
ENDS: dict[Step, Word] = {Step.ARRIVED: Word.RUNNING, Step.GONE: Word.GONE, Step.LOST: Word.LOST}
"""The last step of a migration that is over → what is said of it."""

IN_POSTCOPY = (State.SWITCHED, State.STARTING_POSTCOPY, State.POSTCOPY)

E = TypeVar("E", bound=errors.RequestError)

log = logging.getLogger(__name__)

OFFLINE_MAX = 64  # offline migrations that are prepared at one time: each holds a definition


@dataclass(frozen=True, slots=True)
class _Offline:
    """An offline migration between prepare and finish; ``disown``: its connection no longer matters."""

    options: Options
    cookie: Cookie
    disown: Callable[[], None]


class Destination:
    """All arrivals; ``background`` owns what must go on when a client has gone."""

    def __init__(self, guests: Guests, settings: Settings, background: Background, journal: Journal) -> None:
        self._guests = guests
        self._settings = settings
        self._background = background
        self._journal = journal
        self._arrivals: dict[str, Arrival] = {}
        self._refused: dict[str, Arrival] = {}
        """Those that came to nothing while their source does not know it yet, to tell it why."""
        self._offline: dict[str, _Offline] = {}
        self.bare = BareStreams(background)
        """For sources that are no culvert and send without a tunnel."""
        self.completed = JobRecords()
        """The record of each domain's last migration to here."""

    # -- the steps ------------------------------------------------------------------------------------------------

    async def prepare(self, options: Options, cookie_in: bytes, owner: Owner) -> tuple[bytes, Intake | None]:
        """PREPARE3, with a tunnel or without: (our cookie, where the data is to come in).

        Everything is made ready: XML checked, QEMU started and listening. When the connection ``owner`` ends before
        finish, the attempt is given up. There is no intake for an offline migration. Raises what is wrong; then
        nothing is left of the attempt.
        """
        theirs = await cookies.parse(cookie_in)
        if theirs.host_uuid == self._settings.host_uuid:
            raise errors.InternalError(f"Attempt to migrate guest to the same host {theirs.host_uuid}")
        parameters.check_combination(options)
        definition = await apart.run(xml_parse.parse, options.destination_xml or "")
        name = options.destination_name or definition.name
        if definition.uuid != str(theirs.uuid):
            raise errors.InternalError(f"Incoming cookie data had unexpected UUID {theirs.uuid} vs {definition.uuid}")
        while (earlier := self._arrivals.get(name)) is not None:
            await self._make_room(earlier)
        self._refused.pop(name, None)
        if options.has(MigrateFlag.OFFLINE):
            self._check_free(name, theirs.uuid)
            self._expect_offline(name, options, theirs, owner)
            return await self._cookie(name, theirs), None
        as_it_runs = await apart.run(guest_cpu.obey, definition, theirs)
        self._check_model(as_it_runs)
        arrival = self._arrivals[name] = self._arrival(options, theirs, definition, as_it_runs, owner=owner)
        self._background.spawn(f"arrival of {name}", self._live(arrival, START))
        try:
            await asyncio.shield(arrival.ready)
        except asyncio.CancelledError:
            arrival.fail(Event.CUT, errors.OperationAborted("prepare was interrupted"))
            raise
        except errors.RequestError:
            await arrival.over.wait()
            raise
        assert arrival.intake is not None, "it comes with QEMU"
        arrival.intake.lifeline.hold(owner)
        arrival.disown = owner.on_close(lambda: self._owner_gone(arrival, owner))
        told = await arrival.describe()
        if told is None:
            return await self._cookie(name, theirs, guest=arrival.guest), arrival.intake
        qemu = await arrival.domain.hypervisor.version()
        preempt = arrival.options.preempt
        answer = await self._cookie(name, theirs, machine=told, preempt=preempt, qemu=qemu, guest=arrival.guest)
        return answer, arrival.intake

    async def _make_room(self, earlier: Arrival) -> None:
        """Raises ``OperationInvalid`` unless the source of ``earlier`` has gone and may come back: now it has, with
        something else in mind."""
        name = earlier.begun.name
        waits = earlier.state is State.PREPARE and earlier.intake is not None and not earlier.intake.lifeline.held
        if not waits:
            raise errors.OperationInvalid(f"domain '{name}' is being migrated to this host already")
        earlier.fail(Event.CUT, errors.OperationAborted("the domain is being migrated to this host anew"))
        await earlier.over.wait()

    def _arrival(
        self, options: Options, theirs: Cookie, definition: DomainDef, as_it_runs: DomainDef, *, owner: Owner
    ) -> Arrival:
        name = options.destination_name or definition.name
        begun = Begun(
            Key(theirs.attempt or secrets.token_hex(16), Direction.IN),
            name,
            str(theirs.uuid),
            peer=theirs.hostname,
            stock=not theirs.attempt,
            secret=theirs.seal,
            flags=int(options.flags),
        )

        async def launch(arrival: Arrival) -> Guest:
            try:
                domain = await self._guests.launch_incoming(as_it_runs, name)
            except errors.ConfigUnsupported as err:
                raise self._not_here(err, as_it_runs) from err
            domain.job = arrival
            arrival.guest = domain
            await guest_cpu.verify(domain)
            guest_cpu.remember(domain, definition.cpu)
            # Driven by a client, the data comes from somebody else than who prepares.
            holder = owner.principal if options.has(MigrateFlag.PEER2PEER) else ""
            closes = asyncio.get_running_loop().time() + self._settings.attach_seconds
            if theirs.preempt and not options.has(MigrateFlag.PEER2PEER):
                can = combinations.can_preempt(options, await domain.hypervisor.version())
                arrival.options = replace(options, preempt=can)
            arrival.intake = self._intake(arrival, Gate(Ticket.draw(), holder, closes))
            arrival.options = await arrival.intake.make_ready()
            if not theirs.attempt and not options.has(MigrateFlag.TUNNELLED):
                await self.bare.expect(arrival.intake)
            return domain

        return self._make(begun, options, theirs, launch)

    def _check_model(self, definition: DomainDef) -> None:
        try:
            guest_cpu.check_model(definition, self._guests.cpu_models)
        except errors.CpuIncompatible as err:
            raise self._not_here(err, definition) from err

    def _not_here(self, error: E, definition: DomainDef) -> E:
        machines, host = self._guests.machines, self._settings.hostname
        return fitting.refused(error, host=host, machine=definition.machine or "", machines=machines)

    def _make(
        self,
        begun: Begun,
        options: Options,
        theirs: Cookie | None,
        launch: Callable[[Arrival], Awaitable[Guest]],
        *,
        guest: Guest | None = None,
        state: State = State.PREPARE,
        left: bool = False,
    ) -> Arrival:
        return Arrival(
            *(begun, options, theirs, self._journal),
            launch=launch,
            persist=self._persist,
            silence=self._settings.give_up_seconds,
            guest=guest,
            state=state,
            left=left,
        )

    def _intake(self, arrival: Arrival, gate: Gate, *, adopted: bool = False) -> Intake:
        async def attaching() -> None:
            if arrival.options.postcopy:
                await arrival.shell.ask(Event.ATTACHED)

        def broken(cause: errors.RequestError) -> None:
            # Once finish has begun, it alone decides: it sees for itself what QEMU has got. Where the source may
            # have switched to post-copy, QEMU says what the end of its data path means.
            begun = arrival.intake is not None and arrival.intake.may_have_begun
            if arrival.state is State.PREPARE or (arrival.state is State.HELD and not begun):
                arrival.fail(Event.BROKEN, cause)
            elif arrival.options.postcopy and arrival.intake is not None:
                arrival.intake.let_go(str(cause))

        def abandoned() -> None:
            patience = arrival.intake.lifeline.patience if arrival.intake is not None else 0
            waited = f", {patience:g} s ago" if patience else ""
            gone = errors.ConnectionLost(f"the source's last connection has ended before finish{waited}")
            arrival.fail(Event.CUT, gone)
            broken(gone)

        return Intake(
            *(arrival.shell.name, arrival.domain, arrival.options, self._settings),
            gate=gate,
            spawn=self._background.spawn,
            attaching=attaching,
            broken=broken,
            abandoned=abandoned,
            adopted=adopted,
        )

    async def _live(self, arrival: Arrival, start: Next[State]) -> None:
        """Run ``arrival`` to its end and leave everything as that says."""
        try:
            await arrival.live(start)
            await arrival.summarise()
            self.completed.put(UUID(arrival.begun.uuid), arrival.refreshed())
        finally:
            if self._arrivals.get(arrival.begun.name) is arrival:
                del self._arrivals[arrival.begun.name]
            if arrival.state is State.GONE and arrival.held:
                self._refused[arrival.begun.name] = arrival
            else:
                arrival.disown()
            arrival.over.set()

    def attach(self, text: str, who: str) -> tuple[Intake, Token]:
        """The intake that the token in ``text`` opens, once, for ``who``.

        Raises ``AuthenticationFailed`` for a token that this host has not given out, that has been used, that has
        expired, or that was given to somebody else.
        """
        token = Token.parse(text)
        for arrival in self._arrivals.values():
            if arrival.intake is not None and arrival.intake.gate.ticket.name == token.name:
                arrival.intake.gate.admit(token, who, asyncio.get_running_loop().time())
                return arrival.intake, token
        raise refused()

    def recover(self, attempt: str, secret: str, owner: Owner, *, preempt: bool) -> tuple[str, Ticket]:
        """Make ready for a new way of the post-copy ``attempt``: (the domain's name, what opens it).

        Raises ``OperationInvalid`` where there is none that needs one, ``AuthenticationFailed`` for a wrong grant.
        """
        for arrival in self._arrivals.values():
            if arrival.attempt == attempt and arrival.state in IN_POSTCOPY and arrival.intake is not None:
                if not grant.opens(secret, arrival.begun.secret):
                    raise errors.AuthenticationFailed("this grant does not open the migration")
                closes = asyncio.get_running_loop().time() + self._settings.attach_seconds
                gate = Gate(Ticket.draw(), owner.principal, closes)
                arrival.intake.reopen(gate, preempt=preempt)
                return arrival.begun.name, gate.ticket
        raise errors.OperationInvalid(f"no post-copy {attempt} waits here for another data path")

    async def finish(
        self, name: str, options: Options, cookie_in: bytes, owner: Owner, *, cancelled: bool
    ) -> tuple[Guest, bytes]:
        """FINISH3, by the connection ``owner``: (the domain that runs here now, the last cookie).

        With ``cancelled``, or when it does not come to that, raises why: ``MigrateFinishOk`` where there was only
        cleaning up to do, otherwise the destination's own reason. Goes on when the caller has gone.
        """
        if options.has(MigrateFlag.OFFLINE):
            return await self._finish_offline(name, cookie_in, cancelled=cancelled)
        off = _attempt(cookie_in) if cancelled else ""
        if (earlier := self._refused.get(name)) is not None and off in ("", earlier.attempt):
            del self._refused[name]
            earlier.disown()
            raise earlier.cause or errors.OperationFailed(f"{earlier.shell.name} is over")
        arrival = self._arrivals.get(name)
        if off:
            # It may come late, and what comes by this name meanwhile is none of its business.
            arrival = next((found for found in self._arrivals.values() if found.attempt == off), None)
        if arrival is None:
            raise errors.NoDomain(f"no migration of a domain '{name}' is prepared here (it may have been given up)")
        by_owner = arrival.intake is not None and arrival.intake.lifeline.is_held_by(owner)
        finishing = self._finish(arrival, cookie_in, cancelled=cancelled, by_owner=by_owner)
        return await self._background.run(f"finish {name}", finishing)

    async def _finish(
        self, arrival: Arrival, cookie_in: bytes, *, cancelled: bool, by_owner: bool
    ) -> tuple[Guest, bytes]:
        if cancelled:
            why = await arrival.call_off()
            await arrival.over.wait()
            raise why
        # A cookie that says nothing is accepted here, as libvirt does.
        theirs = await cookies.parse(cookie_in) if cookie_in else arrival.theirs
        assert theirs is not None, "prepared by a cookie"
        try:
            await arrival.finish(theirs, by_owner=by_owner)
        except errors.RequestError:
            if arrival.state in FINAL:
                await arrival.over.wait()
            raise
        figures = statistics.numbers(arrival.refreshed())
        if arrival.started is not None:
            figures |= arrival.started.told().figures()
        return arrival.domain, await self._cookie(arrival.begun.name, theirs, figures)

    async def _persist(self, arrival: Arrival, theirs: Cookie) -> None:
        runs, begun = guest_cpu.configured(arrival.domain), arrival.begun

        def read() -> DomainDef:
            definition = xml_parse.parse(theirs.persistent_xml or xml_format.format(runs, secure=True))
            return self._guests.complete(replace(definition, name=begun.name, uuid=begun.uuid))

        await arrival.domain.became_persistent(await apart.run(read))

    def _expect_offline(self, name: str, options: Options, theirs: Cookie, owner: Owner) -> None:
        """Keep what finish will define, until then or until the connection ``owner`` ends."""
        if name in self._offline:
            raise errors.OperationInvalid(f"domain '{name}' is being migrated to this host already")
        if len(self._offline) >= OFFLINE_MAX:
            raise errors.ResourceBusy(f"{OFFLINE_MAX} offline migrations to this host wait for their end already")

        def forget() -> None:
            del self._offline[name]

        self._offline[name] = _Offline(options, theirs, owner.on_close(forget))

    async def _finish_offline(self, name: str, cookie_in: bytes, *, cancelled: bool) -> tuple[Guest, bytes]:
        if (expected := self._offline.pop(name, None)) is None:
            raise errors.NoDomain(f"no offline migration of a domain '{name}' is prepared here")
        expected.disown()
        options, theirs = expected.options, expected.cookie
        if cancelled:
            raise errors.MigrateFinishOk(f"offline migration of domain '{name}' is cancelled")
        # libvirt's client, which skips perform, sends none; then the one of begin counts.
        theirs = await cookies.parse(cookie_in) if cookie_in else theirs
        xml = theirs.persistent_xml or options.destination_xml or ""
        text = await apart.run(lambda: xml_format.format(replace(xml_parse.parse(xml), name=name), secure=True))
        domain = await self._guests.define_xml(text)
        return domain, await self._cookie(name, theirs)

    # -- what became of it ----------------------------------------------------------------------------------------

    def _check_free(self, name: str, uuid: UUID) -> None:
        """Raises ``DomainExists`` when another domain has this name, or this UUID under another name."""
        for other in self._guests.domains():
            if (other.name == name) != (other.uuid == uuid):
                raise errors.DomainExists(f"domain '{other.name}' already exists here with uuid {other.uuid}")

    @property
    def under_way(self) -> int:
        """How many guests are arriving."""
        return len(self._arrivals)

    async def outcome(self, attempt: str, seal: str | None) -> tuple[Outcome, str]:
        """What became of ``attempt``, and why, for a source that has lost the answer to finish.

        Who asks has no answer under way any more, so an attempt that nobody is finishing is given up before the
        answer: a late finish can then not start the guest behind the source's back. So who asks shows the ``seal``;
        None: of a source that does not know that it has to (wire 1). Raises ``errors.AuthenticationFailed``.
        """
        for arrival in self._arrivals.values():
            if arrival.attempt == attempt:
                _check_seal(arrival.begun, seal, arrival.theirs)
                asked = errors.OperationAborted("the source lost its connection before finish")
                await arrival.ask(asked)
                word = WORDS[arrival.state]
                return OUTCOMES[word], str(arrival.cause or "") if word is not Word.RUNNING else ""
        known = cookie.ATTEMPT.fullmatch(attempt) is not None
        entry = await self._journal.get(Key(attempt, Direction.IN)) if known else None
        if entry is None:
            return Outcome.UNKNOWN, "the destination has no record of such a migration, and promises nothing"
        _check_seal(entry.begun, seal, None)
        if entry.step not in OVER:
            # Its last row could not be written, or is being found out: what QEMU says decides, as after a restart.
            # A guest that another attempt brings now is not the one that this attempt has left.
            anew = entry.begun.name in self._arrivals
            guest = None if anew else recovery.find(self._guests, entry)
            with contextlib.suppress(errors.RequestError):
                self.take_up(entry, guest, DESTINATION[entry.step, await recovery.ask(guest, entry)])
            return Outcome.PENDING, ""
        return OUTCOMES[ENDS[entry.step]], entry.cause

    def _owner_gone(self, arrival: Arrival, owner: Owner) -> None:
        if self._refused.get(arrival.begun.name) is arrival:
            del self._refused[arrival.begun.name]
        if arrival.intake is not None:
            arrival.intake.lifeline.release(owner)

    def take_up(self, entry: Entry, guest: Guest | None, found: Next[State]) -> None:
        """Take up the migration of ``entry`` that an earlier daemon has left, as ``found`` says."""

        async def nothing_to_launch(arrival: Arrival) -> Guest:
            return arrival.domain

        options = Options(flags=MigrateFlag(entry.begun.flags))
        arrival = self._make(
            *(entry.begun, options, None, nothing_to_launch), guest=guest, state=found.state, left=True
        )
        arrival.cause = errors.OperationFailed("the destination's daemon was restarted before the guest had arrived")
        if guest is not None and guest.is_active and found.state not in FINAL:
            guest.job = arrival
            arrival.intake = self._intake(arrival, Gate(Ticket.draw(), "", 0.0), adopted=True)
            arrival.ready.set_result(None)
        self._arrivals.setdefault(entry.begun.name, arrival)
        self._background.spawn(f"recover {entry.begun.name}", self._live(arrival, found))

    async def _cookie(
        self,
        name: str,
        theirs: Cookie,
        figures: dict[str, int] | None = None,
        *,
        machine: str | None = None,
        preempt: bool = False,
        qemu: int = 0,
        guest: Guest | None = None,
    ) -> bytes:
        return await cookies.build(
            Cookie(
                name=name,
                uuid=theirs.uuid,
                hostname=self._settings.hostname,
                host_uuid=self._settings.host_uuid,
                attempt=theirs.attempt,
                preempt=preempt,
                qemu=qemu,
                machine_xml=machine,
                screen=None if guest is None else guest.hypervisor.screen(),
                statistics=figures or {},
            )
        )


def _attempt(cookie_in: bytes) -> str:
    """The attempt that a cookie names; empty where it names none."""
    with contextlib.suppress(errors.RequestError):
        return cookie.parse(cookie_in).attempt
    return ""


def _check_seal(begun: Begun, seal: str | None, theirs: Cookie | None) -> None:
    """Raises ``errors.AuthenticationFailed`` unless ``seal`` is that of ``begun``, or its source knows of none.

    That is known by its cookie, where this daemon has seen one (``theirs``).
    """
    asked = f"what became of the migration of domain '{begun.name}' is told to its source"
    if seal is None:
        if theirs is not None and theirs.wire > 1:
            raise errors.AuthenticationFailed(f"{asked}, which shows the seal: MIGRATION_OUTCOME of wire 2")
    elif not grant.is_seal(seal, begun.secret):
        raise errors.AuthenticationFailed(f"{asked}, and the seal shown is not that of this attempt")
