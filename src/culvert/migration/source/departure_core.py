"""One migration of a guest out of this host: who it is, how it stands, and what others may do with it at any time."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping
from typing import Self, TypeVar
from uuid import UUID

from culvert.ground import errors
from culvert.hypervisor.contract import Guest
from culvert.migration.convergence.budget import Budget
from culvert.migration.handover.machine import Do, Peer
from culvert.migration.handover.machine_source import FINAL, Event, State, table
from culvert.migration.handover.steps import SOURCE_STEPS
from culvert.migration.journal.history import Begun, Direction, Entry, Key
from culvert.migration.journal.journal import Journal
from culvert.migration.journal.ledger import Ledger
from culvert.migration.options import grant
from culvert.migration.options.parameters import Options
from culvert.migration.options.settings import Settings
from culvert.migration.progress import statistics
from culvert.migration.shell import Rules, Shell
from culvert.migration.source.cause import Cause
from culvert.migration.source.driving import Driving, Rescuing
from culvert.migration.source.sending import Sending
from culvert.protocol import types
from culvert.protocol.constants_migrate import JobOperation, JobType, MigrateFlag
from culvert.protocol.constants_state import DomainEvent as Lifecycle
from culvert.protocol.constants_state import DomainState, PausedReason, SuspendedDetail

log = logging.getLogger(__name__)

T = TypeVar("T")

Acts = Mapping[Do, Callable[[], Awaitable[Event | None]]]

RULES = {peer: Rules("source", table(peer), FINAL, Event.UNWRITTEN) for peer in Peer}

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


class DepartureCore(ABC):
    """``begun.key.attempt`` names this migration towards the destination, for ever. ``guest`` is ``None`` where an
    earlier daemon has begun it and nothing of the domain is left here."""

    def __init__(
        self,
        begun: Begun,
        guest: Guest | None,
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
        self.ledger = Ledger(journal, begun, known=state is not State.BEGIN3)
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
        self.auto = False
        """Whether ``autopilot`` decides what is done for a guest that does not converge."""
        self.compression = ""
        """The word for it that ``autopilot`` has chosen, if any."""
        self._budget = budget or Budget()
        self._sending: Sending | None = None
        self._sent = False
        self._tries = 0
        self._way_lost = state is State.POSTCOPY_FAILED
        self._wake = asyncio.Event()
        self._beside: list[asyncio.Task[object]] = []
        self.shell: Shell[State, Event] = Shell(
            name=f"migration {self.attempt} of domain '{begun.name}'",
            rules=RULES[Peer.STOCK if begun.stock else Peer.CULVERT],
            state=state,
            write=self.ledger.write,
            acts=self._acts(),
            entered=self._entered,
            unwritten=self._unwritten,
        )

    @classmethod
    def of(
        cls,
        domain: Guest,
        destination: str,
        options: Options,
        settings: Settings,
        *,
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
        return cls(begun, domain, options, settings, journal=journal, budget=budget)

    @classmethod
    def left(cls, entry: Entry, state: State, guest: Guest | None, settings: Settings, journal: Journal) -> Self:
        """The migration that an earlier daemon has left, to go on in ``state``."""
        options = Options(flags=MigrateFlag(entry.begun.flags))
        return cls(entry.begun, guest, options, settings, journal=journal, state=state)

    @abstractmethod
    def _acts(self) -> Acts:
        """How each of the machine's commands is done."""

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
    def ends_by_itself(self) -> bool:
        """Whether it is about to end whatever the destination says."""
        cancelled = self.state in _CANCELLABLE and not self._sent and self.cause.error is not None
        return cancelled or self.state in (State.CONFIRM3, State.CONFIRM3_CANCELLED)

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

    # -- the record of it -----------------------------------------------------------------------------------------

    async def is_stock(self, where: str) -> None:
        """The destination at ``where`` is no culvert. Raises ``SystemCallError``; nothing has changed then."""
        await self.ledger.learn(peer=where, stock=True)
        self.shell.rules = RULES[Peer.STOCK]

    async def summarise(self) -> None:
        """Put what is to be told of it into the journal."""
        record = self.record
        error = "" if record.type is JobType.COMPLETED else str(self.cause.error or record.error)
        figures = {**statistics.numbers(record), "tunnel_bytes": record.tunnel_bytes}
        figures |= statistics.downtimes(record)
        figures |= {"channels": record.channels, "interruptions": record.interruptions}
        await self.ledger.summarise(record.route, error, figures)

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
            postcopy = self.reached is State.POSTCOPY
            parts = self.record.parts = self._sending.parts(postcopy=postcopy) if self._sending is not None else None
            self.record.finish(JobType.COMPLETED, downtime=parts.total if parts is not None else self._standstill())
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
