"""What can be run: the cells of ``make bench``, and those of ``make worst-case``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from benchmarks import report, suites, worst_report, worst_suites
from benchmarks.plan import Cell
from benchmarks.store import Results
from benchmarks.workloads import DEFAULT_MIB


@dataclass(frozen=True, slots=True)
class Plan:
    """``output``: the stem of the JSON and of the pictures' names. ``write``: results and that stem → the report's
    files, ``page`` among them. ``memory_mib``, ``repeats``: unless others are wanted. ``brief``: the words that
    ``--brief`` stands for."""

    name: str
    cells: Callable[[], list[Cell]]
    write: Callable[[Results, str], dict[str, str]]
    page: str
    output: str
    memory_mib: int
    repeats: int
    brief: tuple[str, ...]


PLANS = {
    plan.name: plan
    for plan in (
        Plan("bench", suites.cells, report.write, report.PAGE, "results", DEFAULT_MIB, 5, ("brief/",)),
        Plan(
            "worst-case",
            worst_suites.cells,
            worst_report.write,
            worst_report.PAGE,
            "worst-case",
            worst_suites.DEFAULT_MIB,
            1,
            worst_suites.BRIEF,
        ),
    )
}
