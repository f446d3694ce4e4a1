"""What the journal keeps of a migration, as values; pure.

A migration is one record on each side. Its steps are the journal proper: the last one is where it stands, and what a
daemon that was killed goes by. The rest is for people: when, how fast, by which way, what was decided, why it failed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from culvert.migration.handover.machine import OVER, Step


class Direction(Enum):
    """Which side this host is."""

    OUT = "out"
    IN = "in"


@dataclass(frozen=True, slots=True)
class Key:
    """Names one record: ``attempt`` is the same on both sides, and never used again."""

    attempt: str
    direction: Direction

    def __str__(self) -> str:
        return f"{self.attempt} {self.direction.value}"


@dataclass(frozen=True, slots=True)
class Begun:
    """What is known of a migration when it begins.

    ``peer``: at the source the URI of the destination, at the destination the hostname of the source. ``secret``: at
    the source the grant, at the destination its seal (``grant``). ``was_running``: whether the guest's CPUs ran.
    """

    key: Key
    name: str
    uuid: str
    peer: str = ""
    was_running: bool = True
    stock: bool = False
    """The peer is no culvert."""
    secret: str = ""
    flags: int = 0
    """``MigrateFlag`` that were asked for."""


@dataclass(frozen=True, slots=True)
class EntryLine:
    """One step, or one note where ``step`` is ``None``. ``at``: seconds since 1970."""

    at: float
    step: Step | None
    text: str = ""


@dataclass(frozen=True, slots=True)
class Entry:
    """The whole record. ``ended``: seconds since 1970, ``None`` before its end; ``figures``: numbers by name."""

    number: int
    begun: Begun
    began: float
    step: Step
    ended: float | None = None
    route: str = ""
    cause: str = ""
    figures: Mapping[str, int] = field(default_factory=dict)
    lines: tuple[EntryLine, ...] = ()

    @property
    def is_over(self) -> bool:
        """Nothing more will be done about it."""
        return self.step in OVER

    def as_json(self) -> dict[str, Any]:
        """For ``--json`` and for the wire. The secret stays here."""
        return {
            "id": self.number,
            "attempt": self.begun.key.attempt,
            "direction": self.begun.key.direction.value,
            "domain": self.begun.name,
            "uuid": self.begun.uuid,
            "peer": self.begun.peer,
            "began": self.began,
            "ended": self.ended,
            "step": self.step.value,
            "over": self.is_over,
            "route": self.route,
            "cause": self.cause,
            "figures": dict(self.figures),
            "lines": [
                {"at": line.at, "step": line.step.value if line.step else None, "text": line.text}
                for line in self.lines
            ],
        }


@dataclass(frozen=True, slots=True)
class Retention:
    """How long what is over is kept. 0: no limit of that kind."""

    records: int = 10_000
    days: int = 365


@dataclass(frozen=True, slots=True)
class Summary:
    """What is added to a record at its end."""

    route: str = ""
    cause: str = ""
    figures: Mapping[str, int] = field(default_factory=dict)


DAY = 86_400.0  # seconds


def figures_to_text(figures: Mapping[str, int]) -> str:
    """For the database."""
    return json.dumps(dict(figures), sort_keys=True)


def figures_from_text(text: str) -> dict[str, int]:
    """What ``figures_to_text`` has made. Raises ``ValueError`` for anything else."""
    found = json.loads(text)
    if not isinstance(found, dict) or not all(isinstance(value, int) for value in found.values()):
        raise ValueError(f"figures are {text!r:.100}")
    return found
