"""How the command ends: an exit code for every verdict."""

from __future__ import annotations

import pytest

from culvert.cli import ending
from culvert.cli.exits import Exit
from culvert.client import Location, Result, Verdict


@pytest.mark.parametrize(
    ("result", "location", "code"),
    [
        (Result.COMPLETED, Location.DESTINATION, Exit.OK),
        (Result.COMPLETED, Location.NONE, Exit.NOT_RUNNING),
        (Result.FAILED, Location.SOURCE, Exit.FAILED),
        (Result.FAILED, Location.NONE, Exit.NOT_RUNNING),
        (Result.CANCELLED, Location.SOURCE, Exit.CANCELLED),
        (Result.CANCELLED, Location.NONE, Exit.NOT_RUNNING),
        (Result.UNKNOWN, Location.SOURCE, Exit.UNKNOWN),
        (Result.UNKNOWN, Location.BOTH, Exit.UNKNOWN),
        (Result.UNKNOWN, Location.UNKNOWN, Exit.UNKNOWN),
    ],
)
def test_the_code_says_where_the_guest_is(result: Result, location: Location, code: Exit) -> None:
    ended = ending.of(Verdict(result, location, "words"))
    assert (ended.exit, ended.result, ended.location, ended.words) == (code, result, location, "words")


def test_one_that_may_be_going_on_says_what_to_look_at() -> None:
    verdict = Verdict(Result.UNKNOWN, Location.SOURCE, "it may be going on", going_on=True)
    assert ending.of(verdict).words == "it may be going on: see 'culvert job'"


@pytest.mark.parametrize(
    ("code", "result"),
    [
        (Exit.FAILED, Result.FAILED),
        (Exit.UNREACHABLE, Result.FAILED),
        (Exit.CANCELLED, Result.CANCELLED),
    ],
)
def test_nothing_was_begun(code: Exit, result: Result) -> None:
    ended = ending.not_begun(code, "no daemon")
    assert (ended.exit, ended.result, ended.location) == (code, result, Location.UNKNOWN)
    assert ended.words == "error: no daemon; nothing was done: the guest is where and as it was"
