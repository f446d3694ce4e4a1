"""``python -m faults``: break migrations at every boundary in every way, and print what came of it."""

from __future__ import annotations

import argparse
import platform
import signal
import subprocess
import sys
from collections.abc import Iterable, Mapping
from datetime import date
from pathlib import Path

from faults import experiment, plan, table
from faults.experiment import Outcome
from faults.plan import Cell, Who
from tests.support.libvirtd import possible

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "faults" / "results"
PAGE = """# The fault matrix

Made by `make faults`; what the words mean and how it is done: [docs/reliability.md](../../docs/reliability.md).
"""


def main() -> int:
    """0 when everything of culvert's came out well, 1 otherwise, 2 for a wrong command line, 130 after Ctrl-C."""
    parser = argparse.ArgumentParser(prog="python -m faults", description=__doc__)
    parser.add_argument(
        *("--filter", "-f"), action="append", default=[], metavar="PARTS", help="only these: culvert/p2p, cut, …"
    )
    parser.add_argument("--fast", action="store_true", help="only the cells that bite most")
    parser.add_argument("--output", type=Path, default=RESULTS / "results.json", help="JSON (%(default)s)")
    parser.add_argument("--resume", action="store_true", help="go on with what the output holds already")
    parser.add_argument("--again", action="store_true", help="as --resume, and repeat what did not come out well")
    parser.add_argument("--report", action="store_true", help="break nothing, print and write what the output holds")
    parser.add_argument("--list", action="store_true", help="show the cells and end")
    words = parser.parse_args()
    try:
        cells = plan.chosen(plan.cells(), [*words.filter, *(plan.FAST if words.fast else ())])
    except ValueError as err:
        parser.error(str(err))
    if words.list:
        print("\n".join(cell.name for cell in cells))
        return 0
    known: dict[str, Outcome] = {}
    if (words.resume or words.again or words.report or words.filter) and words.output.exists():
        known = table.from_json(words.output.read_text("utf-8"))
    signal.signal(signal.SIGTERM, _end)
    try:
        if not words.report:
            keep = {name for name, each in known.items() if words.resume or (words.again and each.ok)}
            _run([cell for cell in cells if cell.name not in keep], known, words.output)
    except KeyboardInterrupt:
        say(f"\ninterrupted; --resume goes on with {words.output}")
        return 130
    if words.report:
        _write_page(known, words.output)
    print(table.text(table.in_order(known, plan.cells())))
    mine = [outcome for name, outcome in known.items() if name.startswith(Who.CULVERT.value)]
    return int(not all(outcome.ok for outcome in mine))


def _end(number: int, _: object) -> None:
    """What is open is closed on the way out."""
    signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def _run(cells: Iterable[Cell], known: dict[str, Outcome], output: Path) -> None:
    every = [cell for cell in cells if _can(cell)]
    output.parent.mkdir(parents=True, exist_ok=True)
    for number, cell in enumerate(every, 1):
        outcome = experiment.run(cell, output.parent / "logs")
        known[cell.name] = outcome
        mark = "" if outcome.ok else "  ←"
        say(f"[{number}/{len(every)}] {cell.name}: {outcome.word.value} {outcome.seconds:.1f} s{mark} {outcome.note}")
        output.write_text(table.to_json(table.in_order(known, plan.cells()), facts()), encoding="utf-8")
        _write_page(known, output)


def _write_page(known: Mapping[str, Outcome], output: Path) -> None:
    ordered = table.in_order(known, plan.cells())
    page = f"{PAGE}\n{table.digest(ordered)}\n{table.markdown(ordered)}"
    output.with_suffix(".md").write_text(page, encoding="utf-8")


def _can(cell: Cell) -> bool:
    if (cell.fault.root or cell.who is Who.LIBVIRT) and not possible():
        say(f"{cell.name}: left out, it needs root, libvirtd and tini")
        return False
    return True


def facts() -> dict[str, str]:
    """What it was made with."""

    def told(*words: str) -> str:
        return subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()

    return {
        "date": date.today().isoformat(),
        "machine": f"{platform.system()} {platform.release()}, {platform.machine()}",
        "qemu": told("qemu-system-x86_64", "--version").splitlines()[0],
        "libvirt": told("libvirtd", "--version"),
        "commit": told("git", "rev-parse", "--short", "HEAD"),
    }


def say(text: str) -> None:
    """For people, beside the table."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
