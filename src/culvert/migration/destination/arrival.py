"""One migration of a guest into this host: the destination's machine with its QEMU, its data path and its journal.

What happens when is in ``machine_destination``; here is how each of its commands is done. The guest becomes this
host's in one place only, the command that starts its CPUs (``_cont``). Before that everything that goes wrong ends
with the incoming QEMU killed; after it, with the guest running here.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable

from culvert.ground import errors
from culvert.hypervisor.contract import Guest
from culvert.hypervisor.status import GIVEN_UP, PAUSED, POSTCOPY, SETTLED
from culvert.io import fault_points
from culvert.migration.destination import starting
from culvert.migration.destination.intake import Intake
from culvert.migration.destination.starting import Started
from culvert.migration.handover.machine import Do, Next
from culvert.migration.handover.machine_destination import FINAL, START, Event, State, table
from culvert.migration.handover.steps import DESTINATION_STEPS
from culvert.migration.journal.history import Begun
from culvert.migration.journal.journal import Journal
from culvert.migration.journal.ledger import Ledger
from culvert.migration.options import grant
from culvert.migration.options.cookie import Cookie
from culvert.migration.options.parameters import Options
from culvert.migration.progress import statistics
from culvert.migration.shell import Rules, Shell
from culvert.protocol.constants_flag import XMLFlag
from culvert.protocol.constants_migrate import JobOperation, JobType, MigrateFlag
from culvert.protocol.constants_state import DomainEvent as Lifecycle
from culvert.protocol.constants_state import (
    DomainState,
    PausedReason,
    ResumedDetail,
    RunningReason,
    ShutoffReason,
    StoppedDetail,
    SuspendedDetail,
)

log = logging.getLogger(__name__)

RULES = Rules("destination", table(), FINAL, Event.UNWRITTEN)

_PATH_LOST = (Lifecycle.RESUMED, ResumedDetail.POSTCOPY_FAILED)
"""The event for a guest that has arrived in part, and waits for pages that have no way any more."""

_WATCH_PAUSE = 1.0  # seconds between two looks at whether anything is heard of the source


class Arrival:
    """``begun.key.attempt`` is the source's name for the migration; ``intake`` is where its data comes in.

    ``launch`` starts the QEMU that waits for the guest; ``persist`` keeps the definition that travels in a cookie.
    ``left``: an earlier daemon has begun it, and ``guest`` is what it has left. ``silence``: seconds after which a
    source that says nothing is given up, 0 for never.
    """

    def __init__(
        self,
        begun: Begun,
        options: Options,
        theirs: Cookie | None,
        journal: Journal,
        *,
        launch: Callable[[Arrival], Awaitable[Guest]],
        persist: Callable[[Arrival, Cookie], Awaitable[None]],
        silence: float,
        guest: Guest | None = None,
        state: State = State.PREPARE,
        left: bool = False,
    ) -> None:
        self.begun = begun
        self.options = options
        self.theirs = theirs
        self.guest = guest
        self.cause: errors.RequestError | None = None
        self.disown: Callable[[], None] = lambda: None
        """Ends the care for the connection that prepared this migration."""
        self.record = statistics.JobRecord(
            operation=JobOperation.MIGRATION_IN, type=JobType.UNBOUNDED, clock=time.monotonic
        )
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Prepare may be answered; or why not."""
        self.over = asyncio.Event()
        """Set when nothing more will be done about this migration."""
        self.intake: Intake | None = None
        self.started: Started | None = None
        """Once the CPUs have been started by this daemon."""
        self._launcher = launch
        self._persist = persist
        self._silence = silence
        self._left = left
        self.ledger = Ledger(journal, begun, known=left)
        self._launching: asyncio.Task[None] | None = None
        self._answers: list[asyncio.Future[None]] = []
        self.shell: Shell[State, Event] = Shell(
            name=f"migration {begun.key.attempt} of domain '{begun.name}'",
            rules=RULES,
            state=state,
            write=self.ledger.write,
            acts={
                Do.LAUNCH: self._launch,
                Do.TAKE_GRANT: self._take_grant,
                Do.READY: self._ready,
                Do.AWAIT_LOAD: self._await_load,
                Do.CONT: self._cont,
                Do.KILL: self._kill,
                Do.YES: self._yes,
                Do.NO: self._no,
                Do.REPORT: self._report,
            },
            entered=self._entered,
            unwritten=self._because,
        )

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
    def domain(self) -> Guest:
        """The guest's domain. Raises ``NoDomain`` before it is there."""
        if self.guest is None:
            raise errors.NoDomain(f"domain '{self.begun.name}' is not on this host")
        return self.guest

    @property
    def held(self) -> bool:
        """Whether the connection that prepared it is there to be told of it."""
        return self.intake is not None and self.intake.lifeline.held

    @property
    def description(self) -> str:
        """What occupies the domain (``drivers.qemu.domain.Job``)."""
        return "migration in"

    async def describe(self) -> str | None:
        """For the cookie to a source of ours that cannot ask, because a client drives: what waits here."""
        if self.options.has(MigrateFlag.PEER2PEER) or self.begun.stock:
            return None
        return await self.domain.xml(XMLFlag.MIGRATABLE)

    def refreshed(self) -> statistics.JobRecord:
        """The job's record as it is now."""
        if self.intake is not None:
            self.record.route, self.record.channels = self.intake.route, len(self.intake.plan)
            self.record.tunnel_bytes = self.intake.meter.bytes
        self.record.step = DESTINATION_STEPS[self.state]
        return self.record

    # -- what others may do ---------------------------------------------------------------------------------------

    def fail(self, event: Event, cause: errors.RequestError) -> None:
        """``event`` has happened, because of ``cause``; the first cause is the one that is told."""
        if self.state in (State.PREPARE, State.HELD):
            self._because(cause)
        self.shell.feed(event)

    async def ask(self, why: errors.RequestError) -> None:
        """The source asks what became of it; ``why`` is the cause if that ends it. The state says it on return."""
        if self.state is State.PREPARE:
            self._because(why)
        if not self.shell.over.is_set():
            await self.shell.ask(Event.ASKED)

    async def finish(self, theirs: Cookie, *, by_owner: bool) -> None:
        """FINISH3: the guest runs here on return (or is paused, where that was asked), and never again at the source.

        ``by_owner``: the connection that prepared asks for it, which is what stands for a libvirtd's grant. Raises
        why not; then the incoming QEMU is gone and the source may go on.
        """
        self.theirs = theirs
        granted = by_owner if self.begun.stock else grant.opens(theirs.grant, self.begun.secret)
        answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._answers.append(answer)
        try:
            await self.shell.ask(Event.GRANT if granted else Event.STALE)
        except errors.OperationInvalid as err:
            what = "is being finished already" if granted else "is not opened by the grant that came with finish"
            raise self.cause or errors.OperationInvalid(f"migration of domain '{self.begun.name}' {what}") from err
        await answer

    async def call_off(self) -> errors.RequestError:
        """FINISH3, cancelled: nothing of it is left on return; what to answer.

        Raises ``OperationInvalid`` when it is too late for that.
        """
        why = self.cause
        if why is None and self.intake is not None:
            why = await self.intake.why_cancelled()
        self._because(errors.OperationAborted("the source cancelled the migration"))
        try:
            await self.shell.ask(Event.CALLED_OFF)
        except errors.OperationInvalid:
            if why is None or self.state is not State.GONE:
                raise
            # It has ended by itself in this moment: why, is what the source wants to hear.
        return why or errors.MigrateFinishOk(f"migration of domain '{self.begun.name}' is cancelled and cleaned up")

    # -- the life of it -------------------------------------------------------------------------------------------

    async def live(self, start: Next[State] = START) -> None:
        """Everything, from ``start`` to the end."""
        async with asyncio.TaskGroup() as tasks:
            watching = [
                tasks.create_task(self._watch_qemu(), name=f"{self.shell.name}: QEMU ended?"),
                tasks.create_task(self._watch_silence(), name=f"{self.shell.name}: source silent?"),
                tasks.create_task(self._watch_migration(), name=f"{self.shell.name}: failed? post-copy?"),
            ]
            try:
                await self.shell.run(start)
            finally:
                for task in watching:
                    task.cancel()
                self.close()
                if not self.ready.done():
                    self.ready.set_exception(errors.OperationAborted(f"{self.shell.name}: the daemon is stopping"))
                self.ready.exception()  # somebody may have stopped waiting for it

    async def _watch_qemu(self) -> None:
        if self.guest is None:
            await self._wait_launched()
        if self.guest is not None:
            await self.guest.exited.wait()
            gone = await self.guest.hypervisor.gone("destination", EOFError("no more output"))
            if self.state not in FINAL:
                self.fail(Event.QEMU_GONE, gone)

    async def _wait_launched(self) -> None:
        with contextlib.suppress(errors.RequestError):
            await asyncio.shield(self.ready)

    async def _watch_migration(self) -> None:
        """QEMU says whether it could load what came; where post-copy is allowed, what becomes of the data path."""
        await self._wait_launched()
        if self.intake is None:
            return
        incoming = self.intake.incoming
        if not self.options.postcopy:
            with contextlib.suppress(errors.RequestError):
                if await incoming.settled() != "completed":
                    # One that does not end by that is ended at once.
                    self.fail(Event.BROKEN, await incoming.why(EOFError("no more output")))
            return
        with contextlib.suppress(errors.RequestError):  # QEMU has ended, which is seen elsewhere
            if self._left and await incoming.look() in ("none", "setup"):
                # It has read nothing, and the way that an earlier daemon may have made for it is gone.
                lost = "the destination's daemon was restarted before anything had come"
                self.fail(Event.BROKEN, errors.ConnectionLost(lost))
            while (status := await incoming.next_status(SETTLED | POSTCOPY)) != "completed":
                if status == "postcopy-active":
                    self.shell.feed(Event.SWITCHED)
                    self._runs(RunningReason.POSTCOPY, after=(RunningReason.POSTCOPY_FAILED,))
                elif status in (PAUSED, *GIVEN_UP):
                    self._runs(RunningReason.POSTCOPY_FAILED, after=(RunningReason.POSTCOPY,), event=_PATH_LOST)
                    paused = errors.OperationFailed(f"QEMU's migration is in status '{status}'")
                    given_up = status != PAUSED
                    why = await incoming.why(paused) if given_up else paused
                    # The half of one that has given up, and has not run, is as good as none.
                    gone = given_up and self.state is State.SWITCHED
                    self.fail(Event.QEMU_GONE if gone else Event.BROKEN, why)
                    self.intake.paused()
            await self.intake.drained()
            self.shell.feed(Event.LOADED)

    async def _watch_silence(self) -> None:
        """Give up what nobody asks for: no data, no call, for so long."""
        if not self._silence:
            return
        await self._wait_launched()
        clock = asyncio.get_running_loop().time
        heard, last = object(), clock()
        while True:
            await asyncio.sleep(min(_WATCH_PAUSE, self._silence))
            sign = (self.state, self.intake.sign if self.intake is not None else None)
            if sign != heard or (self.intake is not None and self.intake.is_busy):
                heard, last = sign, clock()
            elif self.state is State.PREPARE and clock() - last >= self._silence:
                silent = errors.OperationTimeout(f"nothing was heard of the source for {self._silence:g} s")
                self.fail(Event.SILENCE, silent)
                return

    def close(self) -> None:
        """Let go of the data path and of the domain. Idempotent."""
        if self.intake is not None:
            self.intake.close(arrived=self.state in (State.STARTING, State.ARRIVED))
        if self.guest is not None and self.guest.job is self:
            self.guest.job = None

    async def summarise(self) -> None:
        """Put what is to be told of it into the journal."""
        record = self.refreshed()
        cause = "" if self.state is State.ARRIVED else str(self.cause or "")
        figures = {**statistics.numbers(record), "tunnel_bytes": record.tunnel_bytes, "channels": record.channels}
        if self.intake is not None and self.intake.incoming.switched and self.state is State.ARRIVED:
            with contextlib.suppress(errors.RequestError):  # it may have ended since
                if (latency := await self.intake.incoming.latency()) is not None:
                    figures |= latency.figures()
        await self.ledger.summarise(record.route, cause, figures)

    def _because(self, cause: errors.RequestError) -> None:
        if self.cause is None:
            log.info("%s: %s", self.shell.name, cause)
            self.cause = cause

    def _entered(self, state: State) -> None:
        if state is State.ARRIVED:
            self._has_arrived()
            self._runs(RunningReason.MIGRATED, after=(RunningReason.POSTCOPY, RunningReason.POSTCOPY_FAILED))
        if state in (State.GONE, State.LOST):
            self.record.finish(JobType.FAILED, error=str(self.cause or ""))

    def _runs(
        self, reason: RunningReason, *, after: tuple[RunningReason, ...], event: tuple[Lifecycle, int] | None = None
    ) -> None:
        """Show a guest that runs for one of ``after`` as one that runs for ``reason``, by ``event`` too."""
        guest = self.guest
        if guest is not None and guest.state is DomainState.RUNNING and guest.reason in after:
            guest.set_state(DomainState.RUNNING, reason, event)

    # -- the commands ---------------------------------------------------------------------------------------------

    async def _launch(self) -> Event:
        self._launching = asyncio.current_task()
        try:
            self.guest = await self._launcher(self)
        except errors.RequestError as err:
            self._because(err)
            return Event.BROKEN
        return Event.LAUNCHED

    async def _take_grant(self) -> Event:
        return Event.GRANT

    async def _ready(self) -> None:
        if not self.ready.done():
            self.ready.set_result(None)

    async def _await_load(self) -> Event:
        assert self.intake is not None, "an intake comes with every QEMU"
        try:
            await self.intake.loaded()
        except errors.RequestError as err:
            self._because(err)
            return Event.BROKEN
        return Event.LOADED

    async def _cont(self) -> Event:
        """The point of no return: once QEMU has taken this command the guest is this host's."""
        assert self.theirs is not None, "granted by a cookie"
        try:
            if self.begun.stock and self.intake is not None and not self.intake.lifeline.held:
                # No culvert would ask what became of it: a libvirtd that loses finish's answer resumes its copy.
                lost = "the source is a libvirtd, and its connection was lost before the guest ran"
                raise errors.ConnectionLost(lost)
            if self.options.has(MigrateFlag.PERSIST_DEST):
                await self._persist(self, self.theirs)
            if self.options.has(MigrateFlag.PAUSED):
                suspended = (Lifecycle.SUSPENDED, SuspendedDetail.PAUSED)
                self.domain.set_state(DomainState.PAUSED, PausedReason.USER, suspended)
            else:
                in_postcopy = self.state is State.STARTING_POSTCOPY
                reason = RunningReason.POSTCOPY if in_postcopy else RunningReason.MIGRATED
                self.started = await starting.start(self.domain, reason)
        except errors.RequestError as err:
            self._because(err)
            return Event.NOT_CONTINUED
        self.record.reported = self.theirs.statistics
        if self.state is State.STARTING:
            self._has_arrived()
        await fault_points.reach("destination", "after.cont")
        return Event.CONTINUED

    def _has_arrived(self) -> None:
        self.refreshed()
        # What the source has said was true when it asked: after the switch to post-copy there was more to come.
        self.record.reported = {**self.record.reported, "data_remaining": 0, "memory_remaining": 0}
        self.record.finish(JobType.COMPLETED)
        self.close()

    async def _kill(self) -> None:
        """Nothing of the incoming guest is left on return. One that cannot be killed is told of."""
        if self._launching is not None and not self._launching.done():
            self._launching.cancel()
            await asyncio.wait([self._launching])
        if self.intake is not None:
            self.intake.abort(str(self.cause))
        if self.guest is None:
            return
        try:
            await self.guest.kill(ShutoffReason.FAILED, StoppedDetail.FAILED)
        except errors.RequestError as err:
            log.error("%s: %s", self.shell.name, err)

    async def _yes(self) -> None:
        log.info("%s arrived", self.shell.name)
        for answer in self._answers:
            if not answer.done():
                answer.set_result(None)

    async def _no(self) -> None:
        cause = self.cause or errors.OperationFailed(f"{self.shell.name} is over")
        for waiting in (self.ready, *self._answers):
            if not waiting.done():
                waiting.set_exception(cause)
                waiting.exception()  # somebody may have stopped waiting for it

    async def _report(self) -> None:
        log.warning("%s stands in '%s': %s", self.shell.name, self.state.value, self.cause or "no cause is known")
        await self.ledger.note(f"stands in '{self.state.value}': {self.cause or 'restarted'}")
