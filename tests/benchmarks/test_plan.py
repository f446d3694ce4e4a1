"""Which cells, and in which order."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import plan, suites
from benchmarks.plan import Cell


def cell(name: str, most: int = 1000) -> Cell:
    suite, _, case = name.partition("/")
    return Cell(suite, case, lambda _: {}, most=most)


CELLS = [cell(name) for name in ("move/idle/a", "move/idle/b", "move/busy/a", "rpc/a")]


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ([], ["move/idle/a", "move/idle/b", "move/busy/a", "rpc/a"]),
        (["rpc"], ["rpc/a"]),
        (["rpc", "busy"], ["move/busy/a", "rpc/a"]),
        (["move+/a"], ["move/idle/a", "move/busy/a"]),
    ],
)
def test_words_choose(words: list[str], wanted: list[str]) -> None:
    assert [each.name for each in plan.chosen(CELLS, words)] == wanted


def test_a_word_that_chooses_nothing_is_named() -> None:
    with pytest.raises(ValueError, match="'nothing'"):
        plan.chosen(CELLS, ["rpc", "nothing"])


@given(st.integers(1, 9), st.integers(0, 7))
def test_every_cell_as_often_as_wanted(count: int, repeats: int) -> None:
    cells = [cell(f"s/{number}") for number in range(count)]
    found = [(each.case, repeat) for each, repeat in plan.order(cells, repeats, ())]
    assert sorted(found) == sorted((each.case, repeat) for each in cells for repeat in range(repeats))
    assert [repeat for _, repeat in found] == sorted(repeat for _, repeat in found)  # nobody is ahead of the others


def test_what_is_done_is_left_out_and_some_are_measured_less_often() -> None:
    cells = [cell("s/a"), cell("s/b", most=1)]
    assert [(each.case, repeat) for each, repeat in plan.order(cells, 2, {("s", "a", 0)})] == [("b", 0), ("a", 1)]


def test_repeats_begin_with_different_cells() -> None:
    firsts: dict[int, str] = {}
    for each, repeat in plan.order(CELLS, 4, ()):
        firsts.setdefault(repeat, each.name)
    assert len(set(firsts.values())) == 4


def test_all_that_there_is_has_a_name_of_its_own() -> None:
    names = [each.name for each in suites.cells()]
    assert len(set(names)) == len(names)
    assert "move/incompressible/qemu-tcp" in names
