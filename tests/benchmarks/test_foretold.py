"""How well a total was foretold."""

from __future__ import annotations

import pytest

from benchmarks import foretold
from benchmarks.foretold import Look


@pytest.mark.parametrize(
    ("looks", "wanted"),
    [
        ([], {}),
        ([Look(1, 2, 1, None)], {}),  # it never said anything
        ([Look(11, 2, 1, 5)], {}),  # too late
        # The first round does not count, the worst of the others does; the job began at 0 and took ten seconds.
        (
            [Look(1, 1, 1, 90), Look(2, 2, 2, 6), Look(4, 2, 4, 8), Look(6, 3, 6, 4)],
            {"predicted_s": 8, "actual_s": 10, "predicted_off": 0.2},
        ),
        # It has no second round: the last of the first.
        ([Look(1, 1, 1, 90), Look(2, 1, 2, 7)], {"predicted_s": 9, "actual_s": 10, "predicted_off": 0.1}),
    ],
)
def test_looks(looks: list[Look], wanted: dict[str, float]) -> None:
    assert foretold.figures(looks, completed=10) == pytest.approx(wanted)
