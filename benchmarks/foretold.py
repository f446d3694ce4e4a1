"""What culvert says of the time a move will take, and what became of it.

A look at a job is what ``culvert job --json`` shows (``culvert.client.progress``).
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Event

from benchmarks.caller import Caller, CallFailed
from culvert.client.progress import Progress
from culvert.protocol import remote_job, shapes

PERIOD = 0.1  # seconds between looks
SECOND_ROUND = 2


@dataclass(frozen=True, slots=True)
class Look:
    """At ``at`` (``time.monotonic``) the job was in its ``round``, ``elapsed`` seconds old, and would take
    ``remaining`` more: ``None`` where it does not say."""

    at: float
    round: int
    elapsed: float
    remaining: float | None


def look_on(socket: Path, domain: str, over: Event) -> list[Look]:
    """A look every ``PERIOD`` until ``over``, at a daemon's UNIX socket; without those that the daemon refused."""
    looks = []
    with contextlib.suppress(CallFailed, OSError), Caller(socket) as caller:
        question = shapes.DomainFlagsArgs(caller.domain(domain), 0)
        while not over.wait(PERIOD):
            with contextlib.suppress(CallFailed):
                found = Progress.from_stats(caller.call(remote_job.DOMAIN_GET_JOB_STATS, question))
                if found is not None and found.elapsed_seconds is not None:
                    looks.append(
                        Look(time.monotonic(), found.iteration or 0, found.elapsed_seconds, found.remaining_seconds)
                    )
    return looks


def figures(looks: Sequence[Look], completed: float) -> dict[str, float]:
    """How well the total was foretold of a move that completed at ``completed``. Pure.

    ``predicted_s``: at the first look from the second round on that said anything; ``predicted_off``: how far the
    worst of all looks from there on was off, as a share of what it then took (``actual_s``). A guest that arrives
    without a second round is judged by the last look of its first. Nothing where nothing was said.
    """
    earlier = [look for look in looks if look.at < completed and look.remaining is not None]
    said = [look for look in earlier if look.round >= SECOND_ROUND] or earlier[-1:]
    if not said:
        return {}
    actual = completed - said[0].at + said[0].elapsed
    off = [abs(look.elapsed + (look.remaining or 0.0) - actual) / actual for look in said]
    return {
        "predicted_s": said[0].elapsed + (said[0].remaining or 0.0),
        "actual_s": actual,
        "predicted_off": max(off),
    }
