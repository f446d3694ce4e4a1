"""One budget, divided: nobody gets more than wanted, nothing is left over that somebody wants."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from culvert.ground import errors
from culvert.migration.convergence.budget import Budget, shares

WANTED = st.lists(st.integers(0, 10_000), min_size=1, max_size=60)

DIVISIONS = [
    (0, [0, 5, 7], [0, 5, 7]),
    (100, [0], [100]),
    (100, [0, 0], [50, 50]),
    (100, [10, 0, 0], [10, 45, 45]),
    (100, [200, 30], [70, 30]),
    (100, [20, 30], [20, 30]),
    (3, [0, 0, 0, 0], [1, 1, 1, 1]),
]


@pytest.mark.parametrize(("budget", "wanted", "given_"), DIVISIONS)
def test_divisions(budget: int, wanted: list[int], given_: list[int]) -> None:
    assert shares(budget, wanted) == given_


@given(st.integers(100, 100_000), WANTED)
def test_a_budget_is_kept_and_used(budget: int, wanted: list[int]) -> None:
    found = shares(budget, wanted)
    assert sum(found) <= budget
    assert all(got > 0 for got in found)
    assert all(got <= want for got, want in zip(found, wanted, strict=True) if want)
    hungry = [got for got, want in zip(found, wanted, strict=True) if not want or got < want]
    if hungry:
        assert budget - sum(found) < len(wanted)  # what integers leave over
        assert max(hungry) - min(hungry) <= 1  # they are treated alike


class Member:
    """Keeps the limits it was given."""

    def __init__(self) -> None:
        self.limits: list[int] = []
        self.error: errors.RequestError | None = None

    async def apply(self, limit: int) -> None:
        if self.error is not None:
            raise self.error
        self.limits.append(limit)


async def test_whoever_comes_and_goes_changes_the_others() -> None:
    budget, first, second = Budget(100), Member(), Member()
    await budget.join("first", 0, first.apply)
    await budget.join("second", 10, second.apply)
    await budget.join("second", 0, second.apply)
    await budget.leave("first")
    await budget.leave("first")
    assert first.limits == [100, 90, 50]
    assert second.limits == [10, 50, 100]


async def test_without_a_budget_nobody_else_is_concerned() -> None:
    budget, first, second = Budget(), Member(), Member()
    await budget.join("first", 7, first.apply)
    await budget.join("second", 0, second.apply)
    await budget.leave("second")
    assert (first.limits, second.limits) == ([7], [0])


async def test_a_guest_that_is_gone_does_not_keep_others_from_their_share() -> None:
    budget, first, second = Budget(100), Member(), Member()
    await budget.join("first", 0, first.apply)
    first.error = errors.OperationFailed("QEMU is gone")
    await budget.join("second", 0, second.apply)
    assert second.limits == [50]
    second.error = errors.OperationFailed("QEMU is gone too")
    with pytest.raises(errors.OperationFailed, match="gone too"):
        await budget.join("second", 5, second.apply)
