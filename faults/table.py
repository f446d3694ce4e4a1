"""The matrix as it is printed: on a terminal, as Markdown, as JSON; pure."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict

from faults.experiment import Outcome
from faults.plan import BOUNDARIES, FAULTS, GOOD, WAYS, Cell, Who, Word

NOT_THERE = "–"
Row = tuple[str, ...]


def columns(outcomes: Mapping[str, Outcome]) -> list[tuple[str, Who]]:
    """(way, whose) of every column that has anything in it."""
    return [
        (way.key, who)
        for way in WAYS
        for who in Who
        if any(name.startswith(f"{who.value}/{way.key}/") for name in outcomes)
    ]


def rows(outcomes: Mapping[str, Outcome]) -> list[tuple[str, str, list[Outcome | None]]]:
    """(boundary, fault, what came of it in each column), for every row that has anything in it."""
    there = columns(outcomes)
    found = []
    for boundary in BOUNDARIES:
        for fault in FAULTS:
            cells = [outcomes.get(f"{who.value}/{way}/{boundary.key}/{fault.key}") for way, who in there]
            if any(cells):
                found.append((boundary.title, fault.title, cells))
    return found


def _text(outcome: Outcome | None) -> str:
    if outcome is None:
        return NOT_THERE
    return outcome.word.value if outcome.ok or outcome.word.value.isupper() else f"{outcome.word.value}!"


def text(outcomes: Mapping[str, Outcome]) -> str:
    """For a terminal: a block for each boundary."""
    titles = [f"{way}/{who.value}" for way, who in columns(outcomes)]
    width = max(len(fault.title) for fault in FAULTS)
    widths = [max(len(title), 14) for title in titles]
    lines, last = [], ""
    for boundary, fault, cells in rows(outcomes):
        if boundary != last:
            heads = "  ".join(title.ljust(size) for title, size in zip(titles, widths, strict=True))
            lines += ["", boundary.ljust(width) + "    " + heads]
            last = boundary
        words = "  ".join(_text(cell).ljust(size) for cell, size in zip(cells, widths, strict=True))
        lines.append(f"  {fault.ljust(width)}  {words}")
    return "\n".join([*lines, "", *summary(outcomes)])


def summary(outcomes: Mapping[str, Outcome]) -> list[str]:
    """How often each word came, for each kind of daemon."""
    lines = []
    for who in Who:
        mine = [outcome for name, outcome in outcomes.items() if name.startswith(f"{who.value}/")]
        if mine:
            counts = {word: sum(outcome.word is word for outcome in mine) for word in Word}
            words = ", ".join(f"{word.value} {count}" for word, count in counts.items() if count)
            bad = sum(not outcome.ok for outcome in mine)
            lines.append(f"{who.value}: {len(mine)} cells, {bad} not as they must be: {words}")
    return lines


def markdown(outcomes: Mapping[str, Outcome]) -> str:
    """One table with both kinds of daemons side by side."""
    heads = ["boundary", "fault", *(f"{way}, {who.value}" for way, who in columns(outcomes))]
    lines = [f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]
    last = ""
    for boundary, fault, cells in rows(outcomes):
        shown = "" if boundary == last else boundary
        last = boundary
        words = [f"**{_text(cell)}**" if cell is not None and not cell.ok else _text(cell) for cell in cells]
        lines.append(f"| {' | '.join([shown, fault, *words])} |")
    return "\n".join(lines) + "\n"


def digest(outcomes: Mapping[str, Outcome]) -> str:
    """A line for each fault: in each column, how often which word came over all boundaries."""
    there = columns(outcomes)
    lines = [
        f"| fault | {' | '.join(f'{way}, {who.value}' for way, who in there)} |",
        f"|{'---|' * (len(there) + 1)}",
    ]
    for fault in FAULTS:
        cells = [_words(outcomes, f"{who.value}/{way}/", f"/{fault.key}") for way, who in there]
        if any(cells):
            lines.append(f"| {fault.title} | {' | '.join(cell or NOT_THERE for cell in cells)} |")
    return "\n".join(lines) + "\n"


def _words(outcomes: Mapping[str, Outcome], head: str, tail: str) -> str:
    found = [each for name, each in outcomes.items() if name.startswith(head) and name.endswith(tail)]
    good = sum(each.word in GOOD for each in found)
    others = Counter(_text(each) for each in found if each.word not in GOOD)
    return ", ".join([*([f"{good} ok"] if good else []), *(f"{count} {word}" for word, count in others.items())])


def to_json(outcomes: Mapping[str, Outcome], facts: Mapping[str, str]) -> str:
    """Everything, to be read again by ``from_json``."""
    cells = [{**asdict(outcome), "word": outcome.word.value} for outcome in outcomes.values()]
    return json.dumps({"facts": dict(facts), "cells": cells}, indent=1, ensure_ascii=False) + "\n"


def from_json(given: str) -> dict[str, Outcome]:
    """What ``to_json`` has written. Raises ``ValueError`` for anything else."""
    try:
        found = json.loads(given)["cells"]
        return {each["name"]: Outcome(**{**each, "word": Word(each["word"])}) for each in found}
    except (KeyError, TypeError) as err:
        raise ValueError(f"not a result of this matrix: {err}") from err


def in_order(outcomes: Mapping[str, Outcome], cells: Iterable[Cell]) -> dict[str, Outcome]:
    """``outcomes`` in the order of ``cells``; what is no cell any more is dropped."""
    return {cell.name: outcomes[cell.name] for cell in cells if cell.name in outcomes}
