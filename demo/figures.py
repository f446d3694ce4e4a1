"""What the demonstration measures, as text for people and as JSON for programs. Pure."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

MIB = 1 << 20
GIB = 1 << 30


@dataclass(frozen=True, slots=True)
class Trip:
    """One migration.

    ``seconds`` from the client's start to its end; ``downtime_ms`` is the longest silence of the guest in that time,
    which contains its own pause between two lines; ``bytes`` QEMU sent; ``cpu_seconds`` both daemons took.
    """

    client: str
    source: str
    destination: str
    seconds: float
    downtime_ms: float
    bytes: int
    cpu_seconds: float

    def text(self) -> str:
        """One line for people."""
        return (
            f"{self.source} → {self.destination} by {self.client}: {self.seconds:.2f} s, downtime "
            f"{self.downtime_ms:.0f} ms, {self.bytes / MIB:.1f} MiB, daemons' processor time {self.cpu_seconds:.2f} s"
        )


@dataclass(frozen=True, slots=True)
class Outcome:
    """Everything: the trips, and what the guest's output shows over all of it."""

    trips: list[Trip]
    first_count: int
    last_count: int
    passes: int
    pages: int

    @property
    def bytes(self) -> int:
        """Bytes of all trips."""
        return sum(trip.bytes for trip in self.trips)

    @property
    def cpu_seconds_per_gib(self) -> float:
        """Both daemons' processor seconds for each GiB that QEMU sent; 0 when nothing was sent."""
        return sum(trip.cpu_seconds for trip in self.trips) / (self.bytes / GIB) if self.bytes else 0.0

    def text(self) -> str:
        """The summary for people."""
        lines = [
            *(trip.text() for trip in self.trips),
            f"counter: {self.first_count} to {self.last_count}, no gap, no step back",
            f"memory:  {self.pages} pages verified from inside {self.passes} times, none bad",
            f"total:   {sum(trip.seconds for trip in self.trips):.2f} s, longest downtime "
            f"{max(trip.downtime_ms for trip in self.trips):.0f} ms, {self.bytes / MIB:.1f} MiB, "
            f"{self.cpu_seconds_per_gib:.2f} daemon CPU seconds per GiB",
        ]
        return "\n".join(lines)

    def json(self) -> str:
        """The same as one line of JSON."""
        return json.dumps(
            {
                "result": "completed",
                "total_seconds": round(sum(trip.seconds for trip in self.trips), 3),
                "downtime_ms": round(max(trip.downtime_ms for trip in self.trips), 1),
                "bytes": self.bytes,
                "daemon_cpu_seconds_per_gib": round(self.cpu_seconds_per_gib, 3),
                "counter": {"first": self.first_count, "last": self.last_count, "gaps": 0, "steps_back": 0},
                "memory": {"pages": self.pages, "passes": self.passes, "bad": 0},
                "trips": [asdict(trip) for trip in self.trips],
            }
        )


def data_processed(rawstats: str) -> int | None:
    """``data_processed`` (else ``memory_processed``) of ``virsh domjobinfo --rawstats``, in bytes; None without it.

    The lines are ``name: value`` (virsh manual, domjobinfo).
    """
    values = dict(line.strip().split(": ", 1) for line in rawstats.splitlines() if ": " in line)
    for name in ("data_processed", "memory_processed"):
        if values.get(name, "").isdigit():
            return int(values[name])
    return None


def failure(error: str) -> str:
    """The last line when something went wrong."""
    return json.dumps({"result": "failed", "error": error})
