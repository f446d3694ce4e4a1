"""When a migration stands still."""

from __future__ import annotations

import pytest

from culvert.migration.source.stall import LOOKS, Stall


@pytest.mark.parametrize(
    ("moved", "looks"),
    [
        ([0] * 20, LOOKS + 1),
        ([5] * 20, LOOKS + 1),
        ([0, 1, *[2] * 20], LOOKS + 3),
        ([*[0] * LOOKS, 1, *[1] * 20], 2 * LOOKS + 1),
        (list(range(100)), None),
        ([number // (LOOKS - 1) for number in range(100)], None),
    ],
)
def test_it_is_told_soon_after_the_last_byte(moved: list[int], looks: int | None) -> None:
    """Not only when a whole such time has passed without any, which is up to twice as long."""
    stall = Stall(16.0)
    told = next((place for place, bytes_ in enumerate(moved, 1) if stall.look(bytes_)), None)
    assert told == looks
    assert stall.pause * LOOKS == 16.0
