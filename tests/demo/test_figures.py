"""What the demonstration prints."""

from __future__ import annotations

import json

from demo import figures

TRIP = figures.Trip("virsh", "a", "b", 1.5, 40.0, 512 << 20, 0.25)


def test_the_last_line_has_the_same_figures() -> None:
    outcome = figures.Outcome([TRIP, figures.Trip("culvert", "b", "a", 0.5, 90.0, 512 << 20, 0.75)], 1, 99, 4, 1024)
    said = json.loads(outcome.json())
    assert said["result"] == "completed"
    assert (said["total_seconds"], said["downtime_ms"], said["bytes"]) == (2.0, 90.0, 1 << 30)
    assert said["daemon_cpu_seconds_per_gib"] == 1.0
    assert [trip["client"] for trip in said["trips"]] == ["virsh", "culvert"]
    assert "\n" not in outcome.json()
    for words in ("2.00 s", "90 ms", "1024.0 MiB", "1.00 daemon CPU seconds per GiB", "1 to 99"):
        assert words in outcome.text()


def test_nothing_sent_divides_by_nothing() -> None:
    outcome = figures.Outcome([figures.Trip("virsh", "a", "b", 1, 1, 0, 1)], 1, 2, 1, 1)
    assert outcome.cpu_seconds_per_gib == 0


def test_bytes_from_virsh() -> None:
    assert figures.data_processed("  operation: 5\n  memory_processed: 7\n  data_processed: 42\n") == 42
    assert figures.data_processed("  memory_processed: 7\n") == 7
    assert figures.data_processed("error: nothing\n\n") is None


def test_failure_is_one_object() -> None:
    assert json.loads(figures.failure('a "b"')) == {"result": "failed", "error": 'a "b"'}
