"""Measures cell after cell, and writes each result down before the next begins."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks import machine, plan, store
from benchmarks.hosts import LabError
from benchmarks.lab import Lab, lab
from benchmarks.plan import Cell
from benchmarks.store import Record, Results

ERROR_LENGTH = 500
SHOWN = (
    "wall_s",
    "total_s",
    "blackout_ms",
    "daemon_cpu_s",
    "calls_per_s",
    "p99_us",
    "added_s",
    "all_wall_s",
    "mib_s",
    "arrived",
    "dirtied_during_mib_s",
    "work_lost_s",
    "predicted_off",
    "cuts",
)


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line says."""

    output: Path
    repeats: int
    memory_mib: int
    resume: bool = False


def begin(options: Options) -> Results:
    """The results so far: none, or those in the file that is to be resumed.

    Raises ``LabError`` when the file is there and is not to be resumed, or was made on another machine or with
    guests of another size.
    """
    wanted = {"guest_mib": options.memory_mib}
    if not options.output.exists():
        options.output.parent.mkdir(parents=True, exist_ok=True)
        return Results(dict(machine.machine()), dict(machine.versions()), wanted)
    if not options.resume:
        raise LabError(f"{options.output} is there already: --resume goes on with it, --output names another")
    results = store.load(options.output)
    if results.machine != machine.machine() or results.options != wanted:
        raise LabError(f"{options.output} was measured on another machine or with other options")
    return results


def run(cells: Sequence[Cell], options: Options) -> Results:
    """Measure every cell as often as is wanted; the results, which are in the file too.

    A cell that fails is noted with what was said, and the next one begins. Raises ``LabError`` when there can be no
    two hosts.
    """
    results = begin(options)
    todo = list(plan.order(cells, options.repeats, results.done()))
    commit = machine.commit()
    begun = time.monotonic()
    with lab(options.memory_mib) as made:
        for number, (cell, repeat) in enumerate(todo, 1):
            say(f"[{number}/{len(todo)} {time.monotonic() - begun:.0f} s] {cell.name} #{repeat + 1}: ", end="")
            record = _measured(made, cell, repeat, commit)
            say(_outcome(record))
            if record.error:
                _logs_path(options.output, record).write_text(f"{record.error}\n{made.logs()}", encoding="utf-8")
                _clear(made, cell.stage)
            results.add(record)
            store.save(results, options.output)
    return results


def _measured(made: Lab, cell: Cell, repeat: int, commit: str) -> Record:
    try:
        return Record(cell.suite, cell.case, repeat, cell.measure(made), commit=commit)
    except Exception as err:  # whatever it is, hours of other measurements do not go with it
        text = f"{type(err).__name__}: {err}"[:ERROR_LENGTH]
        return Record(cell.suite, cell.case, repeat, error=text, commit=commit)


def _clear(made: Lab, stage: str) -> None:
    """What follows begins with new daemons."""
    try:
        made.drop(stage)
    except Exception as err:
        say(f"the hosts of {stage} could not be cleared: {err}")


def _logs_path(output: Path, record: Record) -> Path:
    return output.with_name(
        f"{output.stem}-failed-{record.suite}-{record.case.replace('/', '-')}-{record.repeat + 1}.log"
    )


def _outcome(record: Record) -> str:
    if record.error:
        return f"FAILED {record.error.splitlines()[0]}"
    return " ".join(f"{name}={record.figures[name]:.4g}" for name in SHOWN if name in record.figures)


def say(text: str, end: str = "\n") -> None:
    """For whoever watches; the results go to the file."""
    print(text, end=end, file=sys.stderr, flush=True)
