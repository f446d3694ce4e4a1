"""What is seen of a guest from outside, and whether that is an end; pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Standing(Enum):
    """Where it has come to."""

    SOURCE = "it runs at the source alone"
    DESTINATION = "it runs at the destination alone"
    NOWHERE = "no QEMU is left of it"
    WAITS = "it stands still at the source"
    BOTH = "both say that it runs"
    HALF = "it runs at one host, and a copy stands still at the other"
    HALVED = "one half of a broken post-copy is left"
    MOVING = "not settled"


@dataclass(frozen=True, slots=True)
class Seen:
    """One host's word. ``state`` as `virsh domstate` has it, empty for no such domain; ``job``: what occupies it."""

    state: str = ""
    reason: str = ""
    job: str = ""
    qemus: int = 0
    answers: bool = True

    @property
    def is_free(self) -> bool:
        """It answers, and nothing is under way."""
        return self.answers and not self.job

    def __str__(self) -> str:
        if not self.answers:
            return "no answer"
        job = f", {self.job}" if self.job else ""
        return f"{self.state or 'none'} ({self.reason}), {self.qemus} QEMU{job}"


@dataclass(frozen=True, slots=True)
class Sight:
    """Both hosts at one moment. ``ended``: the one who asked for the migration has got an answer."""

    source: Seen
    destination: Seen
    ended: bool

    def __str__(self) -> str:
        end = "" if self.ended else "; virsh still waits"
        return f"source: {self.source}; destination: {self.destination}{end}"


POSTCOPY_FAILED = "post-copy failed"


def standing(sight: Sight) -> Standing:
    """What it has come to; MOVING as long as anything may change by itself."""
    source, destination = sight.source, sight.destination
    key = (_short(source), _short(destination))
    if key == ("running", "running"):
        return Standing.BOTH
    failed = [seen.qemus > 0 and seen.reason == POSTCOPY_FAILED for seen in (source, destination)]
    alone = sum(failed) == 1 and not (source.qemus and destination.qemus) and source.answers and destination.answers
    # Where the source's QEMU has died, what runs there stands still as soon as it needs what died here.
    if alone or (not source.qemus and "it is lost" in source.job):
        return Standing.HALVED
    if all(failed):
        return Standing.WAITS
    if sight.ended and source.is_free and destination.is_free:
        return _FREE.get(key, Standing.MOVING)
    if key == ("paused", "") and source.answers and destination.answers and "waiting" in source.job:
        return Standing.WAITS
    return Standing.MOVING


def _short(seen: Seen) -> str:
    """Its state where there is a QEMU, else nothing."""
    return seen.state if seen.qemus else ""


_FREE = {
    ("", ""): Standing.NOWHERE,
    ("running", ""): Standing.SOURCE,
    ("", "running"): Standing.DESTINATION,
    ("paused", ""): Standing.WAITS,
    ("paused", "paused"): Standing.WAITS,
    ("running", "paused"): Standing.HALF,
    ("paused", "running"): Standing.HALF,
}
"""When nothing is under way any more: (source, destination) → what it has come to."""
