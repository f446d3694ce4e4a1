"""What the two copies of a guest have said, each into a file of its own: whether ever both ran; pure but for reading.

A guest counts its lines. A migration carries the counter with it, so a number that was printed twice was printed by
two copies, or by one that went on after a newer one had run; whenever that was, and whatever the daemons say of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from guests import report


@dataclass(frozen=True, slots=True)
class Voice:
    """What one host's copy has said: its reports in their order, and how often it booted."""

    reports: tuple[report.Report, ...] = ()
    boots: int = 0

    @property
    def last(self) -> report.Report | None:
        """The latest report."""
        return self.reports[-1] if self.reports else None

    @property
    def count(self) -> int:
        """The highest number printed; 0 for none."""
        return max((each.count for each in self.reports), default=0)


def heard(text: str) -> Voice:
    """The voice in ``text``. A line that was cut in two by the hand-over counts for neither side."""
    lines = text.split("\n")[:-1]
    found = (report.parse(line, 0.0) for line in lines)
    return Voice(tuple(each for each in found if each), sum("culvert-guest boot" in line for line in lines))


def read(path: Path) -> Voice:
    """The voice in a file; a file that is not there yet has said nothing."""
    try:
        return heard(path.read_text("utf-8", "replace"))
    except FileNotFoundError:
        return Voice()


def faults(voices: Iterable[Voice], migrations: int) -> list[str]:
    """What is wrong with what was said, ``migrations`` hand-overs included; empty when nothing is.

    The first word tells which: "twice" or "memory".
    """
    every = list(voices)
    counts = Counter(each.count for voice in every for each in voice.reports)
    found = []
    if again := sorted(count for count, times in counts.items() if times > 1):
        found.append(f"twice: {len(again)} lines, from {again[0]} to {again[-1]}")
    if sum(voice.boots for voice in every) > 1:
        found.append("twice: it booted again")
    if bad := [each for voice in every for each in voice.reports if each.bad]:
        found.append(f"memory: {bad[0].bad} bad pages at {bad[0].count}")
    if counts:
        gaps = max(counts) - min(counts) + 1 - len(counts)
        if gaps > migrations:
            found.append(f"memory: {gaps} lines are missing")
    return found
