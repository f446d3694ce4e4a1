"""Journals that tell the truth, and ones that do not."""

from __future__ import annotations

from pathlib import Path

import pytest

from culvert.migration.handover.machine import Step
from culvert.migration.journal.history import Begun, Direction, Key
from culvert.migration.journal.journal import Journal
from faults import records
from faults.records import Record

OUT, IN = Direction.OUT, Direction.IN


@pytest.mark.parametrize(
    ("source", "destination", "arrived"),
    [
        (Step.STAYED, Step.GONE, False),
        (Step.STAYED, Step.LOST, False),
        (Step.STAYED, None, False),
        (Step.LEFT, Step.ARRIVED, True),
    ],
)
def test_the_truth(source: Step, destination: Step | None, arrived: bool) -> None:
    there = Record(IN, destination) if destination else None
    assert list(records.lies(Record(OUT, source), there, arrived=arrived)) == []
    assert list(records.lies(Record(OUT, source), there, arrived=not arrived))


def test_what_is_not_said_to_the_end() -> None:
    found = list(records.lies(Record(OUT, Step.PERFORM3_DONE), Record(IN, Step.ARRIVED), arrived=True))
    assert found == ["the journal of the source is not done: 'perform3_done'"]


async def test_the_newest_is_read_from_a_journal_in_use(tmp_path: Path) -> None:
    assert records.last(tmp_path) is None
    journal = Journal(tmp_path / records.JOURNAL)
    await journal.open()
    assert records.last(tmp_path) is None
    for attempt, direction in (("a", OUT), ("b", IN)):
        await journal.begin(Begun(Key(attempt, direction), "tiny", "uuid"), Step.PREPARE)
    await journal.write(Key("b", IN), Step.GONE)
    assert records.last(tmp_path) == Record(IN, Step.GONE)
    await journal.close()
