"""Progress, in words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from culvert.cli import progress
from culvert.client import Progress
from culvert.ground.units import GiB, MiB

FULL = Progress(
    phase="perform",
    percent=75.0,
    rate=100 * MiB,
    dirty_rate=20 * MiB,
    total=512 * MiB,
    transferred=384 * MiB,
    remaining=128 * MiB,
    remaining_seconds=1.6,
    expected_downtime_ms=280,
    iteration=3,
    elapsed_seconds=4.2,
)


def test_as_text() -> None:
    assert progress.as_text(FULL) == (
        "perform, 75 %, 100 MiB/s, dirty 20.0 MiB/s, remaining 128 MiB (1.6 s), expected downtime 280 ms"
    )


def test_what_is_not_known_is_not_told() -> None:
    assert progress.as_text(Progress()) == "migrating"
    assert progress.summary(Progress()) == ""
    assert progress.as_text(Progress(remaining=10)) == "migrating, remaining 10 B"


def test_summary_of_a_completed_job() -> None:
    found = Progress(elapsed_seconds=65.0, downtime_ms=43, transferred=3 * GiB, iteration=4)
    assert progress.summary(found) == "total time 1 min 5 s, downtime 43 ms, transferred 3.0 GiB, 4 iterations"


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (150 * MiB, "150 MiB"),
        (GiB - 1, "1024 MiB"),
        (GiB, "1.0 GiB"),
    ],
)
def test_size(count: int, text: str) -> None:
    assert progress.size(count) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [(0.04, "0.0 s"), (9.94, "9.9 s"), (12.3, "12 s"), (61, "1 min 1 s"), (3700, "1 h 1 min")],
)
def test_seconds(count: float, text: str) -> None:
    assert progress.seconds(count) == text


counts = st.none() | st.integers(0, 2**64 - 1)
times = st.none() | st.floats(0, 2**64)


anything = st.builds(Progress, rate=counts, dirty_rate=counts, remaining=counts, remaining_seconds=times)


@given(anything)
def test_whatever_the_numbers_it_can_be_shown(found: Progress) -> None:
    assert progress.as_text(found).startswith("migrating")
