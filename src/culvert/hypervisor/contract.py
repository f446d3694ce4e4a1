"""The contract between a migration and whatever runs the guest: a driver fulfils it, the two machines rely on it.

Four things, each as little as a migration needs: the *guests* of a host, a *guest*, the *hypervisor* that runs it,
and one migration as the hypervisor of either side has it (*outgoing*, *incoming*). Statuses and figures are in QEMU's
words (``status``, ``statistics``); another hypervisor's driver translates.

Every call may raise ``errors.RequestError`` with the hypervisor's own words; what else is raised is said.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Protocol
from uuid import UUID

from culvert.domain.definition import DomainDef
from culvert.ground import errors
from culvert.hypervisor.latency import Latency
from culvert.hypervisor.setup import Entrance, Setup
from culvert.hypervisor.statistics import Statistics
from culvert.hypervisor.viewer import Screen
from culvert.protocol.constants_state import (
    DomainEvent,
    DomainState,
    EventID,
    RunningReason,
    ShutoffReason,
    StoppedDetail,
)


class Happened(Protocol):
    """Something that happens once, and can be waited for."""

    def is_set(self) -> bool: ...

    async def wait(self) -> object: ...


class Job(Protocol):
    """What occupies a guest for long; set and cleared in ``Guest.job`` by whoever runs it."""

    @property
    def description(self) -> str:
        """For error texts: "migration out"."""


class Outgoing(Protocol):
    """One migration out of this host, from when it was made until ``close``; nothing is sent before ``start``.

    While there is one, what the hypervisor does with the guest's CPUs by itself is the migration's doing.
    """

    on_io_error: Callable[[str], None]
    """Called with the device when a disk of the guest fails meanwhile."""

    on_sleep: Callable[[], None]
    """Called when the guest goes to sleep (S3) meanwhile."""

    @property
    def stopped_at(self) -> float | None:
        """When the guest last stopped, on the monotonic clock; ``None`` while it has not."""

    @property
    def synced_at(self) -> float | None:
        """When it was known what was left to send after that."""

    @property
    def sent_at(self) -> float | None:
        """When all of it was sent."""

    async def start(self, entrance: Entrance, setup: Setup) -> None:
        """Begin to send into ``entrance``; the caller closes its own copy of a socket."""

    async def switch_to_postcopy(self) -> None:
        """Go over to post-copy as soon as it can; ``postcopy-active`` says that it has."""

    async def recover(self, entrance: Entrance) -> bool:
        """Take up a post-copy that has lost its way, by a new one. False: there is nothing to take up any more."""

    async def cancel(self) -> None:
        """Give up; ``settled`` says when it has. Harmless when there is nothing to cancel."""

    async def statistics(self) -> Statistics:
        """How far it is."""

    async def look(self) -> str:
        """The status now; ``none`` for no migration."""

    async def next_status(self, among: frozenset[str]) -> str:
        """The next status that is one of ``among``, in order, none told twice. Raises ``OperationFailed`` when the
        hypervisor ends first."""

    async def settled(self) -> str:
        """Wait for one of ``status.SETTLED``; may be asked again. Raises as ``next_status``."""

    def close(self) -> None:
        """Stop listening. Idempotent."""


class Incoming(Protocol):
    """The migration that a guest which was started for it waits for."""

    @property
    def switched(self) -> bool:
        """Whether it has gone over to post-copy."""

    async def prepare(self, setup: Setup, *, continued: bool) -> None:
        """Refuse now what could not be done in ``start``, with ``OperationUnsupported``.

        ``continued``: the guest will run when it has arrived, not stand still.
        """

    async def start(self, entrance: Entrance, setup: Setup, *, continued: bool) -> None:
        """Expect the guest at ``entrance``; the caller closes its own copy of a socket."""

    async def recover(self, entrance: Entrance) -> bool:
        """Expect the rest of a post-copy there. False: there is nothing to take up any more."""

    async def look(self) -> str:
        """As ``Outgoing.look``."""

    async def next_status(self, among: frozenset[str]) -> str:
        """As ``Outgoing.next_status``."""

    async def settled(self) -> str:
        """As ``Outgoing.settled``."""

    async def failed(self) -> bool:
        """Whether it could not load what came, or has ended; waits a moment for that to be noticed."""

    async def loaded(self) -> None:
        """Wait until all is loaded. Raises ``why`` it could not be."""

    async def latency(self) -> Latency | None:
        """How long the guest has waited for its pages in post-copy; ``None`` where that is not counted."""

    async def why(self, seen: Exception) -> errors.OperationFailed:
        """Why it could not load what came, or has ended, in the hypervisor's words; ``seen`` where it has none."""

    def close(self) -> None:
        """Stop listening. Idempotent."""


class Hypervisor(Protocol):
    """What runs one guest, as far as a migration needs it."""

    def outgoing(self) -> Outgoing:
        """One migration out of here. Raises ``OperationInvalid`` when the guest does not run."""

    def incoming(self) -> Incoming:
        """The migration that the guest waits for. Raises as ``outgoing``."""

    # -- the guest's CPUs -----------------------------------------------------------------------------------------

    async def resume(self, reason: RunningReason) -> None:
        """Let a guest run that a migration has paused; state and event then say ``reason``."""

    async def announce(self) -> None:
        """Have the network told where the guest is now. What is refused is logged, and not raised."""

    # -- who looks at it -------------------------------------------------------------------------------------------

    def screen(self) -> Screen | None:
        """Where those who look at it at the source are to connect; ``None`` where nobody can follow."""

    async def send_viewers(self, screen: Screen) -> None:
        """Have who looks at it connect to ``screen``, before it goes there."""

    async def viewers_gone(self) -> None:
        """Returns when all whom ``send_viewers`` has sent are there; at once where that was not called."""

    # -- what it is, and how it stands ----------------------------------------------------------------------------

    async def version(self) -> int:
        """As major × 1,000,000 + minor × 1,000 + micro."""

    async def status(self) -> str:
        """Of the migration; empty where there was none."""

    async def run_state(self) -> str:
        """Of the guest, in QEMU's words (qapi/run-state.json, RunState)."""

    async def blockers(self) -> Sequence[str]:
        """Why the guest cannot migrate now, in the hypervisor's words."""

    async def missing_cpu_features(self) -> Sequence[str]:
        """What of the guest's CPU this host cannot give it."""

    async def is_shared(self, path: str) -> bool:
        """Whether other hosts see the file at ``path`` too."""

    async def dirty_rate(self) -> float | None:
        """How many bytes per second the guest changes, which takes a second to find out; ``None`` when unknown."""

    async def has_preempt(self) -> bool:
        """Whether the migration has a channel for preempted pages."""

    async def gone(self, side: str, cause: Exception) -> errors.OperationFailed:
        """The error for a hypervisor that ended in mid-migration at ``side``: ``ended``, or its last words."""

    def ended(self, side: str) -> errors.GuestEnded | None:
        """The error for a guest that has shut down, crashed or been destroyed in mid-migration, or is about to be
        gone for that reason; ``None`` while it goes on, and for a hypervisor that ended by itself."""

    async def behind(self, side: str, error: errors.RequestError) -> errors.RequestError:
        """``error``; where a call to the hypervisor failed because that has ended, ``gone`` tells how it did."""

    def on_round(self, begun: Callable[[], None]) -> Callable[[], object]:
        """Have ``begun`` called as each round of a migration begins, until what is answered is called."""

    # -- what can be changed at any time --------------------------------------------------------------------------

    @property
    def max_speed(self) -> int:
        """What people have allowed this guest's migrations, in MiB/s."""

    async def postcopy_speed(self) -> int:
        """What ``set_postcopy_speed`` has been told, in bytes per second; 0 for no limit."""

    async def set_postcopy_speed(self, bytes_per_second: int) -> None:
        """Limit what post-copy sends without having been asked for it, also of a running one; 0: no limit."""

    async def set_speed(self, bytes_per_second: int) -> None:
        """Limit the migration; 0 for no limit."""

    def can_expect_speed(self) -> bool:
        """Whether ``expect_speed`` has an effect."""

    async def expect_speed(self, bytes_per_second: int) -> None:
        """What the way carries when the guest stands still, by which is found out when it may; 0: the hypervisor goes
        by what it has seen. It limits nothing."""

    async def max_downtime(self) -> int:
        """How long the guest may stand still at the end, in milliseconds."""

    async def set_max_downtime(self, milliseconds: int) -> None:
        """Allow so much, also while a migration runs."""

    async def allow_throttle(self, percent: int, *, step: int) -> None:
        """Let the guest be denied so much of its CPU time at most, by ``step`` percent a round."""

    async def personal(self, setup: Setup) -> Mapping[str, int]:
        """What ``setup`` is going to change of that which people set by calls of their own, as it is now."""

    async def put_back(self, before: Mapping[str, int], setup: Setup) -> None:
        """Give ``before`` (of ``personal``) back, but for what somebody has changed since."""


class Guest(Protocol):
    """A domain of this host. It outlives its runs; what needs a run raises ``OperationInvalid`` without one.

    ``annotations`` are kept as long as the guest runs, also across restarts of the daemon.
    """

    job: Job | None

    @property
    def name(self) -> str: ...

    @property
    def uuid(self) -> UUID: ...

    @property
    def id(self) -> int:
        """A positive number while it runs, else -1."""

    @property
    def definition(self) -> DomainDef:
        """Of what runs; else the persistent one, else that of the run that has ended."""

    @property
    def as_it_runs(self) -> DomainDef:
        """``definition`` as the live XML has it."""

    @property
    def persistent(self) -> DomainDef | None: ...

    @property
    def is_active(self) -> bool: ...

    @property
    def is_persistent(self) -> bool: ...

    @property
    def state(self) -> DomainState: ...

    @property
    def reason(self) -> int: ...

    @property
    def annotations(self) -> dict[str, str]: ...

    @property
    def exited(self) -> Happened:
        """Set while nothing runs."""

    @property
    def hypervisor(self) -> Hypervisor: ...

    @property
    def runtime(self) -> Path:
        """The folder of the run, for sockets. Raises ``OperationInvalid`` when it does not run."""

    def require_active(self) -> object:
        """Raises ``OperationInvalid`` when it does not run."""

    def changing(self, operation: str) -> AbstractAsyncContextManager[None]:
        """Hold the guest for a call that changes it. Raises ``OperationTimeout``, and ``OperationInvalid`` during a
        job."""

    def set_state(self, state: DomainState, reason: int, event: tuple[DomainEvent, int] | None = None) -> None:
        """Show it so from now on; ``event`` goes to the subscribers."""

    def tell(self, kind: EventID, **members: object) -> None:
        """Tell the subscribers of something that is not the lifecycle."""

    async def last_output(self) -> str:
        """The hypervisor's last words."""

    async def xml(self, flags: int = 0) -> str:
        """The domain XML, by ``XMLFlag``."""

    async def annotate(self, key: str, value: str) -> None:
        """Keep ``value`` with the running guest, on the disk on return; an empty one is forgotten."""

    async def became_persistent(self, definition: DomainDef) -> None:
        """Keep ``definition`` from now on. Raises ``errors.SystemCallError``, changing nothing."""

    async def kill(self, reason: ShutoffReason, detail: StoppedDetail | None) -> None:
        """End the run; everything of it is gone on return. Raises ``errors.OperationTimeout``."""


class Guests(Protocol):
    """The guests of this host."""

    @property
    def cpu_models(self) -> Collection[str]:
        """The CPU models that the emulator has."""

    @property
    def machines(self) -> Collection[str]:
        """The machine types that the emulator has."""

    def domains(self) -> Sequence[Guest]: ...

    def lookup_by_uuid(self, uuid: UUID) -> Guest:
        """Raises ``errors.NoDomain``."""

    def complete(self, definition: DomainDef) -> DomainDef:
        """``definition`` with libvirt's defaults filled in. Takes long: beside the loop (``io.apart``)."""

    async def define_xml(self, xml: str) -> Guest:
        """Keep a definition that does not run, and comes from another host: what is kept there is kept here."""

    async def undefine(self, guest: Guest) -> None:
        """Forget its definition: it has gone to another host (VIR_MIGRATE_UNDEFINE_SOURCE)."""

    async def launch_incoming(self, definition: DomainDef, name: str | None = None) -> Guest:
        """Start a guest that waits for a migration. A failed start leaves nothing behind."""
