"""The matrix is what it says: every boundary, every fault, every way, and nothing may come of it that must not."""

from __future__ import annotations

import pytest

from faults import injuries, plan
from faults.plan import Who, Word

CELLS = list(plan.cells())
BY_NAME = {cell.name: cell for cell in CELLS}


def test_every_way_boundary_and_fault_is_in_it() -> None:
    for table, member in ((plan.BOUNDARIES, "boundary"), (plan.FAULTS, "fault"), (plan.WAYS, "way")):
        served = {getattr(cell, member).key for cell in CELLS}
        assert {each.key for each in table} - served <= {"held", "postcopy-source", "postcopy-destination"}


def test_names_are_names() -> None:
    assert len(BY_NAME) == len(CELLS)


def test_every_fault_can_be_inflicted() -> None:
    assert injuries.INJURIES.keys() == {fault.key for fault in plan.FAULTS}


def test_the_fast_ones_are_cells_of_culvert() -> None:
    assert all(BY_NAME[name].who is Who.CULVERT for name in plan.FAST)
    assert len(set(plan.FAST)) == len(plan.FAST)


def test_what_is_lost_by_nobody_s_qemu_may_not_be_lost() -> None:
    for cell in CELLS:
        assert not cell.allowed & {Word.TWICE, Word.LOST, Word.STRAY, Word.STUCK, Word.WAITS}
        if not cell.fault.key.endswith("-qemu"):
            assert Word.LOST_TOLD not in cell.allowed, cell.name


@pytest.mark.parametrize(
    ("words", "count"),
    [
        (["culvert/p2p/cont/cut"], 1),
        (["p2p/cont/cut"], 1),
        (["p2p/cut", "client/cut"], None),
        (["libvirt/postcopy/postcopy/cut"], 1),
    ],
)
def test_chosen_by_parts_of_their_names(words: list[str], count: int | None) -> None:
    found = plan.chosen(CELLS, words)
    assert found
    assert count is None or len(found) == count
    assert all(any(part in cell.name for part in words[0].split("/")) for cell in found)


def test_without_a_word_all_are_chosen() -> None:
    assert plan.chosen(CELLS, []) == CELLS


def test_a_word_that_names_none() -> None:
    with pytest.raises(ValueError, match="pigeon"):
        plan.chosen(CELLS, ["p2p", "p2p/pigeon"])
