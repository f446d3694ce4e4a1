"""The worst case: what is measured, what the bars make of it, and the page."""

from __future__ import annotations

import math
import re
from itertools import pairwise

import pytest

from benchmarks import bars, modes, plan, recovery, worst_bars, worst_report, worst_suites
from benchmarks.bars import Medians, Verdict
from benchmarks.links import LINKS, Link
from benchmarks.plans import PLANS
from benchmarks.store import Record, Results
from benchmarks.workloads import Workload

AUTO, BLACKOUT, POST_COPY, FORETOLD, CUTS = (bar.name for bar in worst_bars.BARS)
ARRIVED = {"arrived": 1.0, "wall_s": 3.0, "blackout_ms": 100.0, "predicted_off": 0.1}
LOST = {"arrived": 0.0}


def everything(**others: dict[str, float] | None) -> Results:
    """A run in which all that is there arrives, but for ``others``: MODE (with underscores) → what became of it in
    every cell; ``None`` failed."""
    records = []
    for cell in worst_suites.cells():
        figures: dict[str, float] | None = {"cuts": float(recovery.CUTS)}
        if cell.suite == "worst":
            figures = others.get(cell.case.rpartition("/")[2].replace("-", "_"), ARRIVED)
        records.append(Record(cell.suite, cell.case, 0, figures or {}, "" if figures else "refused"))
    return Results(records=records)


def judged(results: Results) -> dict[str, Verdict]:
    medians = Medians(results.summary(), results.errors())
    return {each.bar.name: each for each in bars.judge(medians, worst_bars.BARS)}


def test_every_guest_meets_every_link_by_every_mode() -> None:
    names = [cell.name for cell in worst_suites.cells()]
    assert len(set(names)) == len(names) == 3 * 5 * 6 + len(recovery.ROUTES)


def test_a_small_part_is_a_part() -> None:
    for each in PLANS.values():
        cells = each.cells()
        assert 0 < len(plan.chosen(cells, each.brief)) < len(cells)


@pytest.mark.parametrize("link", LINKS, ids=lambda link: link.name)
@pytest.mark.parametrize("rate", modes.RATES, ids=lambda rate: rate.name)
def test_a_guest_that_writes_has_more_to_write_than_passes_within_the_limit(link: Link, rate: Workload) -> None:
    parameters = rate.parameters(round(worst_suites.DEFAULT_MIB * link.share))
    assert parameters.sector()
    if rate.dirty_mib_s and link.mbit <= 1000:
        assert parameters.dirty_mib * 8.4 > link.mbit * 0.3


def test_all_reached_when_all_arrive() -> None:
    assert {each.reached for each in judged(everything()).values()} == {True}


def test_nothing_measured_is_nothing_reached() -> None:
    assert {each.reached for each in judged(Results()).values()} == {None}


@pytest.mark.parametrize("became", [LOST, None])
def test_auto_has_to_arrive(became: dict[str, float] | None) -> None:
    found = judged(everything(culvert_auto=became))
    assert (found[AUTO].value, found[AUTO].reached) == (15, False)
    assert found[BLACKOUT].value == math.inf
    assert found[POST_COPY].reached


def test_autos_blackout_is_compared_with_the_best_that_arrives() -> None:
    found = judged(
        everything(
            culvert_auto={**ARRIVED, "blackout_ms": 160},
            culvert_post_copy={**LOST, "blackout_ms": 1},
            libvirt_native=None,
        )
    )
    assert (found[BLACKOUT].value, found[BLACKOUT].reached) == (1.6, False)
    assert found[POST_COPY].value == math.inf


def test_a_move_without_a_word_about_its_length_was_not_foretold() -> None:
    silent = {name: value for name, value in ARRIVED.items() if name != "predicted_off"}
    found = judged(everything(culvert_auto=silent))
    assert found[FORETOLD].value == 0.75
    off = judged(everything(culvert_auto={**ARRIVED, "predicted_off": 0.26}))
    assert off[FORETOLD].value == 0.75
    # One that does not arrive says nothing about it.
    assert judged(everything(culvert_auto=LOST))[FORETOLD].value == 1


def test_a_route_that_loses_the_guest_has_survived_no_cut() -> None:
    results = everything()
    results.add(Record("recovery", "pump", 0, error="lost"))
    assert (judged(results)[CUTS].value, judged(results)[CUTS].reached) == (0, False)


def test_the_page_tells_who_arrives() -> None:
    files = worst_report.write(everything(culvert_auto=None, libvirt_native=LOST), "worst-case")
    page = files[worst_report.PAGE]
    row = next(line for line in page.splitlines() if line.startswith("| 1g dirty-max |"))
    assert (
        row == "| 1g dirty-max | 3.00 s / 100 ms | 3.00 s / 100 ms | 3.00 s / 100 ms | failed | 3.00 s / 100 ms | — |"
    )
    named = set(re.findall(r"!\[[^]]*\]\(([^)]*)\)", page))
    assert named == set(files) - {worst_report.PAGE}
    assert worst_report.ABSENT in files["worst-case-1g-blackout-ms.svg"]
    rows = [line for line in page.splitlines() if line.startswith("|")]
    for one, two in pairwise(rows):
        if two.startswith("| ---"):
            assert one.count("|") == two.count("|")


def test_nothing_measured_is_a_page_too() -> None:
    assert "not measured" in worst_report.write(Results(), "worst-case")[worst_report.PAGE]
