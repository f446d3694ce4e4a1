"""The tables between QEMU's words and libvirt's numbers."""

from __future__ import annotations

import pytest

from culvert.drivers.qemu import states
from culvert.protocol.constants_state import (
    REASONS,
    DomainEvent,
    DomainState,
    PausedReason,
    ResumedDetail,
    RunningReason,
    SuspendedDetail,
)

# qapi/run-state.json of QEMU 7.2, RunState.
RUN_STATES = [
    *("debug", "inmigrate", "internal-error", "io-error", "paused", "postmigrate", "prelaunch", "finish-migrate"),
    *("restore-vm", "running", "save-vm", "shutdown", "suspended", "watchdog", "guest-panicked", "colo"),
]


def test_every_run_state_of_qemu_has_its_row() -> None:
    assert sorted(states.RUN_STATES) == sorted(RUN_STATES)


@pytest.mark.parametrize("run_state", RUN_STATES)
def test_every_reason_belongs_to_its_state(run_state: str) -> None:
    state, reason = states.RUN_STATES[run_state]
    assert reason in list(REASONS[state])


def test_a_known_reason_survives_while_the_state_is_the_same() -> None:
    known = (DomainState.RUNNING, RunningReason.BOOTED)
    assert states.state_of("running", known) == known
    assert states.state_of("io-error", known) == (DomainState.PAUSED, PausedReason.IOERROR)
    assert states.state_of("brand-new", known) == (DomainState.NOSTATE, 0)


@pytest.mark.parametrize(
    ("reason", "detail"),
    [
        (PausedReason.USER, SuspendedDetail.PAUSED),
        (PausedReason.MIGRATION, SuspendedDetail.MIGRATED),
        (PausedReason.IOERROR, SuspendedDetail.IOERROR),
        (PausedReason.WATCHDOG, SuspendedDetail.WATCHDOG),
    ],
)
def test_suspended(reason: PausedReason, detail: SuspendedDetail) -> None:
    assert states.suspended(reason) == (DomainEvent.SUSPENDED, detail)


@pytest.mark.parametrize(
    ("reason", "detail"),
    [
        (RunningReason.UNPAUSED, ResumedDetail.UNPAUSED),
        (RunningReason.BOOTED, ResumedDetail.UNPAUSED),
        (RunningReason.MIGRATED, ResumedDetail.MIGRATED),
        (RunningReason.MIGRATION_CANCELED, ResumedDetail.MIGRATED),
    ],
)
def test_resumed(reason: RunningReason, detail: ResumedDetail) -> None:
    assert states.resumed(reason) == (DomainEvent.RESUMED, detail)
