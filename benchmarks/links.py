"""Roads that a worst case goes over: how fast, and how large the guest is that is moved over it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Link:
    """``mbit``: Mbit/s in each direction. ``share``: of the run's memory, so that an idle guest takes a few seconds
    everywhere, and its working set is more than a link takes within QEMU's limit on downtime."""

    name: str
    what: str
    mbit: int
    share: float


LINKS = (
    Link("10g", "10 Gbit/s, or what the machine gives", 10_000, 6),
    Link("1g", "1 Gbit/s", 1_000, 4),
    Link("100m", "100 Mbit/s", 100, 1),
)
