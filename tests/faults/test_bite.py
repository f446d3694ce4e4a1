"""The matrix finds what it is there for: daemons with a defect that one might well have written come out badly."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from faults import experiment, plan
from faults.plan import Word

# Each changes a machine's table before anything else of the daemon is imported (site's own module `sitecustomize`).
RESUMES_ON_A_LOST_ANSWER = """
from culvert.migration.handover import machine_source as side
from culvert.migration.handover.machine import Do, Next, Step, Write

def table(peer=side.PeerKind.CULVERT, whole=side.table):
    goes_on = Next(side.State.CONFIRM3_CANCELLED, (Write(Step.CONFIRM3_CANCELLED), Do.RESUME))
    return {**whole(peer), **{(side.State.PERFORM3_DONE, side.Event[name]): goes_on for name in ("CUT", "NO")}}

side.table = table
"""
LEAVES_ITS_QEMU = """
from culvert.migration.handover import machine_destination as side
from culvert.migration.handover.machine import Do, Next

def table(whole=side.table):
    return {
        key: Next(row.state, tuple(command for command in row.commands if command is not Do.KILL))
        for key, row in whole().items()
    }

side.table = table
"""


@pytest.mark.parametrize(
    ("defect", "name", "word"),
    [
        pytest.param(RESUMES_ON_A_LOST_ANSWER, "culvert/p2p/finish-reply/cut", Word.TWICE, id="resumes"),
        pytest.param(LEAVES_ITS_QEMU, "culvert/p2p/finish-call/cut", Word.STRAY, id="leaves"),
    ],
)
def test_defect(defect: str, name: str, word: Word, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sitecustomize.py").write_text(defect, encoding="utf-8")
    path = [str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path))
    (cell,) = plan.chosen(plan.cells(), [name])
    outcome = experiment.run(cell)
    assert outcome.word is word, outcome
    assert not outcome.ok
