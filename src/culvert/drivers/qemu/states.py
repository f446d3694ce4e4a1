"""Tables between QEMU's run states and events and libvirt's states, reasons and lifecycle events."""

from __future__ import annotations

from culvert.protocol.constants_state import (
    CrashedReason,
    DomainEvent,
    DomainState,
    PausedReason,
    PMSuspendedReason,
    ResumedDetail,
    RunningReason,
    ShutdownReason,
    SuspendedDetail,
)

# QEMU's RunState (qapi/run-state.json) → libvirt's state and reason, in the order of QEMU's schema.
RUN_STATES: dict[str, tuple[DomainState, int]] = {
    "debug": (DomainState.PAUSED, PausedReason.UNKNOWN),
    "inmigrate": (DomainState.PAUSED, PausedReason.MIGRATION),
    "internal-error": (DomainState.PAUSED, PausedReason.UNKNOWN),
    "io-error": (DomainState.PAUSED, PausedReason.IOERROR),
    "paused": (DomainState.PAUSED, PausedReason.UNKNOWN),
    "postmigrate": (DomainState.PAUSED, PausedReason.MIGRATION),
    "prelaunch": (DomainState.PAUSED, PausedReason.STARTING_UP),
    "finish-migrate": (DomainState.PAUSED, PausedReason.MIGRATION),
    "restore-vm": (DomainState.PAUSED, PausedReason.MIGRATION),
    "running": (DomainState.RUNNING, RunningReason.UNKNOWN),
    "save-vm": (DomainState.PAUSED, PausedReason.SAVE),
    "shutdown": (DomainState.SHUTDOWN, ShutdownReason.UNKNOWN),
    "suspended": (DomainState.PMSUSPENDED, PMSuspendedReason.UNKNOWN),
    "watchdog": (DomainState.PAUSED, PausedReason.WATCHDOG),
    "guest-panicked": (DomainState.CRASHED, CrashedReason.PANICKED),
    "colo": (DomainState.PAUSED, PausedReason.MIGRATION),
}

# Why a guest is paused → the detail of the SUSPENDED event (qemu/qemu_domain.c,
# qemuDomainPausedReasonToSuspendedEvent); what is not listed is PAUSED.
SUSPENDED_DETAILS: dict[int, SuspendedDetail] = {
    PausedReason.MIGRATION: SuspendedDetail.MIGRATED,
    PausedReason.IOERROR: SuspendedDetail.IOERROR,
    PausedReason.WATCHDOG: SuspendedDetail.WATCHDOG,
    PausedReason.FROM_SNAPSHOT: SuspendedDetail.FROM_SNAPSHOT,
    PausedReason.POSTCOPY: SuspendedDetail.POSTCOPY,
    PausedReason.POSTCOPY_FAILED: SuspendedDetail.POSTCOPY_FAILED,
}

# Why a guest runs → the detail of the RESUMED event (qemuDomainRunningReasonToResumeEvent); otherwise UNPAUSED.
RESUMED_DETAILS: dict[int, ResumedDetail] = {
    RunningReason.MIGRATED: ResumedDetail.MIGRATED,
    RunningReason.MIGRATION_CANCELED: ResumedDetail.MIGRATED,
    RunningReason.RESTORED: ResumedDetail.FROM_SNAPSHOT,
    RunningReason.FROM_SNAPSHOT: ResumedDetail.FROM_SNAPSHOT,
    RunningReason.POSTCOPY: ResumedDetail.POSTCOPY,
    RunningReason.POSTCOPY_FAILED: ResumedDetail.POSTCOPY_FAILED,
}

Occurrence = tuple[DomainEvent, int]
"""A lifecycle event and its detail."""


def suspended(reason: int) -> Occurrence:
    return DomainEvent.SUSPENDED, SUSPENDED_DETAILS.get(reason, SuspendedDetail.PAUSED)


def resumed(reason: int) -> Occurrence:
    return DomainEvent.RESUMED, RESUMED_DETAILS.get(reason, ResumedDetail.UNPAUSED)


def state_of(run_state: str, known: tuple[int, int]) -> tuple[DomainState, int]:
    """libvirt's state and reason for what query-status says.

    ``known`` is what was last known: its reason is better than a guess while the state is the same. A run state that
    this table does not know is NOSTATE.
    """
    state, reason = RUN_STATES.get(run_state, (DomainState.NOSTATE, 0))
    return state, known[1] if known[0] == state else reason
