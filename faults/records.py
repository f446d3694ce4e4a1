"""What both journals say of the last migration, read from their files, and whether that is what has happened."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from culvert.migration.handover.machine import OVER, Step
from culvert.migration.journal.history import Direction

JOURNAL = "lib/migrations.sqlite"

_TRUE: dict[tuple[bool, Direction], frozenset[Step]] = {
    (False, Direction.OUT): frozenset({Step.STAYED}),
    (False, Direction.IN): frozenset({Step.GONE, Step.LOST}),
    (True, Direction.OUT): frozenset({Step.LEFT}),
    (True, Direction.IN): frozenset({Step.ARRIVED}),
}
"""(whether the guest has arrived, which side) → last rows that say so. ``LOST``: of a copy that nobody needs."""


@dataclass(frozen=True, slots=True)
class Record:
    """One migration as a journal has it."""

    direction: Direction
    step: Step


def last(root: Path) -> Record | None:
    """The newest record of a daemon's journal; ``None`` when it has none, or no journal."""
    path = root / JOURNAL
    if not path.exists():
        return None
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)) as database:
        found = database.execute("SELECT direction, step FROM migration ORDER BY number DESC LIMIT 1").fetchone()
    return Record(Direction(found[0]), Step(found[1])) if found else None


def lies(source: Record | None, destination: Record | None, *, arrived: bool) -> Iterator[str]:
    """What is said that is not so, or not said to the end, when the guest runs where ``arrived`` tells."""
    for side, record in (("source", source), ("destination", destination)):
        if record is None:
            continue
        if record.step not in OVER:
            yield f"the journal of the {side} is not done: '{record.step.value}'"
        elif record.step not in _TRUE[arrived, record.direction]:
            yield f"the journal of the {side} says '{record.step.value}'"
