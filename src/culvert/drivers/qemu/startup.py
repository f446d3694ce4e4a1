"""One start of a domain, step by step: what is looked at after every wait, and where a test may hold it.

A domain can be ended at every moment of its start, also before there is a process that could be ended. Who ends it
says so here (``Domain.kill``), and the start, which looks after each of its waits, gives up.
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import TypeVar

from culvert.drivers.qemu.run import Ending, Run
from culvert.ground import errors
from culvert.io import fault_points
from culvert.protocol.constants_state import ShutoffReason

T = TypeVar("T")

SIDE = "start"  # of the fault points


class StartStep(Enum):
    """What a start has behind it, in this order; the value is the name of its fault point (``io.fault_points``)."""

    BEGUN = "begun"
    """The domain has a run; nothing of it is on the disk."""
    WRITTEN = "written"
    """The status is on the disk, and says that a process will come."""
    FLASH = "flash"
    """The variables of the guest's firmware are there, if it has any."""
    SPAWNED = "spawned"
    """The process is there, and the status does not say which."""
    NOTED = "noted"
    """The status has the process."""
    CONNECTED = "connected"
    """QEMU answers on its monitor."""
    ABILITIES = "abilities"
    """It has said what it can do."""
    PROCESSORS = "processors"
    """The processors are there that a guest has been given while it ran."""
    ACTIONS = "actions"
    """It knows what to do when the guest ends."""
    SECRETS = "secrets"
    """Its screens have theirs; only of a guest with one."""
    BALLOON = "balloon"
    """The guest has the memory that it is to have."""
    TUNED = "tuned"
    """Its disks have their limits."""
    LEARNT = "learnt"
    """What only a running QEMU knows is in the definition."""
    CPU = "cpu"
    """QEMU's CPU is what the definition insists on."""
    SEEN = "seen"
    """QEMU has said what CPU it has given the guest."""
    FED = "fed"
    """The saved state is loaded; only of a guest that is restored."""
    RUNS = "runs"
    """The CPUs run; not of a guest that is to stand still."""
    DONE = "done"
    """The status says so."""
    HERE = "here"
    """It is on the disk that the guest is here and nowhere else; not of one that comes in."""


@dataclass(slots=True)
class Startup:
    """A start of the domain ``name`` that is under way; ``run`` is what it has begun last, ``annotations`` is what
    each run of it is annotated with from its beginning.

    ``ending``: how the domain was ended meanwhile, by somebody else than the start itself.
    """

    name: str
    run: Run | None = None
    ending: Ending | None = None
    annotations: Mapping[str, str] = field(default_factory=dict)

    async def step(self, step: StartStep, work: Awaitable[T]) -> T:
        """Do ``work``, which ends with ``step``, and return what it does. Raises as that and as ``look``."""
        result = await work
        await self.reach(step)
        return result

    async def reach(self, step: StartStep) -> None:
        """``step`` has been made. Raises as ``look``."""
        await fault_points.reach(SIDE, step.value)
        await self.look()

    async def look(self) -> None:
        """Whether the start may go on.

        Raises ``errors.OperationAborted`` when the domain was ended meanwhile, ``errors.OperationFailed`` when QEMU
        has ended by itself. A guest that has run and has ended by itself has been started.
        """
        self.explain()
        run = self.run
        if run is not None and not run.started and run.process is not None and run.process.exited.is_set():
            raise errors.OperationFailed(
                f"domain '{self.name}': QEMU ended while it was being started ({run.process.exit_text}): "
                f"{(await run.last_output()).strip()}"
            )

    def explain(self, cause: Exception | None = None) -> None:
        """Raise ``errors.OperationAborted`` when the domain was ended meanwhile, which has led to ``cause``."""
        started = self.run is not None and self.run.started
        if self.ending is None or (started and self.ending.reason is not ShutoffReason.DESTROYED):
            return
        if isinstance(cause, errors.OperationAborted):
            raise cause
        destroyed = self.ending.reason is ShutoffReason.DESTROYED
        raise errors.OperationAborted(
            f"domain '{self.name}' was {'destroyed' if destroyed else 'ended'} while it was being started"
        ) from cause
