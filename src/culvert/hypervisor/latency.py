"""How long a guest in post-copy has waited for its pages, in few numbers; pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Latency:
    """Of the pages that had to be asked for: the average in nanoseconds, and how many took how long: the n-th of
    ``counts`` those of 2ⁿ to 2ⁿ⁺¹ microseconds (qapi/migration.json, postcopy-latency-dist)."""

    average: int
    counts: tuple[int, ...] = ()

    def figures(self) -> dict[str, int]:
        """For the history: nanoseconds; and microseconds within which half and 99 of 100 were there, at most."""
        told = {"postcopy_latency_ns": self.average}
        if any(self.counts):
            told |= {f"postcopy_latency_{share}_us": within(self.counts, share) for share in (50, 99)}
        return told


def within(counts: Sequence[int], share: int) -> int:
    """Microseconds in which ``share`` percent were there; 0 of nothing."""
    wanted, seen = sum(counts) * share, 0
    for bucket, count in enumerate(counts):
        seen += count * 100
        if seen >= wanted:
            return int(2 ** (bucket + 1))
    return 0
