"""What is read out of a guest's lines."""

from __future__ import annotations

import math

import pytest

from benchmarks.move import silence_around
from benchmarks.workloads import WORKLOADS, Workload
from guests.report import Report


def lines(*arrivals: float) -> list[Report]:
    return [Report(at, number, 0, 0, 0, 0) for number, at in enumerate(arrivals)]


@pytest.mark.parametrize(
    ("arrivals", "wanted"),
    [
        ((0, 1.0, 1.5, 1.6), 0.5),  # the pause itself
        ((0, 1.0, 1.01, 1.5, 3.0), 0.49),  # printed before the stop, read after it; a later pause does not count
        ((0, 0.5, 1.8), 1.3),
    ],
)
def test_the_silence_is_that_around_the_hand_over(arrivals: tuple[float, ...], wanted: float) -> None:
    assert silence_around(lines(*arrivals), resume=1.3) == pytest.approx(wanted)


def test_a_guest_that_says_nothing_afterwards_has_no_blackout() -> None:
    assert math.isnan(silence_around(lines(0, 1), resume=1.3))


@pytest.mark.parametrize("workload", WORKLOADS, ids=lambda each: each.name)
@pytest.mark.parametrize("memory_mib", [64, 256, 1600])
def test_every_workload_fits_any_size(workload: Workload, memory_mib: int) -> None:
    parameters = workload.parameters(memory_mib)
    assert 1 <= parameters.mib <= memory_mib
    assert parameters.sector()
