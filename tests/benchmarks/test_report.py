"""The page that a person looks at."""

from __future__ import annotations

import re
from itertools import pairwise

from benchmarks import bars, report
from benchmarks.store import Record, Results


def results() -> Results:
    records = [
        Record("move", f"incompressible/{mover}", repeat, {"wall_s": wall + repeat, "peak_source_bytes": 64 << 20})
        for repeat in range(3)
        for mover, wall in (("qemu-tcp", 10), ("culvert-direct", 10.1))
    ]
    records.append(Record("rpc", "get-lib-version/blocking/culvert", 0, {"calls_per_s": 12345, "p50_us": 80.0}))
    records.append(Record("move", "zeros/ssh", 0, error="no way\n| through"))
    return Results({"cores": 2}, {"qemu": "7.2.22"}, {"guest_mib": 1600}, records)


def test_every_picture_that_is_named_is_there() -> None:
    files = report.write(results())
    named = set(re.findall(r"!\[[^]]*\]\(([^)]*)\)", files[report.PAGE]))
    assert named == set(files) - {report.PAGE}
    assert "results-incompressible-wall-s.svg" in named


def test_tables_are_whole_and_in_units() -> None:
    page = report.write(results())[report.PAGE]
    assert "| culvert-direct | 11.1 (10.1–12.1) | 64.0 |" in page
    assert "| get-lib-version/blocking/culvert | 12,345 | 80.0 |" in page
    assert "| move/zeros/ssh | 1 | no way / through |" in page
    rows = [line for line in page.splitlines() if line.startswith("|")]
    for one, two in pairwise(rows):
        if two.startswith("| ---"):
            assert one.count("|") == two.count("|")


def test_all_bars_are_listed_with_what_became_of_them() -> None:
    page = report.write(results())[report.PAGE]
    assert all(f"| {bar.name} | {bar.text} |" in page for bar in bars.BARS)
    assert "| 1.01 | reached |" in page
    assert "not measured" in page


def test_nothing_measured_is_a_page_too() -> None:
    page = report.write(Results())[report.PAGE]
    assert "repeats | none" in page
