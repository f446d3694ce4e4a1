"""The cells of the fault matrix that bite most, with real daemons; `make faults` does all of them."""

from __future__ import annotations

import os

import pytest

from faults import experiment, plan

CELLS = plan.chosen(plan.cells(), plan.FAST)


@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: cell.name)
def test_cell(cell: plan.Cell) -> None:
    if cell.fault.root and os.geteuid() != 0:
        pytest.skip("a disk that is full needs a file system of its own, and that needs root")
    outcome = experiment.run(cell)
    assert outcome.ok, outcome
