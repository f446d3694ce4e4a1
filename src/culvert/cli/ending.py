"""How ``culvert migrate`` ends: a verdict, with the exit code for it."""

from __future__ import annotations

from dataclasses import dataclass

from culvert.cli.exits import Exit
from culvert.client import Location, Result, Verdict


@dataclass(frozen=True, slots=True)
class LastWords:
    """The last words, as they are shown, and the exit code."""

    exit: Exit
    result: Result
    location: Location
    words: str


_CODES = {
    Result.COMPLETED: Exit.OK,
    Result.FAILED: Exit.FAILED,
    Result.CANCELLED: Exit.CANCELLED,
    Result.UNKNOWN: Exit.UNKNOWN,
}


def of(verdict: Verdict) -> LastWords:
    """The ending of a migration that was begun."""
    code = Exit.NOT_RUNNING if verdict.location is Location.NONE else _CODES[verdict.result]
    words = f"{verdict.words}: see 'culvert job'" if verdict.going_on else verdict.words
    return LastWords(code, verdict.result, verdict.location, words)


def not_begun(code: Exit, error: str) -> LastWords:
    """The ending when nothing has been asked of the daemon."""
    result = Result.CANCELLED if code is Exit.CANCELLED else Result.FAILED
    words = f"error: {error}; nothing was done: the guest is where and as it was"
    return LastWords(code, result, Location.UNKNOWN, words)
