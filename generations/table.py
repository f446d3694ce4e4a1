"""What came of the cells: on a terminal, as Markdown, as JSON; pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass

from generations.plan import COMMANDS, GENERATIONS, PAIRED, STOCK_WAYS, WAYS, Cell, Kind, Word

NOT_THERE = "–"


@dataclass(frozen=True, slots=True)
class Came:
    """What came of a cell; ``note``: the reason of a refusal, what went wrong, or a command's last words."""

    word: Word
    note: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """The same, kept. ``ok``: as it must be; ``commit``: of culvert; ``log``: a file's name, '' where all is well."""

    name: str
    word: Word
    ok: bool
    note: str
    seconds: float
    commit: str
    log: str = ""


Outcomes = Mapping[str, Outcome]
Versions = Mapping[str, Mapping[str, str]]


def word_of(outcome: Outcome | None) -> str:
    """One word for a table; ``!`` behind it when it is not as it must be."""
    if outcome is None:
        return NOT_THERE
    return outcome.word.value + ("" if outcome.ok or outcome.word is Word.FAILED else "!")


def _shown(found: Iterable[Outcome | None]) -> str:
    """Several in one place: what is not well first."""
    there = [each for each in found if each is not None]
    if not there:
        return NOT_THERE
    words = sorted({word_of(each) for each in there}, key=lambda word: (word.islower() and word[-1] != "!", word))
    counted = [(word, sum(word_of(each) == word for each in there)) for word in words]
    if len(counted) == 1:
        return counted[0][0]
    return ", ".join(f"{count} {word}" for word, count in counted)


# -- the tables ------------------------------------------------------------------------------------------------------

Rows = list[list[str]]


def runs(found: Outcomes) -> Rows:
    """What × generation."""
    rows = [["what", *(each.title for each in GENERATIONS)]]
    for command in COMMANDS:
        cells = [found.get(Cell(Kind.RUN, each.key, command.key).name) for each in GENERATIONS]
        rows.append([command.title, *(_with_note(each) for each in cells)])
    return rows


def _with_note(outcome: Outcome | None) -> str:
    if outcome is None or not outcome.note or outcome.note.startswith("{"):  # the demonstration's figures
        return word_of(outcome)
    return f"{word_of(outcome)}: {outcome.note}"


def pairs(found: Outcomes) -> Rows:
    """Pair × route × mode: a row a way, a column an ordered pair; all machine types together."""
    columns = [(first, second) for first in PAIRED for second in PAIRED]
    rows = [["route, mode", *(f"{first} → {second} → {first}" for first, second in columns)]]
    for way in WAYS:
        heads = [f"pair/{first}/{second}/{way.key}/" for first, second in columns]
        rows.append(
            [
                f"{way.route}, {way.mode}" if way.route != way.mode else "`--auto`",
                *(_shown(each for name, each in found.items() if name.startswith(head)) for head in heads),
            ]
        )
    return rows


def stock(found: Outcomes) -> Rows:
    """A culvert and a libvirtd: a row a way, a column culvert's generation and libvirtd's."""
    columns = [(first, second) for first in PAIRED for second in PAIRED]
    rows = [["way", *(f"culvert {first}, libvirtd {second}" for first, second in columns)]]
    for way in STOCK_WAYS:
        heads = [f"libvirtd/{first}/{second}/{way.mode}/" for first, second in columns]
        rows.append(
            [way.mode, *(_shown(each for name, each in found.items() if name.startswith(head)) for head in heads)]
        )
    return rows


def versions(told: Versions) -> Rows:
    """What each generation is made of."""
    rows = [["generation", "QEMU", "libvirt", "virsh", "Python"]]
    for each in GENERATIONS:
        if each.key in told:
            mine = told[each.key]
            names = ("qemu", "libvirt", "virsh", "python")
            rows.append([each.title, *(mine.get(name) or NOT_THERE for name in names)])
    return rows


def refusals(found: Outcomes) -> Rows:
    """What was refused as it must be, and in which words."""
    rows = [["cell", "its reason"]]
    rows += [[f"`{each.name}`", each.note] for each in found.values() if each.word is Word.REFUSED and each.ok]
    return rows


def failures(found: Outcomes) -> Rows:
    """What is not as it must be."""
    rows = [["cell", "what came", "why", "commit", "log"]]
    rows += [
        [f"`{each.name}`", word_of(each), each.note, each.commit, each.log and f"`{each.log}`"]
        for each in found.values()
        if not each.ok
    ]
    return rows


def summary(found: Outcomes) -> str:
    """How many there are, and how many are not as they must be."""
    bad = sum(not each.ok for each in found.values())
    words = [f"{sum(each.word is word for each in found.values())} {word.value}" for word in Word]
    return f"{len(found)} cells: {', '.join(words)}; {bad} not as they must be"


def text(found: Outcomes) -> str:
    """For a terminal."""
    blocks = [_text(rows) for rows in (runs(found), pairs(found), stock(found)) if len(rows) > 1]
    bad = [f"{each.name}: {each.note}  ({each.log})" for each in found.values() if not each.ok]
    return "\n\n".join([*blocks, *(["\n".join(bad)] if bad else []), summary(found)])


def _text(rows: Rows) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows)
    return "\n".join(lines)


def markdown(rows: Rows) -> str:
    """A table of Markdown; '' for one that has a head alone."""
    if len(rows) < 2:
        return ""
    head, *rest = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head), *(f"| {' | '.join(row)} |" for row in rest)]
    return "\n".join(lines) + "\n"


# -- the page --------------------------------------------------------------------------------------------------------

BEGIN = "<!-- Written by `make generations` from generations/results/results.json: change nothing below. -->"


def page(before: str, found: Outcomes, told: Versions, facts: Mapping[str, str]) -> str:
    """``docs/generations.md``: ``before`` as it is up to ``BEGIN``, and what came of the cells behind it."""
    head = before.partition(BEGIN)[0].rstrip()
    made = ", ".join(f"{name} {value}" for name, value in facts.items())
    commits = sorted({each.commit for each in found.values()})
    parts = [
        *(head, BEGIN, "## What came of it"),
        f"{summary(found)}. Made with: {made}; culvert's commits: {', '.join(commits)}.",
        *("### The generations", markdown(versions(told))),
        *("### What is run in each", markdown(runs(found))),
        *("### Between two culverts", markdown(pairs(found))),
        *("### Between a culvert and a libvirtd", markdown(stock(found))),
        *("### Refused, and in which words", markdown(refusals(found)) or "Nothing."),
        *("### Not as it must be", markdown(failures(found)) or "Nothing."),
    ]
    return "\n\n".join(part.strip() for part in parts if part) + "\n"


# -- kept ------------------------------------------------------------------------------------------------------------


def to_json(found: Outcomes, told: Versions, facts: Mapping[str, str]) -> str:
    """Everything, to be read again by ``from_json``."""
    cells = [{**asdict(outcome), "word": outcome.word.value} for outcome in found.values()]
    kept = {"facts": dict(facts), "generations": {key: dict(each) for key, each in told.items()}, "cells": cells}
    return json.dumps(kept, indent=1, ensure_ascii=False) + "\n"


def from_json(given: str) -> tuple[dict[str, Outcome], dict[str, dict[str, str]], dict[str, str]]:
    """What ``to_json`` has written. Raises ``ValueError`` for anything else."""
    try:
        kept = json.loads(given)
        found = {each["name"]: Outcome(**{**each, "word": Word(each["word"])}) for each in kept["cells"]}
        return found, kept["generations"], kept["facts"]
    except (KeyError, TypeError) as err:
        raise ValueError(f"not a result of the generations: {err}") from err


def in_order(found: Outcomes, cells: Iterable[Cell]) -> dict[str, Outcome]:
    """``found`` in the order of ``cells``; what is no cell any more is dropped."""
    return {cell.name: found[cell.name] for cell in cells if cell.name in found}
