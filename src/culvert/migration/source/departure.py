"""One migration of a guest out of this host: the source's machine with its guest, its peer and its journal around it.

What happens when is in ``machine_source``; here is how each of its commands is done. Until the grant is handed out
the guest is the source's, and whatever goes wrong lets it run on here; from then on it stands still until the
destination, or an operator, has said what became of it.

What is told of it is kept by its ``Account``, a lost post-copy is taken up by its ``Rescue``, what it waits for is
put into words by ``waiting``.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any, NoReturn, Self, TypeVar
from uuid import UUID

from culvert.channels.data_path import DataPath
from culvert.ground import errors
from culvert.hypervisor.contract import Guest
from culvert.hypervisor.status import PAUSED
from culvert.migration.convergence import autopilot
from culvert.migration.convergence.budget import Budget
from culvert.migration.handover.machine import Do, Next, PeerKind, Step
from culvert.migration.handover.machine_source import FINAL, START, Event, State, table
from culvert.migration.journal.history import Begun, Direction, Entry, Key
from culvert.migration.journal.journal import Journal
from culvert.migration.options import grant
from culvert.migration.options.parameters import Options
from culvert.migration.options.settings import Settings
from culvert.migration.peers.peer import Dialler
from culvert.migration.progress import statistics
from culvert.migration.shell import Rules, Shell
from culvert.migration.source import ask, guest_here, rescue, waiting
from culvert.migration.source.account import Account
from culvert.migration.source.cause import Cause
from culvert.migration.source.driving import Driving, Rescuing
from culvert.migration.source.sending import Sending
from culvert.protocol import types
from culvert.protocol.constants_migrate import MigrateFlag
from culvert.protocol.constants_state import DomainEvent as Lifecycle
from culvert.protocol.constants_state import DomainState, PausedReason, SuspendedDetail

log = logging.getLogger(__name__)

T = TypeVar("T")

LAST_WORDS = 2.0  # seconds for QEMU to say how a post-copy went that has arrived
ASK_AGAIN = (0.2, 0.5, 1.0, 2.0, 5.0)  # seconds between two tries; the last one repeats

RULES = {peer: Rules("source", table(peer), FINAL, Event.UNWRITTEN) for peer in PeerKind}

_STANDS = {
    State.POSTCOPY: (DomainState.PAUSED, PausedReason.POSTCOPY, (Lifecycle.SUSPENDED, SuspendedDetail.POSTCOPY)),
    State.POSTCOPY_FAILED: (
        *(DomainState.PAUSED, PausedReason.POSTCOPY_FAILED),
        (Lifecycle.SUSPENDED, SuspendedDetail.POSTCOPY_FAILED),
    ),
}
"""state → how the guest's copy here is shown, and the event."""

_CANCELLABLE = (State.BEGIN3, State.PERFORM3)


class Departure:
    """``begun.key.attempt`` names this migration towards the destination, for ever. ``guest`` is ``None`` where an
    earlier daemon has begun it and nothing of the domain is left here."""

    def __init__(
        self,
        begun: Begun,
        guest: Guest | None,
        options: Options,
        settings: Settings,
        *,
        dialler: Dialler,
        journal: Journal,
        budget: Budget | None = None,
        state: State = State.BEGIN3,
    ) -> None:
        self.begun = begun
        self.guest = guest
        self.options = options
        self.settings = settings
        self.dialler = dialler
        self.driving: Driving | None = None
        self.destination_uri = begun.peer
        self.data_uri = ""
        """Where the data connections lead, where that is not the destination's URI too."""
        self.destination_host = ""
        """The host UUID that the destination has given; empty while it is not known."""
        self.cause = Cause(f"migration {begun.key.attempt}")
        self.account = Account(begun, journal, self.cause, state)
        self.rescue = rescue.Rescue(path_lost=state is State.POSTCOPY_FAILED)
        self.doubt: errors.RequestError | None = None
        """What came in the place of a good answer to finish."""
        self.obstacle = ""
        """Why the destination has not said yet what became of the guest."""
        self.answerable = asyncio.Event()
        """Who asked for this migration can be told how it ended, or that only an operator can end it."""
        self.over = asyncio.Event()
        """Set when nothing more will be done about this migration."""
        self.disown: Callable[[], None] = lambda: None
        """Ends the care for the connection that drives this migration."""
        self.auto = False
        """Whether ``autopilot`` decides what is done for a guest that does not converge."""
        self.compression = ""
        """The word for it that ``autopilot`` has chosen, if any."""
        self._budget = budget or Budget()
        self._data_path: DataPath | None = None
        self._before: Mapping[str, int] = MappingProxyType({})
        self._sent = False
        self._tries = 0
        self._wake = asyncio.Event()
        self._tasks: asyncio.TaskGroup | None = None
        self._beside: list[asyncio.Task[object]] = []
        self.shell: Shell[State, Event] = Shell(
            name=f"migration {self.attempt} of domain '{begun.name}'",
            rules=RULES[PeerKind.STOCK if begun.stock else PeerKind.CULVERT],
            state=state,
            write=self._write,
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
            unwritten=self.cause.set,
        )

    @classmethod
    def of(
        cls,
        domain: Guest,
        destination: str,
        options: Options,
        settings: Settings,
        *,
        dialler: Dialler,
        journal: Journal,
        budget: Budget,
    ) -> Self:
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
        return cls(begun, domain, options, settings, dialler=dialler, journal=journal, budget=budget)

    @classmethod
    def left(
        cls,
        entry: Entry,
        state: State,
        guest: Guest | None,
        settings: Settings,
        *,
        dialler: Dialler,
        journal: Journal,
    ) -> Self:
        """The migration that an earlier daemon has left, to go on in ``state``."""
        options = Options(flags=MigrateFlag(entry.begun.flags))
        return cls(entry.begun, guest, options, settings, dialler=dialler, journal=journal, state=state)

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
    def record(self) -> statistics.JobRecord:
        """The job, for those who ask."""
        return self.account.record

    @property
    def domain(self) -> Guest:
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
        return self.account.sending is not None and self.state in (State.PERFORM3, State.SWITCHING, State.POSTCOPY)

    @property
    def ends_by_itself(self) -> bool:
        """Whether it is about to end whatever the destination says."""
        cancelled = self.state in _CANCELLABLE and not self._sent and self.cause.error is not None
        return cancelled or self.state in (State.CONFIRM3, State.CONFIRM3_CANCELLED)

    @property
    def description(self) -> str:
        """What occupies the domain (``hypervisor.contract.Job``)."""
        return f"migration out, {waits}" if (waits := self.waits_for) else "migration out"

    @property
    def waits_for(self) -> str:
        """What a guest that stands still here waits for; empty while it need not wait."""
        return waiting.words(self.begun, self.state, self.obstacle)

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
        if self.account.sending is not None:
            await self.account.sending.limit(mib_per_second)

    @property
    def postcopy_limit(self) -> int | None:
        """``Sending.postcopy_limit`` of what is being sent."""
        return self.account.sending.postcopy_limit if self.sends and self.account.sending is not None else None

    async def limit_postcopy(self, mib_per_second: int) -> None:
        """``Sending.limit_postcopy``, where ``postcopy_limit`` is known."""
        if self.account.sending is not None:
            await self.account.sending.limit_postcopy(mib_per_second)

    async def refreshed(self) -> statistics.JobRecord:
        """The job's record with the latest figures."""
        return await self.account.refreshed(sends=self.sends)

    async def is_stock(self, where: str) -> None:
        """The destination at ``where`` is no culvert. Raises ``SystemCallError``; nothing has changed then."""
        await self.account.ledger.learn(peer=where, stock=True)
        self.begun = replace(self.begun, peer=where, stock=True)
        self.shell.rules = RULES[PeerKind.STOCK]

    async def met(self) -> None:
        """The destination is known, to those too who will ask it: ``destination_uri``. Raises as ``is_stock``."""
        await self.account.ledger.learn(peer=self.destination_uri)
        self.begun = replace(self.begun, peer=self.destination_uri)

    def note(self, text: str) -> None:
        """Tell people of something that was decided: in the log and in the history."""
        log.info("%s: %s", self.shell.name, text)
        if self._tasks is not None:
            self._tasks.create_task(self.account.ledger.note(text), name=f"{self.shell.name}: note")

    def hurry(self) -> None:
        """Somebody wants to know at once what is only asked for again after a while."""
        self._wake.set()

    # -- the life of it -------------------------------------------------------------------------------------------

    async def live(self, start: Next[State] = START) -> None:
        """Everything, from ``start`` to the end: what became of the guest is then known, and done."""
        async with asyncio.TaskGroup() as self._tasks:
            self.beside("QEMU ended?", self._watch_qemu())
            if start.state is State.SWITCHING:
                self.beside("sending", self._adopt())
            try:
                await self.shell.run(start)
            finally:
                for task in self._beside:
                    task.cancel()
                self._drop_data_path()
                if self.driving is not None:
                    await self.driving.close()

    def beside(self, name: str, work: Coroutine[Any, Any, object]) -> None:
        """Have ``work`` done meanwhile; it ends with this migration."""
        assert self._tasks is not None, "it lives"
        self._beside.append(self._tasks.create_task(work, name=f"{self.shell.name}: {name}"))

    def _entered(self, state: State) -> None:
        if state is not State.POSTCOPY:
            self._tries = 0
        if state in _STANDS and self.guest is not None and self.guest.is_active:
            self.guest.set_state(*_STANDS[state])
        self.account.entered(state, self.doubt)
        if state is State.UNDECIDED:
            self.answerable.set()

    async def _watch_qemu(self) -> None:
        if self.guest is not None:
            await self.guest.exited.wait()
            self.fail(await self.guest.hypervisor.gone("source", EOFError("no more output")))
            if self.state in _CANCELLABLE and not self._sent:
                self._heed_the_end()
        self.shell.feed(Event.QEMU_GONE)

    async def _write(self, step: Step) -> None:
        # Of a domain that is not on the list a definition may be here all the same, only not readable.
        await self.account.ledger.write(step, stays=self.guest is None or self.guest.is_persistent)

    # -- the commands ---------------------------------------------------------------------------------------------

    async def _prepare(self) -> Event:
        assert self.driving is not None, "a new migration is driven by somebody"
        try:
            self._data_path = data_path = await self.driving.prepare()
            self._before = await self.domain.hypervisor.personal(data_path.setup)
        except errors.RequestError as err:
            self.cause.set(err if self.guest is None else await self.guest.hypervisor.behind("source", err))
            return Event.NOT_PREPARED
        return Event.PREPARED

    async def _send(self) -> Event:
        data_path, self._data_path = self._data_path, None
        if data_path is None:
            return Event.NOT_SENT  # it was called off, or QEMU ended, before this began
        flying = self._fly()
        try:
            event = await self._sent_by(self._new_sending().run(data_path))
            if event is Event.NOT_SENT:
                self._heed_the_end()
                with contextlib.suppress(errors.RequestError):  # then QEMU is no more
                    await self.domain.hypervisor.put_back(self._before, data_path.setup)
            return event
        finally:
            if flying is not None:
                flying.cancel()

    def _heed_the_end(self) -> None:
        """A guest that has ended is the reason for what followed: QEMU's end, and what the other side made of it."""
        ended = self.guest.hypervisor.ended("source") if self.guest is not None else None
        if ended is not None and not isinstance(self.cause.error, errors.OperationAborted):
            self.cause.error = ended

    @property
    def _flown(self) -> bool:
        """Whether somebody looks after how it goes on."""
        return self.auto or self.options.postcopy

    def _fly(self) -> asyncio.Task[NoReturn] | None:
        if not self._flown or self._tasks is None:
            return None

        async def switch() -> None:
            await self.shell.ask(Event.SWITCH)

        pilot = autopilot.aboard(
            *(self.domain.hypervisor, self.refreshed, self.record.course),
            auto=self.auto,
            switch=switch if self.options.postcopy else None,
            note=self.note,
            floor=self.settings.auto_floor,
            as_asked=not autopilot.is_held(self.options),
        )
        return self._tasks.create_task(pilot.run(), name=f"{self.shell.name}: autopilot")

    def _new_sending(self, *, again: bool = False) -> Sending:
        # Why one way was lost is no reason to lose the next one.
        self.account.sending = Sending(
            *(self.shell.name, self.domain, self.options, self.settings),
            cause=Cause(self.shell.name) if again else self.cause,
            record=self.record,
            budget=self._budget,
            switched=self._switched,
            brief=self._flown,
        )
        return self.account.sending

    async def _sent_by(self, sending: Awaitable[str]) -> Event:
        """What the end of ``sending`` means."""
        try:
            status = await sending
        except errors.RequestError as err:
            if self.state not in (State.POSTCOPY, State.POSTCOPY_FAILED):
                return Event.NOT_SENT
            self.obstacle, status = str(err), PAUSED
        if status != "completed":
            self.rescue.path_lost = True
            return Event.BROKEN if status == PAUSED else Event.NOT_SENT
        self._sent = True
        return Event.SENT

    def _switched(self) -> None:
        if self.state is State.SWITCHING:
            self.shell.feed(Event.SWITCHED)

    async def _adopt(self) -> None:
        self.shell.feed(await self._sent_by(self._new_sending(again=True).adopt()))

    async def _switch(self) -> None:
        """Only QEMU says what comes of it: it may be through with its pre-copy already."""
        if self.account.sending is not None:
            try:
                await self.account.sending.switch()
            except errors.RequestError as err:
                log.warning("%s: QEMU does not go over to post-copy: %s", self.shell.name, err)

    async def _recover(self) -> None:
        data_path, self._data_path = self._data_path, None
        if data_path is not None and self._tasks is not None:
            self.rescue.path_lost = False
            self._tasks.create_task(self._resend(data_path), name=f"{self.shell.name}: sending again")

    async def _resend(self, data_path: DataPath) -> None:
        self.shell.feed(await self._sent_by(self._new_sending(again=True).run(data_path, again=True)))

    async def _stop_sending(self) -> None:
        """What this daemon began is over when it says so; an earlier one may have left more."""
        self._drop_data_path()
        if self.guest is not None:
            await guest_here.stop_sending(self.guest)

    def _drop_data_path(self) -> None:
        if self._data_path is not None:
            self._data_path.abort(str(self.cause.error))
            self._data_path.close()
            self._data_path = None

    async def _grant(self) -> Event:
        assert self.driving is not None, "granted only while it is driven"
        return await self.driving.grant()

    async def _call_off(self) -> None:
        self._drop_data_path()
        if self.driving is not None:
            self.driving.call_off()

    async def _ask(self) -> Event:
        said, detail = await ask.word(self.destination_uri, self.on_wire, self.begun, self.dialler)
        has_ended = self.guest is None or not self.guest.is_active
        event, told = rescue.meaning(said, self.state, has_ended=has_ended)
        self.obstacle = told or detail or said.value
        if event is Event.WORD_GONE:
            # What the destination has answered itself says more than that it has nothing.
            refused = self.doubt if isinstance(self.doubt, errors.RemoteError) else None
            self.cause.set(refused or errors.OperationFailed(detail or str(self.doubt)))
        if event is Event.WORD_POSTCOPY and self.state is State.POSTCOPY_FAILED and self.rescue.by is not None:
            return await self._take_up_again(self.rescue.by())
        return event

    async def _take_up_again(self, driving: Rescuing) -> Event:
        self.driving = driving
        found = await self.rescue.attempt(driving, again=self._tries > 0)
        if found.data_path is not None:
            self._data_path = found.data_path
            self.record.interruptions += 1
        self.obstacle = found.obstacle or self.obstacle
        return found.event

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

    async def _last_words(self) -> None:
        """The destination of a post-copy says that it has the last page before QEMU here has done its sums, which are
        the figures of the job."""
        if self.account.sending is not None and self.account.reached is State.POSTCOPY and not self.rescue.path_lost:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LAST_WORDS):
                    await self.account.sending.over.wait()

    async def _kill(self) -> Event:
        await self._last_words()
        event, self.obstacle = await guest_here.kill(self.guest)
        return event

    async def _report(self) -> None:
        """Show what is being waited for."""
        text = self.waits_for or (self.obstacle if self.state in (State.CONFIRM3, State.CONFIRM3_CANCELLED) else "")
        if text and text != self.record.error:
            self.record.error = text
            log.warning("%s: %s", self.shell.name, text)
            await self.account.ledger.note(text)
