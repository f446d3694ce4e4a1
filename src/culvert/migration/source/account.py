"""What is told of a migration out of this host: its record while it runs, its lines in the journal afterwards."""

from __future__ import annotations

import time
from contextlib import suppress

from culvert.ground import errors
from culvert.migration.handover.machine_source import FINAL, State
from culvert.migration.handover.steps import SOURCE_STEPS
from culvert.migration.journal.history import Begun
from culvert.migration.journal.journal import Journal
from culvert.migration.journal.ledger import Ledger
from culvert.migration.peers import cookies
from culvert.migration.progress import statistics
from culvert.migration.progress.downtime import FIGURES
from culvert.migration.source.cause import Cause
from culvert.migration.source.sending import Sending
from culvert.migration.source.waiting import WAITING
from culvert.protocol.constants_migrate import JobOperation, JobType

PREPARE = "prepare3"
_DECIDED = (State.CONFIRM3, State.CONFIRM3_CANCELLED, State.RETURNED, *FINAL)


class Account:
    """Of the migration ``begun``, which has come to ``state``; ``cause`` is why it fails, if it does."""

    def __init__(self, begun: Begun, journal: Journal, cause: Cause, state: State) -> None:
        self.ledger = Ledger(journal, begun, known=state is not State.BEGIN3)
        self.record = statistics.JobRecord(
            operation=JobOperation.MIGRATION_OUT,
            type=JobType.UNBOUNDED,
            clock=time.monotonic,
            step=SOURCE_STEPS[state],
        )
        self.reached = state
        """The furthest state before the end was decided, for telling where it failed."""
        self.asked = False
        """The destination was asked to prepare."""
        self.sending: Sending | None = None
        """What is sent, or was sent last."""
        self._answered_at: float | None = None
        self._name = begun.name
        self._cause = cause

    @property
    def failed_in(self) -> str:
        """The phase it came to, as people are told: the destination prepares while the source is in BEGIN3."""
        return PREPARE if self.reached is State.BEGIN3 and self.asked else self.reached.value

    def entered(self, state: State, doubt: errors.RequestError | None) -> None:
        """The machine is in ``state``; ``doubt``: what came in the place of a good answer to finish."""
        self.record.step = SOURCE_STEPS[state]
        if state not in (*_DECIDED, *WAITING):
            self.reached = state
        if state is State.CONFIRM3:
            postcopy = self.reached is State.POSTCOPY
            answered = self._answered_at or time.monotonic()
            sending = self.sending
            parts = self.record.parts = sending.parts(answered, postcopy=postcopy) if sending is not None else None
            self.record.finish(JobType.COMPLETED, downtime=parts.total if parts is not None else self._standstill())
        elif state in _DECIDED and self.record.ended is None:
            ended = errors.OperationFailed(f"QEMU of domain '{self._name}' has ended here")
            cause = self._cause.error or doubt or ended
            self._cause.set(cause)
            kind = JobType.CANCELLED if isinstance(cause, errors.OperationAborted) else JobType.FAILED
            self.record.finish(kind, downtime=self._standstill(), error=str(cause))

    async def hear(self, cookie_in: bytes) -> None:
        """The destination's last cookie, with what it has measured; the guest runs there, whatever else it says."""
        self._answered_at = time.monotonic()
        with suppress(errors.RequestError):
            said = (await cookies.parse(cookie_in)).statistics if cookie_in else {}
            self.record.reported = {name: said[name] for name in FIGURES.values() if name in said}

    def _standstill(self) -> float | None:
        """Seconds since QEMU stopped the guest here: up to now, when the destination has just said that it runs."""
        if self.reached is State.POSTCOPY:
            return None  # it ran there long before that is heard; QEMU says how long it stood still
        stopped_at = self.sending.stopped_at if self.sending is not None else None
        return None if stopped_at is None else time.monotonic() - stopped_at

    async def refreshed(self, *, sends: bool) -> statistics.JobRecord:
        """The record with the latest figures; ``sends``: QEMU has newer ones."""
        if self.sending is not None:
            if sends:
                await self.sending.refresh()
            self.sending.count()
        return self.record

    async def summarise(self) -> None:
        """Put what is to be told of it into the journal."""
        record = self.record
        error = "" if record.type is JobType.COMPLETED else str(self._cause.error or record.error)
        figures = {**statistics.numbers(record), "tunnel_bytes": record.tunnel_bytes}
        figures |= statistics.downtimes(record)
        figures |= {"channels": record.channels, "interruptions": record.interruptions}
        await self.ledger.summarise(record.route, error, figures)
