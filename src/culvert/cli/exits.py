"""Exit codes: what a script may rely on."""

from __future__ import annotations

from enum import IntEnum


class Exit(IntEnum):
    """How the command ended. After ``migrate`` the code says where the guest is."""

    OK = 0
    FAILED = 1
    USAGE = 2
    UNREACHABLE = 3
    CANCELLED = 4
    UNKNOWN = 5
    NOT_RUNNING = 6


MEANINGS: dict[Exit, str] = {
    Exit.OK: "done; after migrate: the guest is at the destination",
    Exit.FAILED: "failed; after migrate: the guest is where it was, at the source",
    Exit.USAGE: "the command line is wrong; nothing was done",
    Exit.UNREACHABLE: "the daemon cannot be reached; nothing was done",
    Exit.CANCELLED: "cancelled; after migrate: the guest is where it was, at the source",
    Exit.UNKNOWN: "nobody who was asked knows where the guest is now; the last words say what is known",
    Exit.NOT_RUNNING: "the migration has failed and the guest runs on neither side (it was shut off, or has crashed)",
}


def table() -> str:
    """The codes for the help text; ``\\b`` keeps click from filling the lines."""
    return "\n".join(["\b", "Exit codes:", *(f"  {code.value}  {meaning}" for code, meaning in MEANINGS.items())])
