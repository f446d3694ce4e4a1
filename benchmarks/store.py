"""The results of a run, one JSON document, whole on disk after every measurement.

::

    {"machine": …, "versions": …, "options": …,
     "records": [{"suite", "case", "repeat", "at", "commit", "figures": {name: value}} or {…, "error": text}],
     "summary": {suite: {case: {figure: {n, median, min, max, iqr}}}}}

A figure's name ends with its unit. The summary follows from the records; it is there for other programs.
"""

from __future__ import annotations

import json
import os
import time
from collections import defaultdict
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import spread
from benchmarks.spread import Spread

Summary = dict[str, dict[str, dict[str, Spread]]]


@dataclass(frozen=True, slots=True)
class Record:
    """One measurement: ``figures``, or the ``error`` that there are none for. ``at``: seconds since 1970."""

    suite: str
    case: str
    repeat: int
    figures: dict[str, float] = field(default_factory=dict)
    error: str = ""
    at: float = field(default_factory=time.time)
    commit: str = ""

    @property
    def key(self) -> tuple[str, str, int]:
        """What is measured at most once."""
        return self.suite, self.case, self.repeat


@dataclass(slots=True)
class Results:
    """A run's results."""

    machine: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    records: list[Record] = field(default_factory=list)

    def add(self, record: Record) -> None:
        """A record more; one of the same key that there was before is replaced."""
        self.records = [each for each in self.records if each.key != record.key] + [record]

    def done(self) -> set[tuple[str, str, int]]:
        """The keys that have figures."""
        return {record.key for record in self.records if not record.error}

    def errors(self) -> list[Record]:
        """Measurements without figures."""
        return [record for record in self.records if record.error]

    def values(self) -> dict[str, dict[str, dict[str, list[float]]]]:
        """suite → case → figure → the values, in the order of the repeats."""
        found: dict[str, dict[str, dict[str, list[float]]]] = defaultdict(
            lambda: defaultdict(lambda: defaultdict(list))
        )
        for record in sorted(self.records, key=lambda each: each.repeat):
            for name, value in record.figures.items():
                found[record.suite][record.case][name].append(value)
        return found

    def summary(self) -> Summary:
        """suite → case → figure → spread."""
        return {
            suite: {
                case: {name: spread.of(each) for name, each in figures.items()} for case, figures in cases.items()
            }
            for suite, cases in self.values().items()
        }

    def text(self) -> str:
        """The JSON document."""
        summary = {
            suite: {case: {name: each.as_dict() for name, each in figures.items()} for case, figures in cases.items()}
            for suite, cases in self.summary().items()
        }
        return json.dumps({**asdict(self), "summary": summary}, indent=1) + "\n"


def parse(text: str) -> Results:
    """The results in a document. Raises ``ValueError`` for what is none."""
    try:
        found = json.loads(text)
        records = [Record(**each) for each in found["records"]]
        return Results(found["machine"], found["versions"], found["options"], records)
    except (KeyError, TypeError) as err:
        raise ValueError(f"not the results of a run: {err!r}") from err


def load(path: Path) -> Results:
    """The results in a file. Raises ``OSError``, ``ValueError``."""
    return parse(path.read_text(encoding="utf-8"))


def save(results: Results, path: Path) -> None:
    """Write them; the file is the old or the new one, never half of it."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_text(results.text(), encoding="utf-8")
    draft.replace(path)
