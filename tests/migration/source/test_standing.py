"""How the copy at the source is shown, in every state of its machine."""

from __future__ import annotations

import pytest

from culvert.migration.handover.machine_source import State
from culvert.migration.source import standing
from culvert.protocol.constants_state import PausedReason

FLOWS, BROKEN = PausedReason.POSTCOPY, PausedReason.POSTCOPY_FAILED
CASES = [
    (State.POSTCOPY, State.POSTCOPY, False, FLOWS),
    (State.POSTCOPY_FAILED, State.POSTCOPY, False, FLOWS),
    (State.POSTCOPY_FAILED, State.POSTCOPY, True, BROKEN),
    (State.UNDECIDED, State.POSTCOPY, False, BROKEN),
    (State.UNDECIDED, State.POSTCOPY_FAILED, True, BROKEN),
    (State.UNDECIDED, State.PERFORM3_DONE, False, None),
]


@pytest.mark.parametrize(("state", "reached", "lost", "shown"), CASES)
def test_from_the_switch_on(state: State, reached: State, lost: bool, shown: PausedReason | None) -> None:
    found = standing.of(state, reached, way_lost=lost)
    assert (found[0] if found is not None else None) is shown


@pytest.mark.parametrize("state", [state for state in State if state not in {case[0] for case in CASES}])
def test_elsewhere_it_is_as_it_was(state: State) -> None:
    assert standing.of(state, state, way_lost=True) is None
