"""What is kept of migrations, and for how long."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from culvert.migration.handover.machine import Step
from culvert.migration.journal import history
from culvert.migration.journal.history import DAY, Begun, Direction, Entry, EntryLine, Key, Retention

NOW = 1_000 * DAY


@pytest.mark.parametrize(
    ("retention", "left"),
    [
        (Retention(records=0, days=0), [1, 2, 3, 4, 5]),
        (Retention(records=2, days=0), [1, 4, 5]),
        (Retention(records=0, days=10), [1, 4, 5]),
        (Retention(records=1, days=10), [1, 5]),
    ],
)
def test_what_is_over_goes_by_number_and_by_age(retention: Retention, left: list[int]) -> None:
    entries = [(1, None), (2, NOW - 30 * DAY), (3, NOW - 11 * DAY), (4, NOW - 9 * DAY), (5, NOW)]
    gone = history.outdated(entries, NOW, retention)
    assert [number for number, _ in entries if number not in gone] == left


@given(
    st.lists(st.tuples(st.integers(), st.none() | st.floats(0, NOW)), max_size=50),
    st.integers(0, 20),
    st.integers(0, 500),
)
def test_what_is_not_over_always_stays(entries: list[tuple[int, float | None]], records: int, days: int) -> None:
    gone = history.outdated(entries, NOW, Retention(records, days))
    over = [number for number, ended in entries if ended is not None]
    assert set(gone) <= set(over)
    if records:
        assert len(over) - len(gone) <= records


def test_the_secret_is_not_shown() -> None:
    begun = Begun(Key("a" * 32, Direction.OUT), "g", "u", "qemu+tcp://b/system", secret="hidden")
    entry = Entry(7, begun, 1.0, Step.LEFT, 2.0, "stream", "", {"memory_total": 3}, (EntryLine(1.0, Step.BEGIN3),))
    text = json.dumps(entry.as_json())
    assert "hidden" not in text
    assert entry.is_over
    assert json.loads(text)["lines"] == [{"at": 1.0, "step": "begin3", "text": ""}]


@given(st.dictionaries(st.text(), st.integers()))
def test_figures_there_and_back(figures: dict[str, int]) -> None:
    assert history.figures_from_text(history.figures_to_text(figures)) == figures


@pytest.mark.parametrize("text", ["[]", "x", '{"a": "b"}', "null"])
def test_figures_that_are_none(text: str) -> None:
    with pytest.raises(ValueError, match=r"figures|Expecting"):
        history.figures_from_text(text)
