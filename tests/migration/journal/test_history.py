"""What is kept of migrations, and for how long."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from culvert.migration.handover.machine import Step
from culvert.migration.journal import history
from culvert.migration.journal.history import Begun, Direction, Entry, EntryLine, Key


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
