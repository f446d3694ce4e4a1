"""The worst case for people: who arrived, then everything by link, with pictures. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from benchmarks import bars, modes, worst_bars
from benchmarks.bars import Medians
from benchmarks.links import LINKS
from benchmarks.report import Column, MiB, bars_table, errors_table, machine_table, section, table
from benchmarks.spread import Spread
from benchmarks.store import Results, Summary
from benchmarks.svg import number

PAGE = "worst-case.md"
ABSENT = "did not arrive"
COLUMNS = (
    Column("arrived", "arrived", ""),
    Column("wall_s", "wall time", "s", picture=True, absent=ABSENT),
    Column("total_s", "QEMU's total", "s"),
    Column("blackout_ms", "blackout", "ms", picture=True, absent=ABSENT),
    Column("longest_silence_ms", "longest silence", "ms"),
    Column("downtime_ms", "QEMU's downtime", "ms"),
    Column("work_lost_s", "guest's work lost", "s", picture=True),
    Column("work_during_share", "work meanwhile", "%", 0.01),
    Column("work_after_share", "work afterwards", "%", 0.01),
    Column("dirtied_before_mib_s", "dirtied before", "MiB/s"),
    Column("dirtied_during_mib_s", "dirtied meanwhile", "MiB/s"),
    Column("rounds", "rounds", ""),
    Column("wire_bytes", "on the wire", "MiB", MiB),
    Column("daemon_cpu_s", "daemons' CPU", "s"),
    Column("qemu_cpu_s", "QEMUs' CPU", "s"),
    Column("predicted_s", "foretold", "s"),
    Column("actual_s", "it took", "s"),
    Column("predicted_off", "worst error", "%", 0.01),
)
RECOVERY = (
    Column("cuts", "cuts", ""),
    Column("paused", "QEMU paused", "times"),
    Column("wall_s", "whole move", "s"),
    Column("longest_silence_ms", "longest silence", "ms"),
)


def write(results: Results, stem: str) -> dict[str, str]:
    """The files of the report: name → text; pictures are named ``STEM-….svg``."""
    summary = results.summary()
    medians = Medians(summary, results.errors())
    files: dict[str, str] = {}
    lines = [
        "# The worst case",
        "",
        "Made by `make worst-case`; what is measured and how: [docs/benchmarks.md](../../docs/benchmarks.md).",
        "",
        *machine_table(results, summary),
        *bars_table(bars.judge(medians, worst_bars.BARS)),
        *_overview(medians),
    ]
    for link in LINKS:
        prefix = f"{link.name}/"
        cases = {
            _label(case.removeprefix(prefix)): figures
            for case, figures in _in_order(summary)
            if case.startswith(prefix)
        }
        if cases:
            lines += section(f"Over {link.what}", f"{stem}-{link.name}", cases, COLUMNS, files)
    if "recovery" in summary:
        title = "Post-copy, cut again and again"
        lines += section(title, f"{stem}-recovery", summary["recovery"], RECOVERY, files)
    lines += errors_table(results)
    return {PAGE: "\n".join(lines) + "\n", **files}


def _in_order(summary: Summary) -> list[tuple[str, Mapping[str, Spread]]]:
    """The grid's cells, in the grid's order whatever they were measured in."""
    found = summary.get("worst", {})
    wanted = [
        f"{link.name}/{rate.name}/{mode.name}" for link in LINKS for rate in modes.RATES for mode in modes.MODES
    ]
    return [(case, found[case]) for case in wanted if case in found]


def _label(case: str) -> str:
    """The mode first: colours go by it."""
    rate, _, mode = case.partition("/")
    return f"{mode} {rate.removeprefix('dirty-')}"


def _overview(medians: Medians) -> list[str]:
    """A row for each guest over each link: total and blackout of whoever got it there."""
    rows = []
    for link in LINKS:
        for rate in modes.RATES:
            words = [_word(medians, f"{link.name}/{rate.name}/{mode.name}") for mode in modes.MODES]
            if any(words):
                rows.append([f"{link.name} {rate.name}", *words])
    head: Sequence[str] = ["", *(mode.name for mode in modes.MODES)]
    text = "Wall time / blackout as seen from outside; what was given up after ten times an idle guest's time is —."
    names = [[mode.name, mode.what] for mode in modes.MODES]
    return ["## Who arrives", "", text, "", *table(head, rows), "", *table(["mode", "what"], names), ""]


def _word(medians: Medians, case: str) -> str:
    if medians.failed("worst", case):
        return "failed"
    if not medians.has("worst", case):
        return ""
    if not worst_bars.arrived(medians, case):
        return "—"
    wall, blackout = (medians.of("worst", case, figure) for figure in ("wall_s", "blackout_ms"))
    return f"{number(wall)} s / {number(blackout)} ms"
