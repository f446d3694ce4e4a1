"""One migration of a guest out of this host: the source's machine with its guest, its peer and its journal around it.

What happens when is in ``machine_source``; here is how each of its commands is done. Until the grant is handed out
the guest is the source's, and whatever goes wrong lets it run on here; from then on it stands still until the
destination, or an operator, has said what became of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar
from uuid import UUID

from culvert.drivers.qemu import migration as qemu
from culvert.drivers.qemu.domain import Domain
from culvert.ground import errors
from culvert.migration import ask, grant, guest_here, statistics
from culvert.migration.budget import Budget
from culvert.migration.cause import Cause
from culvert.migration.driving import Driving, Rescuing
from culvert.migration.history import Begun, Direction, Entry, Key, Summary
from culvert.migration.journal import Journal
from culvert.migration.machine import Do, Next, Peer, Step
from culvert.migration.machine_source import FINAL, START, Event, State, table
from culvert.migration.parameters import Options
from culvert.migration.route import Way
from culvert.migration.sending import Sending
from culvert.migration.settings import Settings
from culvert.migration.shell import Rules, Shell
from culvert.migration.steps import SOURCE_STEPS
from culvert.protocol import types
from culvert.protocol.constants import DomainEvent as Lifecycle
from culvert.protocol.constants import (
    DomainState,
    JobOperation,
    JobType,
    MigrateFlag,
    PausedReason,
    SuspendedDetail,
)

log = logging.getLogger(__name__)

T = TypeVar("T")

RULES = {peer: Rules("source", table(peer), FINAL, Event.UNWRITTEN) for peer in Peer}

ASK_AGAIN = (0.2, 0.5, 1.0, 2.0, 5.0)  # seconds between two tries; the last one repeats

_STANDS = {
    State.POSTCOPY: (DomainState.PAUSED, PausedReason.POSTCOPY, (Lifecycle.SUSPENDED, SuspendedDetail.POSTCOPY)),
    State.POSTCOPY_FAILED: (
        *(DomainState.PAUSED, PausedReason.POSTCOPY_FAILED),
        (Lifecycle.SUSPENDED, SuspendedDetail.POSTCOPY_FAILED),
    ),
}
"""state → how the guest's copy here is shown, and the event."""

_CANCELLABLE = (State.BEGIN3, State.PERFORM3)
_WAITING = (State.ASKING, State.UNDECIDED, State.POSTCOPY_FAILED)
_DECIDED = (State.CONFIRM3, State.CONFIRM3_CANCELLED, *FINAL)


class Departure:
    """``begun.key.attempt`` names this migration towards the destination, for ever. ``guest`` is ``None`` where an
    earlier daemon has begun it and nothing of the domain is left here."""

    def __init__(
        self,
        begun: Begun,
        guest: Domain | None,
        options: Options,
        settings: Settings,
        *,
        journal: Journal,
        budget: Budget | None = None,
        state: State = State.BEGIN3,
    ) -> None:
        self.begun = begun
        self.guest = guest
        self.options = options
        self.settings = settings
        self.journal = journal
        self.driving: Driving | None = None
        self.rescue: Callable[[], Rescuing] | None = None
        """Who takes up a post-copy that has lost its way, whoever drove it before."""
        self.destination_uri = begun.peer
        self.cause = Cause(f"migration {begun.key.attempt}")
        self.doubt: errors.RequestError | None = None
        """What came in the place of a good answer to finish."""
        self.obstacle = ""
        """Why the destination has not said yet what became of the guest."""
        self.record = statistics.Record(
            operation=JobOperation.MIGRATION_OUT, type=JobType.UNBOUNDED, step=SOURCE_STEPS[state]
        )
        self.reached = state
        """The furthest state before the end was decided, for telling where it failed."""
        self.answerable = asyncio.Event()
        """Who asked for this migration can be told how it ended, or that only an operator can end it."""
        self.over = asyncio.Event()
        """Set when nothing more will be done about this migration."""
        self.disown: Callable[[], None] = lambda: None
        """Ends the care for the connection that drives this migration."""
        self._budget = budget or Budget()
        self._recorded = state is not State.BEGIN3
        self._sending: Sending | None = None
        self._sent = False
        self._way: Way | None = None
        self._tries = 0
        self._way_lost = state is State.POSTCOPY_FAILED
        self._wake = asyncio.Event()
        self._tasks: asyncio.TaskGroup | None = None
        self.shell: Shell[State, Event] = Shell(
            name=f"migration {self.attempt} of domain '{begun.name}'",
            rules=RULES[Peer.STOCK if begun.stock else Peer.CULVERT],
            state=state,
            write=self.write,
            acts={
                Do.PREPARE: self._prepare,
                Do.SEND: self._send,
                Do.SWITCH: self._switch,
                Do.RECOVER: self._recover,
                Do.STOP_SENDING: self._stop_sending,
                Do.GRANT: self._grant,
                Do.CALL_OFF: self._call_off,
                Do.ASK: self._ask,
                Do.WAIT: self._wait,
                Do.RESUME: self._resume,
                Do.KILL: self._kill,
                Do.REPORT: self._report,
            },
            entered=self._entered,
            unwritten=self._unwritten,
        )

    @classmethod
    def of(
        cls,
        domain: Domain,
        destination: str,
        options: Options,
        settings: Settings,
        *,
        journal: Journal,
        budget: Budget,
    ) -> Departure:
        """A new migration of ``domain``."""
        begun = Begun(
            Key(secrets.token_hex(16), Direction.OUT),
            domain.name,
            str(domain.uuid),
            peer=destination,
            was_running=domain.state is DomainState.RUNNING,
            flags=int(options.flags),
            secret=grant.make(),
        )
        return cls(begun, domain, options, settings, journal=journal, budget=budget)

    @classmethod
    def left(
        cls, entry: Entry, state: State, guest: Domain | None, settings: Settings, journal: Journal
    ) -> Departure:
        """The migration that an earlier daemon has left, to go on in ``state``."""
        options = Options(flags=MigrateFlag(entry.begun.flags))
        return cls(entry.begun, guest, options, settings, journal=journal, state=state)

    # -- what it is -----------------------------------------------------------------------------------------------

    @property
    def attempt(self) -> str:
        """The name of this migration, for both sides."""
        return self.begun.key.attempt

    @property
    def state(self) -> State:
        """Where the machine is."""
        return self.shell.state

    @property
    def domain(self) -> Domain:
        """The guest's domain. Raises ``NoDomain`` where nothing of it is left."""
        if self.guest is None:
            raise errors.NoDomain(f"domain '{self.begun.name}' is not on this host any more")
        return self.guest

    @property
    def on_wire(self) -> types.Domain:
        """The domain as the destination is asked about it."""
        return types.Domain(self.begun.name, UUID(self.begun.uuid).bytes, -1)

    @property
    def sends(self) -> bool:
        """Whether QEMU is under way, so that its limits can be changed."""
        return self._sending is not None and self.state in (State.PERFORM3, State.SWITCHING, State.POSTCOPY)

    @property
    def description(self) -> str:
        """What occupies the domain (``drivers.qemu.domain.Job``)."""
        return f"migration out, {waits}" if (waits := self.waits_for) else "migration out"

    @property
    def waits_for(self) -> str:
        """What a guest that stands still here waits for; empty while it need not wait."""
        if self.state not in _WAITING:
            return ""
        text = f"waiting for {self.begun.peer or 'the destination'} to say whether the guest runs there"
        text += f": {self.obstacle}" if self.obstacle else ""
        if self.state is State.UNDECIDED:
            text += f"; 'culvert resolve {self.begun.name}' decides in its place"
        return text

    # -- what others may do at any time ---------------------------------------------------------------------------

    def fail(self, cause: errors.RequestError) -> None:
        """End this migration because of ``cause``; the first cause is the one that is reported.

        Does nothing as soon as everything is sent: from then on the destination decides.
        """
        if self.state in _CANCELLABLE and not self._sent and self.cause.set(cause):
            log.info("%s fails in '%s': %s", self.shell.name, self.state.value, cause)

    def better(self, cause: errors.RequestError, *, than: tuple[type[errors.RequestError], ...]) -> None:
        """The other end says why it failed; that is told instead of what was only seen from here."""
        if isinstance(self.cause.error, than):
            self.cause.error = cause
            if self.record.ended is not None:
                self.record.error = str(cause)

    def cancel(self) -> None:
        """Who asked for the migration wants it no longer. Raises ``OperationInvalid`` when it is too late."""
        if self.state not in _CANCELLABLE or self._sent:
            raise errors.OperationInvalid(
                f"migration of domain '{self.begun.name}' is in phase '{self.state.value}' and can no longer be "
                "aborted: the destination decides"
            )
        self.fail(errors.OperationAborted("migration out job: canceled by client"))

    async def until_failed(self, work: Awaitable[T]) -> T:
        """The result of ``work``; if ``fail`` is called first, ``work`` is cancelled and the cause raised."""
        return await self.cause.guard(work)

    async def limit(self, mib_per_second: int) -> None:
        """Send at most so much from now on; see ``Sending.limit``."""
        if self._sending is not None:
            await self._sending.limit(mib_per_second)

    async def refreshed(self) -> statistics.Record:
        """The job's record with the latest figures."""
        if self._sending is not None:
            if self.sends:
                await self._sending.refresh()
            self._sending.count()
        return self.record

    # -- the life of it -------------------------------------------------------------------------------------------

    async def live(self, start: Next[State] = START) -> None:
        """Everything, from ``start`` to the end: what became of the guest is then known, and done."""
        async with asyncio.TaskGroup() as self._tasks:
            beside = [self._tasks.create_task(self._watch_qemu(), name=f"{self.shell.name}: QEMU ended?")]
            if start.state is State.SWITCHING:
                beside.append(self._tasks.create_task(self._adopt(), name=f"{self.shell.name}: sending"))
            try:
                await self.shell.run(start)
            finally:
                for task in beside:
                    task.cancel()
                self._drop_way()
                if self.driving is not None:
                    await self.driving.close()

    async def _watch_qemu(self) -> None:
        if self.guest is not None:
            await self.guest.exited.wait()
            self.fail(qemu.process_gone(self.guest, "source", EOFError("no more output")))
        self.shell.feed(Event.QEMU_GONE)

    async def is_stock(self, where: str) -> None:
        """The destination at ``where`` is no culvert. Raises ``SystemCallError``; nothing has changed then."""
        await self.journal.learn(self.begun.key, peer=where, stock=True)
        self.shell.rules = RULES[Peer.STOCK]

    async def summarise(self) -> None:
        """Put what is to be told of it into the journal."""
        record = self.record
        error = "" if record.type is JobType.COMPLETED else str(self.cause.error or record.error)
        figures = {**statistics.numbers(record), "tunnel_bytes": record.tunnel_bytes}
        figures |= {"channels": record.channels, "interruptions": record.interruptions}
        try:
            await self.journal.summarise(self.begun.key, Summary(record.route, error, figures))
        except errors.RequestError as err:
            log.error("%s: its history is not complete: %s", self.shell.name, err)

    async def write(self, step: Step) -> None:
        """``step`` is in the journal on return. Raises ``SystemCallError``."""
        if self._recorded:
            await self.journal.write(self.begun.key, step)
        else:
            await self.journal.begin(self.begun, step)
            self._recorded = True

    def _unwritten(self, error: errors.RequestError) -> None:
        self.cause.set(error)

    def _entered(self, state: State) -> None:
        self.record.step = SOURCE_STEPS[state]
        if state is not State.POSTCOPY:
            self._tries = 0
        if state in _STANDS and self.guest is not None and self.guest.is_active:
            self.guest.set_state(*_STANDS[state])
        if state not in (*_DECIDED, *_WAITING):
            self.reached = state
        if state is State.CONFIRM3:
            self.record.finish(JobType.COMPLETED, downtime=self._standstill())
        elif state in _DECIDED and self.record.ended is None:
            cause = (
                self.cause.error
                or self.doubt
                or errors.OperationFailed(f"QEMU of domain '{self.begun.name}' has ended here")
            )
            self.cause.set(cause)
            kind = JobType.CANCELLED if isinstance(cause, errors.OperationAborted) else JobType.FAILED
            self.record.finish(kind, downtime=self._standstill(), error=str(cause))
        elif state is State.UNDECIDED:
            self.answerable.set()

    def _standstill(self) -> float | None:
        """Seconds since QEMU stopped the guest here: up to now, when the destination has just said that it runs."""
        if self.reached is State.POSTCOPY:
            return None  # it ran there long before that is heard; QEMU says how long it stood still
        stopped_at = self._sending.stopped_at if self._sending is not None else None
        return None if stopped_at is None else time.monotonic() - stopped_at

    # -- the commands ---------------------------------------------------------------------------------------------

    async def _prepare(self) -> Event:
        assert self.driving is not None, "a new migration is driven by somebody"
        try:
            self._way = await self.driving.prepare()
        except errors.RequestError as err:
            self.cause.set(err)
            return Event.NOT_PREPARED
        return Event.PREPARED

    async def _send(self) -> Event:
        assert self._way is not None, "prepared before it is sent"
        way, self._way = self._way, None
        return await self._sent_by(self._new_sending().run(way))

    def _new_sending(self) -> Sending:
        self._sending = Sending(
            *(self.shell.name, self.domain, self.options, self.settings),
            cause=self.cause,
            record=self.record,
            budget=self._budget,
            switched=self._switched,
        )
        return self._sending

    async def _sent_by(self, sending: Awaitable[str]) -> Event:
        """What the end of ``sending`` means."""
        try:
            status = await sending
        except errors.RequestError as err:
            if self.state not in (State.POSTCOPY, State.POSTCOPY_FAILED):
                return Event.NOT_SENT
            self.obstacle, status = str(err), qemu.PAUSED
        if status != "completed":
            self._way_lost = True
            return Event.BROKEN if status == qemu.PAUSED else Event.NOT_SENT
        self._sent = True
        return Event.SENT

    def _switched(self) -> None:
        if self.state is State.SWITCHING:
            self.shell.feed(Event.SWITCHED)

    async def _adopt(self) -> None:
        self.shell.feed(await self._sent_by(self._new_sending().adopt()))

    async def _switch(self) -> None:
        """Only QEMU says what comes of it: it may be through with its pre-copy already."""
        if self._sending is not None and self._sending.commit():
            try:
                await self._sending.switch()
            except errors.RequestError as err:
                log.warning("%s: QEMU does not go over to post-copy: %s", self.shell.name, err)

    async def _recover(self) -> None:
        way, self._way = self._way, None
        if way is not None and self._tasks is not None:
            self._way_lost = False
            self._tasks.create_task(self._resend(way), name=f"{self.shell.name}: sending again")

    async def _resend(self, way: Way) -> None:
        self.shell.feed(await self._sent_by(self._new_sending().run(way, again=True)))

    def hurry(self) -> None:
        """Somebody wants to know at once what is only asked for again after a while."""
        self._wake.set()

    async def _stop_sending(self) -> None:
        """What this daemon began is over when it says so; an earlier one may have left more."""
        self._drop_way()
        if self.guest is not None:
            await guest_here.stop_sending(self.guest)

    def _drop_way(self) -> None:
        if self._way is not None:
            self._way.abort(str(self.cause.error))
            self._way.close()
            self._way = None

    async def _grant(self) -> Event:
        assert self.driving is not None, "granted only while it is driven"
        return await self.driving.grant()

    async def _call_off(self) -> None:
        self._drop_way()
        if self.driving is not None:
            self.driving.call_off()

    async def _ask(self) -> Event:
        event, detail = await ask.word(self.destination_uri, self.on_wire, self.attempt, self.settings)
        self.obstacle = detail or event.value
        if event is Event.WORD_GONE:
            # What the destination has answered itself says more than that it has nothing.
            refused = self.doubt if isinstance(self.doubt, errors.RemoteError) else None
            self.cause.set(refused or errors.OperationFailed(detail or str(self.doubt)))
        if event is Event.WORD_POSTCOPY and self.state is State.POSTCOPY_FAILED:
            return await self._rescued()
        return event

    async def _rescued(self) -> Event:
        """The destination is there again, and its half of the guest waits for the other one."""
        if self.rescue is None:
            return Event.WORD_POSTCOPY
        driving = self.driving = self.rescue()
        if not self._way_lost:
            # Only the answer to the grant is lost: it is granted again, but not over and over.
            return Event.RECOVER if self._tries else Event.WORD_POSTCOPY
        try:
            self._way = await driving.reopen()
        except errors.RequestError as err:
            self.obstacle = f"its post-copy cannot be taken up again: {err}"
            return Event.WORD_POSTCOPY
        self.record.interruptions += 1
        return Event.RECOVER

    async def _wait(self) -> Event:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(ASK_AGAIN[min(self._tries, len(ASK_AGAIN) - 1)]):
                await self._wake.wait()
        self._wake.clear()
        self._tries += 1
        return Event.TICK

    async def _resume(self) -> Event:
        event, self.obstacle = await guest_here.resume(self.guest, was_running=self.begun.was_running)
        return event

    async def _kill(self) -> Event:
        event, self.obstacle = await guest_here.kill(self.guest)
        return event

    async def _report(self) -> None:
        """Show what is being waited for."""
        text = self.waits_for or (self.obstacle if self.state in (State.CONFIRM3, State.CONFIRM3_CANCELLED) else "")
        if text and text != self.record.error:
            self.record.error = text
            log.warning("%s: %s", self.shell.name, text)
            with contextlib.suppress(errors.RequestError):
                await self.journal.note(self.begun.key, text)
