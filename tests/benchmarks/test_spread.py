"""Medians and their company."""

from __future__ import annotations

from itertools import pairwise
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import spread

VALUES = st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=50)


@given(VALUES)
def test_the_parts_are_in_order(values: list[float]) -> None:
    found = spread.of(values)
    assert found.count == len(values)
    assert found.least == min(values)
    assert found.most == max(values)
    parts = [found.least, found.quartiles[0], found.median, found.quartiles[1], found.most]
    assert all(one <= two or one == pytest.approx(two) for one, two in pairwise(parts))


@given(VALUES, st.randoms(use_true_random=False))
def test_the_order_of_the_values_does_not_count(values: list[float], random: Random) -> None:
    mixed = values.copy()
    random.shuffle(mixed)
    assert spread.of(mixed) == spread.of(values)


def test_five_values() -> None:
    found = spread.of([5, 1, 4, 2, 3])
    assert (found.median, found.quartiles, found.iqr) == (3, (2, 4), 2)
    assert found.as_dict() == {"n": 5, "median": 3, "min": 1, "max": 5, "iqr": 2}


@pytest.mark.parametrize(("share", "wanted"), [(0, 1), (0.5, 51), (0.99, 100), (1, 100)])
def test_percentiles_of_a_hundred(share: float, wanted: int) -> None:
    assert spread.percentile(range(100, 0, -1), share) == wanted


def test_nothing_has_no_spread() -> None:
    for of_nothing in (lambda: spread.of([]), lambda: spread.percentile([], 0.5)):
        with pytest.raises(ValueError, match="no values"):
            of_nothing()
