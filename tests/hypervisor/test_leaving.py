"""A state that one way out is closed to is closed to all of them."""

from __future__ import annotations

import inspect

import pytest

from culvert.drivers.qemu import save
from culvert.ground import errors
from culvert.hypervisor import leaving
from culvert.migration.options import preflight
from culvert.migration.source import sending
from culvert.protocol.constants_state import DomainState

OPEN = {DomainState.RUNNING, DomainState.BLOCKED, DomainState.PAUSED}

WAYS_OUT = (save._save, preflight.check, sending.Sending.run)


@pytest.mark.parametrize("state", DomainState)
def test_every_state_has_a_verdict(state: DomainState) -> None:
    assert state in leaving.CAN_LEAVE
    refused = leaving.refusal("move", "g", state)
    assert (refused is None) is (state in OPEN)
    if refused is not None:
        assert refused.message == f"cannot move domain 'g' in state {state.name}: {leaving.CAN_LEAVE[state]}"
        with pytest.raises(errors.OperationInvalid):
            leaving.check("move", "g", state)


@pytest.mark.parametrize("way", WAYS_OUT, ids=lambda way: way.__name__)
def test_every_way_out_asks_the_one_table(way: object) -> None:
    source = inspect.getsource(way)  # type: ignore[arg-type]
    assert "leaving.check(" in source
    assert "DomainState.PMSUSPENDED" not in source


def test_what_ends_with_a_connection_here_does_not_go_elsewhere() -> None:
    leaving.check_bound("migrate", "g", {"migration.speed": "1"})
    with pytest.raises(errors.OperationInvalid, match="cannot migrate domain 'g': domain is marked for auto destroy"):
        leaving.check_bound("migrate", "g", {leaving.BOUND: "1"})
