"""The daemon's record of who did what, as people read it; it is a file of this host, which its owner may read."""

from __future__ import annotations

import json
import os
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from culvert.ground import errors

SYSTEM = Path("/var/log/culvert/audit.log")
ROTATED = 3
"""How many older files the daemon keeps, ``NAME.1`` the newest of them."""


@dataclass(frozen=True, slots=True)
class AuditLine:
    """One call: its ``text`` as it was written, and what is in it."""

    text: str
    told: dict[str, Any]

    def words(self) -> tuple[str, ...]:
        """Time, who, from where, call, guest, outcome with its error."""
        who = [name for name in self.told["who"] if name.startswith(("user:", "certificate:", "sasl:"))]
        error = f": {self.told['error']}" if "error" in self.told else ""
        return (
            *(str(self.told["time"]), ", ".join(who or self.told["who"]), f"{self.told['way']} {self.told['peer']}"),
            *(str(self.told["call"]), str(self.told["guest"]), f"{self.told['outcome']}{error}"),
        )


def own() -> Path:
    """Where the daemon of this user keeps it: the system's for root, that of the XDG directories for others."""
    if os.geteuid() == 0:
        return SYSTEM
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state"
    return Path(state) / "culvert" / "log" / SYSTEM.name


def read(path: Path, *, guest: str = "", who: str = "", outcome: str = "", limit: int = 50) -> list[AuditLine]:
    """The newest lines that are asked for, the newest last; empty words ask for all.

    What is no such line (the end of a file that a full disk has cut) is left out. Raises ``errors.InvalidArgument``
    where nothing can be read.
    """
    wanted: deque[AuditLine] = deque(maxlen=limit)
    for line in _lines(path):
        if (
            (not guest or guest in (line.told["guest"], line.told["uuid"]))
            and (not who or who in line.told["who"])
            and (not outcome or line.told["outcome"] == outcome)
        ):
            wanted.append(line)
    return list(wanted)


def _lines(path: Path) -> Iterator[AuditLine]:
    files = [path.with_name(f"{path.name}.{number}") for number in range(ROTATED, 0, -1)]
    for each in (*(file for file in files if file.exists()), path):
        try:
            with each.open(encoding="utf-8", errors="replace") as lines:
                for text in lines:
                    try:
                        told = json.loads(text)
                    except ValueError:
                        continue
                    if isinstance(told, dict) and {"time", "who", "way", "peer", "call", "outcome"} <= told.keys():
                        yield AuditLine(text.rstrip("\n"), {"guest": "", "uuid": "", **told})
        except OSError as err:
            raise errors.InvalidArgument(f"the record {each} cannot be read: {err.strerror}") from err
