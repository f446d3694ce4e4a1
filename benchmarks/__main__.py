"""``python -m benchmarks``: measure, and write the report."""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path
from types import FrameType

from benchmarks import machine, plan, runner, store
from benchmarks.hosts import LabError
from benchmarks.plans import PLANS, Plan
from benchmarks.runner import Options

RESULTS = machine.ROOT / "benchmarks" / "results"


def main() -> int:
    """0 when everything was measured, 1 when something failed, 2 for a wrong command line, 130 after Ctrl-C."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--plan", choices=PLANS, default="bench", help="what there is to measure (%(default)s)")
    parser.add_argument("--filter", action="append", default=[], metavar="WORD", help="only cells with WORD in them")
    parser.add_argument("--repeats", type=int, help=f"of each cell ({_by_plan('repeats')})")
    parser.add_argument("--brief", action="store_true", help="only a small part, in minutes")
    parser.add_argument("--memory", type=int, metavar="MIB", help=f"of the guest ({_by_plan('memory_mib')})")
    parser.add_argument("--output", type=Path, help=f"JSON (in {RESULTS}: {_by_plan('output')})")
    parser.add_argument("--resume", action="store_true", help="go on with what the output holds already")
    parser.add_argument("--report", action="store_true", help="measure nothing, write the report of the output anew")
    parser.add_argument("--list", action="store_true", help="show the cells and end")
    words = parser.parse_args()
    wanted = PLANS[words.plan]
    output = words.output or RESULTS / f"{wanted.output}.json"
    try:
        cells = plan.chosen(wanted.cells(), [*words.filter, *(wanted.brief if words.brief else ())])
    except ValueError as err:
        parser.error(str(err))
    if words.list:
        print("\n".join(cell.name for cell in cells))
        return 0
    if words.report:
        write_report(wanted, store.load(output), output)
        return 0
    signal.signal(signal.SIGTERM, _end)
    signal.signal(signal.SIGINT, _end)
    try:
        repeats, memory = words.repeats or wanted.repeats, words.memory or wanted.memory_mib
        results = runner.run(cells, Options(output, repeats, memory, words.resume))
    except LabError as err:
        runner.say(f"error: {err}")
        return 1
    except KeyboardInterrupt:
        runner.say(f"\ninterrupted; --resume goes on with {output}")
        return 130
    write_report(wanted, results, output)
    return 1 if results.errors() else 0


def _end(number: int, _: FrameType | None) -> None:
    """What is open is closed on the way out; a second signal does not disturb that."""
    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, signal.SIG_IGN)
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    sys.exit(128 + number)


def write_report(wanted: Plan, results: store.Results, output: Path) -> None:
    """Page and pictures beside the JSON."""
    for name, text in wanted.write(results, output.stem).items():
        (output.parent / name).write_text(text, encoding="utf-8")
    runner.say(f"{output}, {output.parent / wanted.page}")


def _by_plan(member: str) -> str:
    return ", ".join(f"{name} {getattr(each, member)}" for name, each in PLANS.items())


if __name__ == "__main__":
    sys.exit(main())
