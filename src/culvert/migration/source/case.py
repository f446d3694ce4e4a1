"""What one migration out of this host is about, for all who work on it: the guest, what was asked for, where it goes,
why it fails, what stands in its way."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Coroutine
from typing import Any, TypeVar
from uuid import UUID

from culvert.channels.data_path import DataPath
from culvert.ground import errors
from culvert.hypervisor.contract import Guest
from culvert.migration.handover.machine_source import Event, State
from culvert.migration.journal.history import Begun
from culvert.migration.journal.journal import Journal
from culvert.migration.options.parameters import Options
from culvert.migration.options.settings import Settings
from culvert.migration.peers.peer import Dialler
from culvert.migration.progress import statistics
from culvert.migration.shell import Shell
from culvert.migration.source import standing
from culvert.migration.source.account import Account
from culvert.migration.source.cause import Cause
from culvert.migration.source.driving import Driving
from culvert.migration.source.rescue import Rescue
from culvert.protocol import types
from culvert.protocol.constants_state import DomainEvent as Lifecycle
from culvert.protocol.constants_state import DomainState

log = logging.getLogger(__name__)

T = TypeVar("T")


class Case:
    """``begun.key.attempt`` names the migration towards the destination, for ever. ``guest`` is ``None`` where an
    earlier daemon has begun it and nothing of the domain is left here."""

    shell: Shell[State, Event]
    """Its machine, under way."""

    def __init__(
        self,
        begun: Begun,
        guest: Guest | None,
        options: Options,
        settings: Settings,
        *,
        dialler: Dialler,
        journal: Journal,
        state: State,
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
        self.destination_qemu = 0
        """Its version, where a client drives and the destination has told it."""
        self.data_path: DataPath | None = None
        """A way that is open and that QEMU has not been given yet."""
        self.cause = Cause(f"migration {begun.key.attempt}")
        self.account = Account(begun, journal, self.cause, state)
        self.rescue = Rescue(path_lost=state is State.POSTCOPY_FAILED)
        self.doubt: errors.RequestError | None = None
        """What came in the place of a good answer to finish."""
        self.obstacle = ""
        """Why the destination has not said yet what became of the guest."""
        self.hung = ""
        """What QEMU here has not answered when it was to go over to post-copy; empty while it answers."""
        self.auto = False
        """Whether ``autopilot`` decides what is done for a guest that does not converge."""
        self.compression = ""
        """The word for it that ``autopilot`` has chosen, if any."""
        self.hazards: tuple[str, ...] = ()
        """What is known to go wrong between the two QEMUs (``options.hazards``)."""
        self.tasks: asyncio.TaskGroup | None = None
        """What is done meanwhile, while it lives."""
        self._beside: list[asyncio.Task[object]] = []

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

    async def until_failed(self, work: Awaitable[T]) -> T:
        """The result of ``work``; if ``fail`` is called first, ``work`` is cancelled and the cause raised."""
        return await self.cause.guard(work)

    def drop_data_path(self) -> None:
        """Nobody will use ``data_path`` any more. Idempotent."""
        if self.data_path is not None:
            self.data_path.abort(str(self.cause.error))
            self.data_path.close()
            self.data_path = None

    def heed_the_end(self) -> None:
        """A guest that has ended is the reason for what followed: QEMU's end, and what the other side made of it."""
        ended = self.guest.hypervisor.ended("source") if self.guest is not None else None
        if ended is not None and not isinstance(self.cause.error, errors.OperationAborted):
            self.cause.error = ended

    @property
    def way_lost(self) -> bool:
        """Whether nothing carries the guest's pages now, as far as is known."""
        sending = self.account.sending
        return self.rescue.path_lost or (sending is not None and not sending.way_stands)

    def show(self) -> None:
        """Have the guest's copy here shown as it stands, with an event where that is another way than before."""
        found, guest = standing.of(self.state, self.account.reached, way_lost=self.way_lost), self.guest
        if found is None or guest is None or not guest.is_active:
            return
        reason, detail = found
        if (guest.state, guest.reason) != (DomainState.PAUSED, reason):
            guest.set_state(DomainState.PAUSED, reason, (Lifecycle.SUSPENDED, detail))

    def note(self, text: str) -> None:
        """Tell people of something that was decided: in the log and in the history."""
        log.info("%s: %s", self.shell.name, text)
        if self.tasks is not None:
            self.tasks.create_task(self.account.ledger.note(text), name=f"{self.shell.name}: note")

    def beside(self, name: str, work: Coroutine[Any, Any, object]) -> None:
        """Have ``work`` done meanwhile; it ends with this migration."""
        assert self.tasks is not None, "it lives"
        self._beside.append(self.tasks.create_task(work, name=f"{self.shell.name}: {name}"))

    def end_beside(self) -> None:
        """It is over: so is what was done beside it."""
        for task in self._beside:
            task.cancel()
