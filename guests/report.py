"""What a guest's lines say, and what they prove. Pure: lines and arrival times in, findings out."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

_REPORT = re.compile(
    r"culvert-guest count=(?P<count>\d+) verified=(?P<verified>\d+) bad=(?P<bad>\d+)"
    r" gen=(?P<gen>\d+) pass=(?P<pass>\d+)(?: index=(?P<index>\d+))?"
)
_BOOT = re.compile(r"culvert-guest boot\b")
_BAD = re.compile(r"verify (BAD|failed)\b")


class GuestFault(AssertionError):
    """The guest's output shows that something is wrong with it; the text says what."""


@dataclass(frozen=True, slots=True)
class Report:
    """One line of a guest: the counter, pages verified, bad pages, rewrites of the working set, complete passes.

    ``index``: pages of the working set rewritten in the round under way. ``at`` is when the line arrived, in seconds
    of the caller's clock.
    """

    at: float
    count: int
    verified: int
    bad: int
    generation: int
    passes: int
    index: int = 0


@dataclass(frozen=True, slots=True)
class Silence:
    """The longest time without a line: ``seconds``, between the lines ``after`` and ``before`` (their counters)."""

    seconds: float
    after: int
    before: int


def parse(line: str, at: float) -> Report | None:
    """The report in ``line``, or None where it is none. Text before the report (a kernel's) is passed over."""
    found = _REPORT.search(line)
    if found is None:
        return None
    count, verified, bad, generation, passes, index = (int(text or 0) for text in found.groups())
    return Report(at, count, verified, bad, generation, passes, index)


@dataclass(slots=True)
class History:
    """All that a guest has said so far; bytes are fed as they arrive.

    ``reports`` in order; ``boots`` counts starts; ``faults`` are findings in words: a gap or a step back of the
    counter, a bad page, a second boot. A line is taken when its newline has arrived.
    """

    reports: list[Report] = field(default_factory=list)
    boots: int = 0
    faults: list[str] = field(default_factory=list)
    other: list[str] = field(default_factory=list)
    _rest: bytes = b""

    def feed(self, data: bytes, at: float) -> None:
        """Take ``data``, which arrived at ``at``."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._line(line.decode("utf-8", "replace").rstrip("\r"), at)

    def _line(self, line: str, at: float) -> None:
        report = parse(line, at)
        if report is not None:
            self._report(report)
            return
        if _BOOT.search(line):
            self.boots += 1
            if self.boots > 1:
                self.faults.append(f"the guest booted again: {line}")
        elif _BAD.search(line):
            self.faults.append(line)
        self.other.append(line)

    def _report(self, report: Report) -> None:
        last = self.reports[-1] if self.reports else None
        expected = last.count + 1 if last else report.count
        if report.count > expected:
            self.faults.append(f"a gap in the counter: {report.count} came after {expected - 1}")
        elif report.count < expected:
            self.faults.append(f"a step back of the counter: {report.count} came after {expected - 1}")
        if report.bad > (last.bad if last else 0):
            self.faults.append(f"bad memory: {report.bad} pages at count {report.count}")
        if last and report.passes < last.passes:
            self.faults.append(f"a step back of the passes: {report.passes} came after {last.passes}")
        self.reports.append(report)

    @property
    def last(self) -> Report | None:
        """The latest report."""
        return self.reports[-1] if self.reports else None

    def check(self) -> None:
        """Raise ``GuestFault`` with everything that is wrong; return quietly when nothing is."""
        if self.faults:
            raise GuestFault("; ".join(self.faults[:10]))


def longest_silence(reports: Sequence[Report], since: float = float("-inf")) -> Silence:
    """The longest time between two reports that follow each other, of those that arrived after ``since``.

    The wait between the last report before ``since`` and the first after it counts as well.
    """
    worst = Silence(0.0, 0, 0)
    for before, after in pairwise(reports):
        if after.at > since and after.at - before.at > worst.seconds:
            worst = Silence(after.at - before.at, before.count, after.count)
    return worst
