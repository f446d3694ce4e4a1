"""``python -m benchmarks``: measure, and write the report."""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path
from types import FrameType

from benchmarks import machine, plan, report, runner, store, suites
from benchmarks.hosts import LabError
from benchmarks.runner import Options
from benchmarks.workloads import DEFAULT_MIB

RESULTS = machine.ROOT / "benchmarks" / "results"


def main() -> int:
    """0 when everything was measured, 1 when something failed, 2 for a wrong command line, 130 after Ctrl-C."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--filter", action="append", default=[], metavar="WORD", help="only cells with WORD in them")
    parser.add_argument("--repeats", type=int, default=5, help="of each cell (%(default)s)")
    parser.add_argument("--memory", type=int, default=DEFAULT_MIB, metavar="MIB", help="of the guest (%(default)s)")
    parser.add_argument("--output", type=Path, default=RESULTS / "results.json", help="JSON (%(default)s)")
    parser.add_argument("--resume", action="store_true", help="go on with what the output holds already")
    parser.add_argument("--report", action="store_true", help="measure nothing, write the report of the output anew")
    parser.add_argument("--list", action="store_true", help="show the cells and end")
    words = parser.parse_args()
    try:
        cells = plan.chosen(suites.cells(), words.filter)
    except ValueError as err:
        parser.error(str(err))
    if words.list:
        print("\n".join(cell.name for cell in cells))
        return 0
    if words.report:
        write_report(store.load(words.output), words.output)
        return 0
    signal.signal(signal.SIGTERM, _end)
    signal.signal(signal.SIGINT, _end)
    try:
        results = runner.run(cells, Options(words.output, words.repeats, words.memory, words.resume))
    except LabError as err:
        runner.say(f"error: {err}")
        return 1
    except KeyboardInterrupt:
        runner.say(f"\ninterrupted; --resume goes on with {words.output}")
        return 130
    write_report(results, words.output)
    return 1 if results.errors() else 0


def _end(number: int, _: FrameType | None) -> None:
    """What is open is closed on the way out; a second signal does not disturb that."""
    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, signal.SIG_IGN)
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    sys.exit(128 + number)


def write_report(results: store.Results, output: Path) -> None:
    """Page and pictures beside the JSON."""
    for name, text in report.write(results, output.stem).items():
        (output.parent / name).write_text(text, encoding="utf-8")
    runner.say(f"{output}, {output.parent / report.PAGE}")


if __name__ == "__main__":
    sys.exit(main())
