"""A run's results on disk and back."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import store
from benchmarks.store import Record, Results


def results(*records: Record) -> Results:
    return Results({"cores": 2}, {"qemu": "7.2"}, {"guest_mib": 64}, list(records))


def test_written_and_read_again(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    kept = results(Record("move", "idle/a", 0, {"wall_s": 1.5}), Record("move", "idle/a", 1, error="lost"))
    store.save(kept, path)
    assert store.load(path) == kept
    assert [each.name for each in tmp_path.iterdir()] == ["r.json"]


def test_the_summary_is_of_what_was_measured() -> None:
    kept = results(*(Record("move", "idle/a", repeat, {"wall_s": value}) for repeat, value in enumerate((3, 1, 2))))
    kept.add(Record("move", "idle/a", 3, error="lost"))
    found = json.loads(kept.text())["summary"]["move"]["idle/a"]["wall_s"]
    assert found == {"n": 3, "median": 2, "min": 1, "max": 3, "iqr": 1}


def test_a_failure_is_not_done_and_is_replaced() -> None:
    kept = results(Record("cut", "drop", 0, error="lost"))
    assert kept.done() == set()
    kept.add(Record("cut", "drop", 0, {"total_s": 12}))
    assert kept.done() == {("cut", "drop", 0)}
    assert kept.errors() == []
    assert len(kept.records) == 1


def test_values_follow_the_repeats() -> None:
    kept = results(Record("a", "b", 1, {"x": 20}), Record("a", "b", 0, {"x": 10}))
    assert kept.values()["a"]["b"]["x"] == [10, 20]


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"records": [{"suite": 1}], "machine": {}}'])
def test_what_is_no_result_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - json's own for what is no JSON at all
        store.parse(text)
