"""The table of phases: what may follow what, and that nothing else may."""

from __future__ import annotations

import itertools

import pytest

from culvert.migration.phases import STEPS, SUCCESSORS, Phase, PhaseError, advance


def test_every_phase_has_a_row() -> None:
    assert set(SUCCESSORS) == set(Phase)


@pytest.mark.parametrize(("now", "following"), list(itertools.product(Phase, Phase)))
def test_advance_follows_the_table_and_only_the_table(now: Phase, following: Phase) -> None:
    if following in SUCCESSORS[now]:
        assert advance(now, following) is following
    else:
        with pytest.raises(PhaseError, match=following.value):
            advance(now, following)


def test_no_phase_comes_back() -> None:
    """Going backwards would mean that a guest is owned twice."""

    def reachable(phase: Phase) -> set[Phase]:
        found: set[Phase] = set()
        todo = [phase]
        while todo:
            for following in SUCCESSORS[todo.pop()] - found:
                found.add(following)
                todo.append(following)
        return found

    assert all(phase not in reachable(phase) for phase in Phase)
    assert reachable(Phase.PREPARE) == {Phase.FINISH3}


def test_every_phase_is_part_of_a_step() -> None:
    assert set(STEPS) == set(Phase)
    assert set(STEPS.values()) == {"begin", "prepare", "perform", "finish", "confirm"}
