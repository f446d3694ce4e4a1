"""A run's results for people: a Markdown page with its pictures. Pure: results in, texts by file name out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from benchmarks import bars, svg
from benchmarks.bars import Medians, Verdict
from benchmarks.spread import Spread
from benchmarks.store import Results, Summary
from benchmarks.svg import number

MiB = 1 << 20
PAGE = "report.md"


@dataclass(frozen=True, slots=True)
class Column:
    """A figure as a reader wants it: its value divided by ``per``. ``absent``: what its picture says of a case that
    has none; without such words that case is left out."""

    figure: str
    title: str
    unit: str
    per: float = 1.0
    picture: bool = False
    absent: str = ""

    def spread(self, figures: Mapping[str, Spread]) -> Spread | None:
        """In the column's unit; ``None`` where it was not measured."""
        found = figures.get(self.figure)
        if found is None:
            return None
        first, third = found.quartiles
        scaled = (found.median / self.per, found.least / self.per, found.most / self.per)
        return Spread(found.count, *scaled, (first / self.per, third / self.per))


MOVE = (
    Column("wall_s", "wall time", "s", picture=True),
    Column("total_s", "QEMU's total", "s"),
    Column("downtime_ms", "QEMU's downtime", "ms"),
    Column("blackout_ms", "blackout", "ms", picture=True),
    Column("sent_bytes", "QEMU sent", "MiB", MiB),
    Column("wire_bytes", "on the wire", "MiB", MiB),
    Column("daemon_cpu_s_per_gib", "daemons' CPU per GiB", "s", picture=True),
    Column("qemu_cpu_s_per_gib", "QEMUs' CPU per GiB", "s"),
    Column("peak_source_bytes", "daemon's peak, source", "MiB", MiB),
    Column("peak_destination_bytes", "daemon's peak, destination", "MiB", MiB),
    Column("dirty_mib_s", "dirtied", "MiB/s"),
    Column("rounds", "rounds", ""),
)
LATENCY = (
    Column("p50_us", "p50", "µs"),
    Column("p99_us", "p99", "µs"),
    Column("longest_us", "longest", "µs"),
)
SUITES: dict[str, tuple[str, tuple[Column, ...]]] = {
    "cut": (
        "Ten seconds without a road, pump route",
        (Column("total_s", "QEMU's total", "s"), *MOVE[2:4], *MOVE[5:7]),
    ),
    "asked": ("A domain's state asked for every 5 ms while it moves", (Column("wall_s", "wall time", "s"), *LATENCY)),
    "fifty": (
        "Fifty guests of 8 MiB at once",
        (
            Column("all_wall_s", "all of them", "s"),
            Column("arrived", "arrived", ""),
            Column("daemon_cpu_s", "daemons' CPU", "s"),
            *MOVE[8:10],
            Column("longest_silence_ms", "silence of a guest", "ms"),
            *LATENCY,
        ),
    ),
    "ten": (
        "Ten guests of 8 MiB at once by TLS, both daemons asked every 5 ms",
        (
            Column("all_wall_s", "all of them", "s"),
            Column("idle_p50_us", "state before, p50", "µs"),
            Column("p50_us", "state, p50", "µs"),
            Column("p99_us", "state, p99", "µs"),
            Column("list_source_p99_us", "list at the source, p99", "µs"),
            Column("list_destination_p99_us", "list at the destination, p99", "µs"),
            Column("resident_before_bytes", "source's memory before", "MiB", MiB),
            Column("resident_after_bytes", "a minute after", "MiB", MiB),
        ),
    ),
    "rpc": (
        "Calls of one client over the UNIX socket",
        (Column("calls_per_s", "calls", "1/s", picture=True), *LATENCY[:2]),
    ),
    "codec": (
        "Bodies of packets",
        (
            Column("body_bytes", "size", "B"),
            Column("encoded_per_s", "encoded", "1/s"),
            Column("decoded_per_s", "decoded", "1/s"),
            Column("encoded_mib_s", "encoded", "MiB/s"),
            Column("decoded_mib_s", "decoded", "MiB/s"),
        ),
    ),
    "route": (
        "The routes without QEMU, over loopback",
        (
            Column("mib_s", "all channels", "MiB/s", picture=True),
            Column("cpu_s_per_gib", "daemons' CPU per GiB", "s", picture=True),
        ),
    ),
}


def write(results: Results, stem: str = "results") -> dict[str, str]:
    """The files of the report: name → text; pictures are named ``STEM-….svg``."""
    summary = results.summary()
    files: dict[str, str] = {}
    lines = [
        "# Benchmarks",
        "",
        "Medians, with the least and the most in brackets. Made by `make bench`; what is measured and how: "
        "[docs/benchmarks.md](../../docs/benchmarks.md).",
        "",
        *machine_table(results, summary),
        *bars_table(bars.judge(Medians(summary, results.errors()))),
    ]
    for workload, cases in _workloads(summary).items():
        lines += section(f"Moves: {workload}", f"{stem}-{workload}", cases, MOVE, files)
    for suite, (title, columns) in SUITES.items():
        if suite in summary:
            lines += section(title, f"{stem}-{suite}", summary[suite], columns, files)
    lines += errors_table(results)
    return {PAGE: "\n".join(lines) + "\n", **files}


def machine_table(results: Results, summary: Summary) -> list[str]:
    """What it was measured on."""
    repeats = [s.count for cases in summary.values() for figures in cases.values() for s in figures.values()]
    commits = sorted({record.commit for record in results.records})
    facts = {
        **results.machine,
        **{f"version of {name}": version for name, version in results.versions.items() if name != "culvert"},
        "culvert": ", ".join(commits),
        **results.options,
        "repeats": f"{min(repeats)} to {max(repeats)}" if repeats else "none",
    }
    return ["## Made on", "", *table(["", ""], [[name, str(value)] for name, value in facts.items()]), ""]


def bars_table(verdicts: Sequence[Verdict]) -> list[str]:
    """What became of the bars."""
    words = {True: "reached", False: "**not reached**", None: "not measured"}
    rows = [
        [
            verdict.bar.name,
            verdict.bar.text,
            "" if verdict.value is None else f"{number(verdict.value)} {verdict.bar.unit}".strip(),
            words[verdict.reached],
        ]
        for verdict in verdicts
    ]
    return ["## Bars", "", *table(["what", "bar", "measured", ""], rows), ""]


def _workloads(summary: Summary) -> dict[str, dict[str, dict[str, Spread]]]:
    found: dict[str, dict[str, dict[str, Spread]]] = {}
    for case, figures in summary.get("move", {}).items():
        workload, _, mover = case.partition("/")
        found.setdefault(workload, {})[mover] = figures
    return found


def section(
    title: str, stem: str, cases: Mapping[str, Mapping[str, Spread]], columns: Sequence[Column], files: dict[str, str]
) -> list[str]:
    """Cases by columns, with the pictures, which are put into ``files``."""
    lines = [f"## {title}", ""]
    used = [column for column in columns if any(column.spread(figures) for figures in cases.values())]
    for column in used:
        if column.picture:
            found = [(case, column.spread(figures)) for case, figures in cases.items()]
            rows = [svg.Row(case, spread, column.absent) for case, spread in found if spread or column.absent]
            name = f"{stem}-{column.figure.replace('_', '-')}.svg"
            files[name] = svg.chart(column.title, column.unit, rows)
            lines += [f"![{column.title}]({name})", ""]
    head = ["", *(f"{column.title}{', ' if column.unit else ''}{column.unit}" for column in used)]
    rows_of_text = [[case, *(_cell(column.spread(figures)) for column in used)] for case, figures in cases.items()]
    return [*lines, *table(head, rows_of_text), ""]


def _cell(spread: Spread | None) -> str:
    if spread is None:
        return ""
    if spread.least == spread.most:
        return number(spread.median)
    return f"{number(spread.median)} ({number(spread.least)}–{number(spread.most)})"


def errors_table(results: Results) -> list[str]:
    """What has no result, with what was said; nothing when all have."""
    if not results.errors():
        return []
    rows = [
        [
            f"{record.suite}/{record.case}",
            str(record.repeat + 1),
            " ".join(record.error.split())[:200].replace("|", "/"),
        ]
        for record in results.errors()
    ]
    return ["## Without a result", "", *table(["what", "repeat", "said"], rows), ""]


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """A Markdown table."""
    return [f"| {' | '.join(line)} |" for line in (head, ["---"] * len(head), *rows)]
