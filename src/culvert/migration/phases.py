"""The phases of a migration and what may follow each; pure.

The words are libvirt's ``qemuMigrationJobPhase`` (qemu/qemu_migration.h). The table is the truth that code, tests and
documents share: a side moves only along it, one function moves it, and going backwards is refused.

::

    source        BEGIN3 → PERFORM3 → PERFORM3_DONE → CONFIRM3
                     └────────┴─────────────┴────────→ CONFIRM3_CANCELLED
    destination   PREPARE → FINISH3
"""

from __future__ import annotations

from enum import Enum


class Phase(Enum):
    """Where one side's migration is; the value is the word in status files."""

    BEGIN3 = "begin3"
    """Source: the XML and the cookie are made; nothing has changed yet."""
    PERFORM3 = "perform3"
    """Source: QEMU migrates into the tunnel; the guest still belongs to the source."""
    PERFORM3_DONE = "perform3_done"
    """Source: everything is sent, the guest is paused here, and only the destination knows whether it runs there."""
    CONFIRM3 = "confirm3"
    """Source: the destination runs the guest; the source's copy goes."""
    CONFIRM3_CANCELLED = "confirm3_cancelled"
    """Source: the destination will never run the guest; the source's copy goes on."""
    PREPARE = "prepare"
    """Destination: QEMU waits for the incoming state; the guest belongs to the source."""
    FINISH3 = "finish3"
    """Destination: the whole state is here and the CPUs are being started; the point of no return."""


SUCCESSORS: dict[Phase, frozenset[Phase]] = {
    Phase.BEGIN3: frozenset({Phase.PERFORM3, Phase.CONFIRM3, Phase.CONFIRM3_CANCELLED}),
    Phase.PERFORM3: frozenset({Phase.PERFORM3_DONE, Phase.CONFIRM3_CANCELLED}),
    Phase.PERFORM3_DONE: frozenset({Phase.CONFIRM3, Phase.CONFIRM3_CANCELLED}),
    Phase.CONFIRM3: frozenset(),
    Phase.CONFIRM3_CANCELLED: frozenset(),
    Phase.PREPARE: frozenset({Phase.FINISH3}),
    Phase.FINISH3: frozenset(),
}
"""phase → what may follow it. BEGIN3 → CONFIRM3 is the offline migration, which moves a definition only."""


class PhaseError(RuntimeError):
    """A side was asked to move against the table; nothing was changed."""


STEPS: dict[Phase, str] = {
    Phase.BEGIN3: "begin",
    Phase.PERFORM3: "perform",
    Phase.PERFORM3_DONE: "finish",
    Phase.CONFIRM3: "confirm",
    Phase.CONFIRM3_CANCELLED: "confirm",
    Phase.PREPARE: "prepare",
    Phase.FINISH3: "finish",
}
"""phase → which of the five steps is under way, the word that people see in job statistics."""


def advance(now: Phase, following: Phase) -> Phase:
    """``following``, if it may come after ``now``. Raises ``PhaseError`` otherwise."""
    if following not in SUCCESSORS[now]:
        raise PhaseError(f"migration phase '{following.value}' cannot follow '{now.value}'")
    return following
