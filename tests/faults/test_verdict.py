"""What both hosts say at one moment, and what it amounts to."""

from __future__ import annotations

import pytest

from faults.verdict import Seen, Sight, Standing, standing

RUNS = Seen("running", "booted", qemus=1)
ARRIVED = Seen("running", "migrated", qemus=1)
PAUSED = Seen("paused", "migrating", qemus=1)
OFF = Seen("shut off", "migrated")
NONE = Seen()
DUMB = Seen(answers=False)


def busy(seen: Seen, job: str = "job") -> Seen:
    return Seen(seen.state, seen.reason, job, seen.qemus)


@pytest.mark.parametrize(
    ("source", "destination", "expected"),
    [
        (RUNS, NONE, Standing.SOURCE),
        (OFF, ARRIVED, Standing.DESTINATION),
        (OFF, NONE, Standing.NOWHERE),
        (RUNS, ARRIVED, Standing.BOTH),
        (PAUSED, ARRIVED, Standing.HALF),
        (PAUSED, NONE, Standing.WAITS),
        (busy(PAUSED, "job: waiting for B to say"), NONE, Standing.WAITS),
        (busy(RUNS), NONE, Standing.MOVING),
        (busy(PAUSED), NONE, Standing.MOVING),
        (RUNS, busy(PAUSED), Standing.MOVING),
        (DUMB, ARRIVED, Standing.MOVING),
        (RUNS, DUMB, Standing.MOVING),
        (Seen("running", "booted"), NONE, Standing.NOWHERE),
    ],
)
def test_standing(source: Seen, destination: Seen, expected: Standing) -> None:
    assert standing(Sight(source, destination, True)) is expected


def test_nothing_is_settled_before_the_one_who_asked_has_an_answer() -> None:
    assert standing(Sight(OFF, ARRIVED, False)) is Standing.MOVING
    assert standing(Sight(RUNS, ARRIVED, False)) is Standing.BOTH


def test_a_broken_post_copy_waits() -> None:
    halves = [busy(Seen(state, "post-copy failed", qemus=1)) for state in ("paused", "running")]
    assert standing(Sight(halves[0], halves[1], True)) is Standing.WAITS
    assert standing(Sight(halves[0], OFF, True)) is Standing.HALVED
    assert standing(Sight(OFF, halves[1], True)) is Standing.HALVED
    dead = Seen("shut off", "crashed", "job: waiting for somebody: its QEMU has ended here: it is lost")
    assert standing(Sight(dead, Seen("running", "post-copy", qemus=1), True)) is Standing.HALVED
    assert standing(Sight(halves[0], ARRIVED, False)) is Standing.MOVING


def test_in_words() -> None:
    told = str(Sight(busy(PAUSED, "job: asks"), DUMB, False))
    assert told == "source: paused (migrating), 1 QEMU, job: asks; destination: no answer; virsh still waits"
