"""``python -m generations``: every generation of Debian, and every pair of them, and a table of what came of it."""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import os
import platform
import signal
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from datetime import date
from pathlib import Path

from faults.plan import chosen
from generations import commands, enter, moves, plan, roots, table
from generations.plan import Cell, Kind
from generations.roots import NoRoot, Root
from generations.table import Outcome
from tests.support.generation import parsed

PLACE = roots.CHECKOUT / "build" / "generations"
RESULTS = roots.CHECKOUT / "generations" / "results" / "results.json"
PAGE = roots.CHECKOUT / "docs" / "generations.md"


def main() -> int:
    """0 when every cell is as it must be, 1 otherwise, 2 for a wrong command line or no root, 130 after Ctrl-C."""
    parser = argparse.ArgumentParser(prog="python -m generations", description=__doc__)
    parser.add_argument(
        *("--filter", "-f"), action="append", default=[], metavar="PARTS", help="only these: pair/tls, run/13, …"
    )
    parser.add_argument("--fast", action="store_true", help="only the cells that bite most")
    parser.add_argument("--place", type=Path, default=PLACE, help="where roots, clones and logs are (%(default)s)")
    parser.add_argument(
        *("--root", "-r"), action="append", default=[], metavar="KEY=DIR", help="a root that is there already: 13=DIR"
    )
    parser.add_argument("--refresh", action="store_true", help="make the roots anew")
    parser.add_argument("--output", type=Path, default=RESULTS, help="JSON (%(default)s)")
    parser.add_argument("--page", type=Path, default=PAGE, help="the page that has the tables (%(default)s)")
    parser.add_argument("--resume", action="store_true", help="go on with what the output holds already")
    parser.add_argument("--again", action="store_true", help="as --resume, and repeat what is not as it must be")
    parser.add_argument("--report", action="store_true", help="run nothing, print and write what the output holds")
    parser.add_argument("--list", action="store_true", help="show the cells and end")
    words = parser.parse_args()
    try:
        cells = chosen(plan.cells(), [*words.filter, *(plan.FAST if words.fast else ())])
        given = {
            plan.generation(key).key: Path(path) for key, _, path in (each.partition("=") for each in words.root)
        }
    except (ValueError, KeyError) as err:
        parser.error(str(err))
    if words.list:
        print("\n".join(cell.name for cell in cells))
        return 0
    signal.signal(signal.SIGTERM, _end)
    kept = Kept(words.output, words.page, again=bool(words.resume or words.again or words.report or words.filter))
    keep = {name for name, each in kept.found.items() if words.resume or (words.again and each.ok)}
    try:
        if not words.report:
            with alone(words.place.resolve()) as folder:
                place = Place(folder, given, fresh=words.refresh)
                run([cell for cell in cells if cell.name not in keep], place, kept)
    except KeyboardInterrupt:
        say(f"\ninterrupted; --resume goes on with {words.output}")
        return 130
    except NoRoot as err:
        say(str(err))
        return 2
    kept.write()
    print(table.text(kept.found))
    return int(not all(kept.found[cell.name].ok for cell in cells if cell.name in kept.found))


def _end(number: int, _: object) -> None:
    """What is open is closed on the way out."""
    signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[Path]:
    """``folder``, made and held: two runs would make one root, and clone over each other. Raises ``NoRoot``."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as err:
            raise NoRoot(f"another run is at work in {folder}: wait for its end, or give another --place") from err
        yield folder


class Kept:
    """What is known, in the file ``output`` and on ``page``; ``again``: with what was there before."""

    def __init__(self, output: Path, page: Path, *, again: bool) -> None:
        self._output, self._page = output, page
        self.found: dict[str, Outcome] = {}
        self.versions: dict[str, dict[str, str]] = {}
        if again and output.exists():
            self.found, self.versions, _ = table.from_json(output.read_text("utf-8"))

    def write(self) -> None:
        """Write both."""
        self.found = table.in_order(self.found, plan.cells())
        self._output.parent.mkdir(parents=True, exist_ok=True)
        self._output.write_text(table.to_json(self.found, self.versions, facts()), encoding="utf-8")
        before = self._page.read_text("utf-8") if self._page.exists() else ""
        self._page.write_text(table.page(before, self.found, self.versions, facts()), encoding="utf-8")


class Place:
    """The generations of this machine, each made when first asked for. ``given``: roots that are there already."""

    def __init__(self, folder: Path, given: Mapping[str, Path], *, fresh: bool) -> None:
        self.folder = folder
        self.commit = roots.commit()  # what is committed meanwhile has no part in it
        self._given = given
        self._fresh = fresh
        self._own = roots.machine_generation()
        self._roots: dict[str, Root] = {}
        self._set_up: set[str] = set()

    def root(self, key: str) -> Root:
        """It, bare. Raises ``NoRoot``."""
        if key not in self._roots:
            clone = self.folder / key / "culvert"
            clone.mkdir(parents=True, exist_ok=True)
            self._roots[key] = Root(plan.generation(key), self._path(key), clone)
        return self._roots[key]

    def _path(self, key: str) -> Path | None:
        if key == self._own:
            return None
        if key in self._given:
            return self._given[key]
        say(f"{plan.generation(key).title}: its root")
        return roots.make(plan.generation(key), self.folder / key / "root", fresh=self._fresh)

    def set_up(self, key: str, kept: Kept) -> Root:
        """It, with a culvert that runs and everything that tests need. Raises ``NoRoot``."""
        root = self.root(key)
        if key not in self._set_up:
            say(f"{root.generation.title}: culvert in it")
            roots.clone(root.clone, self.commit)
            command = ("env", "-C", root.clone, "make", "setup", "test-packages")
            roots.run([*root.words(), *command], env=enter.environment())
            kept.versions[key] = root.versions()
            self._set_up.add(key)
        return root


def run(cells: Iterable[Cell], place: Place, kept: Kept) -> None:
    """Run them, one after the other. Raises ``NoRoot``."""
    if os.geteuid() != 0:
        raise NoRoot("roots and their mount namespaces are root's: run this as root")
    every = list(cells)
    logs = place.folder / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    for number, cell in enumerate(every, 1):
        outcome = one(cell, place, kept, logs)
        kept.found[cell.name] = outcome
        mark = "" if outcome.ok else "  ←"
        say(f"[{number}/{len(every)}] {cell.name}: {outcome.word.value} {outcome.seconds:.1f} s{mark} {outcome.note}")
        kept.write()


def one(cell: Cell, place: Place, kept: Kept, logs: Path) -> Outcome:
    """What came of one. Raises ``NoRoot``."""
    log = logs / f"{cell.name.replace('/', '.')}.log"
    log.unlink(missing_ok=True)
    if cell.kind is Kind.RUN:
        began = time.monotonic()
        came = commands.run(cell, place.root(cell.first), place.commit, log)
        kept.versions[cell.first] = place.root(cell.first).versions()
    else:
        ready = {key: place.set_up(key, kept) for key in sorted(cell.generations)}
        began = time.monotonic()
        came = moves.run(cell, ready, log)
    seconds = round(time.monotonic() - began, 1)
    qemu = {key: parsed(told.get("qemu", "")) for key, told in kept.versions.items()}
    ok = plan.as_it_must(came.word, came.note, plan.expected(cell, qemu))
    shown = log.name if not ok and log.exists() else ""
    return Outcome(cell.name, came.word, ok, came.note, seconds, place.commit, shown)


def facts() -> dict[str, str]:
    """What it was made with."""
    return {
        "date": date.today().isoformat(),
        "kernel": f"{platform.system()} {platform.release()}, {platform.machine()}",
        "processors": str(os.cpu_count()),
    }


def say(text: str) -> None:
    """For people, beside the table."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
