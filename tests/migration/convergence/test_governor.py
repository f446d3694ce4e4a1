"""A limit is kept although QEMU stays below what it is told; and nothing is made up for that nobody missed."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from culvert.ground.units import MiB
from culvert.migration.convergence.governor import INTERVAL, Governor

LIMITS = st.integers(1 * MiB, 2000 * MiB)


class Qemu:
    """Sends a part of what it is told, with some noise; ``most`` is what the road takes."""

    def __init__(self, seed: int, loss: float, most: float = float("inf")) -> None:
        self._noise = random.Random(seed)
        self._loss = loss
        self.most = most
        self.sent = 0

    def run(self, seconds: float, told: int) -> None:
        rate = told * (1 - self._loss) * self._noise.uniform(0.98, 1.02)
        self.sent += int(min(rate, self.most) * seconds)


def drive(governor: Governor, qemu: Qemu, start: float, seconds: float, told: int) -> int:
    """What QEMU is told after so much time."""
    for step in range(int(seconds / INTERVAL)):
        told = governor.look(start + step * INTERVAL, qemu.sent)
        qemu.run(INTERVAL, told)
    return told


@given(LIMITS, LIMITS, st.floats(-0.02, 0.09), st.integers(0, 1000))
def test_five_seconds_after_any_change_are_within_three_percent(
    first: int, second: int, loss: float, seed: int
) -> None:
    governor, qemu = Governor(), Qemu(seed, loss)
    told = drive(governor, qemu, 0.0, 5.0, governor.change(first))
    for start, limit in ((5.0, first), (10.0, second), (15.0, second)):
        if limit != governor.limit:
            told = governor.change(limit)
        before = qemu.sent
        told = drive(governor, qemu, start, 5.0, told)
        assert abs((qemu.sent - before) / 5.0 / limit - 1) < 0.03


@given(LIMITS, st.integers(0, 1000))
def test_a_closed_road_is_not_made_up_for(limit: int, seed: int) -> None:
    governor, qemu = Governor(), Qemu(seed, 0.04)
    told = drive(governor, qemu, 0.0, 5.0, governor.change(limit))
    qemu.most = 0.0
    told = drive(governor, qemu, 5.0, 20.0, told)
    assert told <= limit * 1.15 + 1
    qemu.most = float("inf")
    before = qemu.sent
    drive(governor, qemu, 25.0, 5.0, told)
    assert (qemu.sent - before) / 5.0 <= limit * 1.15


def test_without_a_limit_nothing_is_limited() -> None:
    governor = Governor()
    assert governor.change(0) == 0
    assert governor.look(1.0, 10**9) == 0
    assert governor.look(2.0, 10**10) == 0
