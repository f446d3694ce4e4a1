"""What the bars make of medians."""

from __future__ import annotations

import math

import pytest

from benchmarks import bars, suites
from benchmarks.bars import Medians
from benchmarks.store import Record, Results


def judged(figures: dict[str, dict[str, float]], failed: tuple[str, ...] = ()) -> dict[str, bars.Verdict]:
    """Verdicts by name, of a run of one repeat: SUITE/CASE → figure → value."""
    records = []
    for name, values in figures.items():
        suite, _, case = name.partition("/")
        records.append(Record(suite, case, 0, values))
    for name in failed:
        suite, _, case = name.partition("/")
        records.append(Record(suite, case, 1, error="lost"))
    results = Results(records=records)
    return {each.bar.name: each for each in bars.judge(Medians(results.summary(), results.errors()))}


def test_nothing_measured_is_nothing_reached() -> None:
    assert {each.reached for each in judged({}).values()} == {None}


def test_a_ratio_of_wall_times() -> None:
    name = "direct route, clear-text: wall time / QEMU to QEMU by plain TCP"
    for culvert, wanted in ((10.2, True), (10.4, False)):
        verdict = judged(
            {
                "move/incompressible/culvert-direct": {"wall_s": culvert},
                "move/incompressible/qemu-tcp": {"wall_s": 10},
            }
        )[name]
        assert verdict.value == pytest.approx(culvert / 10)
        assert verdict.reached is wanted


def test_the_cost_of_a_gib_more_is_a_slope() -> None:
    verdict = judged(
        {
            "move/incompressible/culvert-direct": {"daemon_cpu_s": 0.07, "sent_bytes": 2 << 30},
            "move/brief/culvert-direct": {"daemon_cpu_s": 0.05, "sent_bytes": 1 << 30},
        }
    )["the same, per GiB more (a move's fixed cost left out)"]
    assert verdict.value == pytest.approx(0.02)


def test_a_cut_counts_what_is_beyond_the_cut() -> None:
    totals: dict[str, dict[str, float]] = {
        "cut/uncut": {"total_s": 6},
        "cut/drop": {"total_s": 17.5},
        "cut/reset": {"total_s": 18.5},
    }
    found = judged(totals)
    drop, reset = (each for name, each in found.items() if name.startswith("10 s"))
    assert (drop.value, drop.reached) == (1.5, True)
    assert (reset.value, reset.reached) == (2.5, False)


def test_a_cut_that_was_not_survived_once_is_not_reached() -> None:
    found = judged({"cut/uncut": {"total_s": 6}, "cut/drop": {"total_s": 16}}, failed=("cut/drop",))
    drop = next(each for name, each in found.items() if "packets lost" in name)
    assert drop.value == math.inf
    assert drop.reached is False


def test_more_calls_are_better() -> None:
    for calls, wanted in ((6900, False), (7000, True), (20000, True)):
        found = judged(
            {
                "rpc/get-lib-version/blocking/culvert": {"calls_per_s": calls},
                "rpc/get-lib-version/blocking/libvirt": {"calls_per_s": 10000},
            }
        )
        assert found["calls per second / libvirtd, one at a time"].reached is wanted


def test_every_bar_can_be_measured() -> None:
    """With every cell of every suite measured no bar is without a value: a misspelt case would be."""
    everything = dict.fromkeys(
        (
            *("wall_s", "total_s", "daemon_cpu_s", "daemon_cpu_s_per_gib", "blackout_ms", "calls_per_s", "p99_us"),
            "sent_bytes",
        ),
        1.0,
    )
    cells = {each.name: dict(everything) for each in suites.cells()}
    for name, figures in cells.items():
        figures["sent_bytes"] = 1.0 if "/brief/" in name else 2.0
    assert [name for name, each in judged(cells).items() if each.value is None] == []
