"""The last words: for everything two sides can say, one result and one place."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from culvert.client.sighting import Place, Sighting, state_words
from culvert.client.verdict import Facts, Location, NotArrived, Result, decide

RUNNING = Sighting(Place.ACTIVE, "running", running=True)
PAUSED = Sighting(Place.ACTIVE, "paused (migration)")
PAUSED_BY_USER = Sighting(Place.ACTIVE, "paused (user)")
OFF = Sighting(Place.INACTIVE, "shut off")
MOVED_OFF = Sighting(Place.INACTIVE, "shut off (migrated)")
ABSENT = Sighting(Place.ABSENT)
UNREACHED = Sighting(Place.UNKNOWN, why="no route")


def facts(here: Sighting, there: Sighting, error: str | None = None, **rest: object) -> Facts:
    made = Facts("g", "A", "B", here, there, error=error)
    return replace(made, **rest)  # type: ignore[arg-type]  # names and types are Facts' own, in the rows below


# here, there, how the call ended, cancelled → result, location, a piece of the words
ROWS = [
    # It went well.
    (ABSENT, RUNNING, None, False, "completed", "destination", "guest 'g' is running at B"),
    (MOVED_OFF, RUNNING, None, False, "completed", "destination", "is running at B"),
    (ABSENT, PAUSED_BY_USER, None, False, "completed", "destination", "is paused (user) at B"),
    (MOVED_OFF, UNREACHED, None, False, "completed", "destination", "says the source's daemon"),
    (UNREACHED, RUNNING, None, False, "completed", "destination", "A could not be asked (no route)"),
    (PAUSED, RUNNING, None, False, "completed", "destination", "is running at B"),  # confirm is under way
    (ABSENT, OFF, None, False, "completed", "none", "does not run any more"),
    # It failed, and the guest stayed.
    (RUNNING, ABSENT, "no", False, "failed", "source", "failed: no\nguest 'g' is running at A"),
    (RUNNING, UNREACHED, "no", False, "failed", "source", "is running at A"),
    (RUNNING, OFF, "no", False, "failed", "source", "is running at A"),
    (RUNNING, PAUSED, "no", False, "failed", "source", "is running at A"),  # incoming QEMU lingers
    (PAUSED_BY_USER, ABSENT, "no", False, "failed", "source", "is paused (user) at A"),
    (PAUSED_BY_USER, UNREACHED, "no", False, "failed", "source", "is paused (user) at A"),
    (RUNNING, ABSENT, "no", True, "cancelled", "source", "cancelled: no\nguest 'g' is running at A"),
    # It failed, or was cancelled, too late.
    (ABSENT, RUNNING, "no", True, "completed", "destination", "although the call ended with: no"),
    # Nobody knows.
    (PAUSED, UNREACHED, "no", False, "unknown", "source", "until the daemon knows"),
    (UNREACHED, UNREACHED, "no", False, "unknown", "unknown", "not known where guest 'g' is"),
    (UNREACHED, ABSENT, "no", False, "unknown", "unknown", "destination B: there is no such domain"),
    (UNREACHED, PAUSED, "no", False, "unknown", "unknown", "source A: could not be asked (no route)"),
    (OFF, UNREACHED, "no", False, "unknown", "unknown", "source A: it is shut off"),
    (RUNNING, RUNNING, "no", False, "unknown", "both", "BOTH sides"),
    (PAUSED, PAUSED, "no", False, "unknown", "both", "BOTH sides"),
    (RUNNING, ABSENT, None, False, "unknown", "source", "although the daemon says that it has moved"),
    # It runs nowhere.
    (OFF, ABSENT, "no", False, "failed", "none", "running nowhere: source A: it is shut off"),
    (ABSENT, ABSENT, "no", False, "failed", "none", "there is no such domain"),
]


@pytest.mark.parametrize(("here", "there", "error", "cancelled", "result", "location", "words"), ROWS)
def test_last_words(
    *,
    here: Sighting,
    there: Sighting,
    error: str | None,
    cancelled: bool,
    result: str,
    location: str,
    words: str,
) -> None:
    verdict = decide(facts(here, there, error, cancelled=cancelled))
    assert (verdict.result, verdict.location) == (result, location)
    assert words in verdict.words


def test_an_end_that_was_not_seen_is_not_called_one() -> None:
    verdict = decide(facts(RUNNING, ABSENT, left=True, cancelled=True))
    assert (verdict.result, verdict.going_on) == (Result.UNKNOWN, True)
    assert verdict.words.endswith("may be going on")
    lost = decide(facts(RUNNING, ABSENT, "connection lost", left=True))
    assert lost.result is Result.UNKNOWN
    assert "connection lost" in lost.words


def test_a_new_name_is_told_with_the_old_one() -> None:
    assert "guest 'h' (was 'g') is running at B" in decide(facts(ABSENT, RUNNING, destination_name="h")).words


@pytest.mark.parametrize(
    ("here", "there", "error", "result", "words"),
    [
        (OFF, OFF, None, Result.COMPLETED, "domain 'g' is defined at B"),
        (ABSENT, UNREACHED, None, Result.COMPLETED, "domain 'g' is defined at B"),
        (OFF, ABSENT, "no", Result.FAILED, "domain 'g' is defined at A as before, shut off"),
        (OFF, UNREACHED, "no", Result.FAILED, "domain 'g' is defined at A as before"),
    ],
)
def test_offline(here: Sighting, there: Sighting, error: str | None, result: Result, words: str) -> None:
    verdict = decide(facts(here, there, error, offline=True))
    assert verdict.result is result
    assert verdict.arrived is (error is None)
    assert words in verdict.words


def test_one_daemon_under_two_addresses_is_not_two_copies() -> None:
    seen = replace(RUNNING, host="h1")
    assert decide(facts(seen, seen, "same host")).result is Result.FAILED
    assert decide(facts(seen, replace(RUNNING, host="h2"), "no")).location == "both"


@pytest.mark.parametrize(
    ("state", "reason", "words"),
    [
        (1, 1, "running (booted)"),
        (1, 0, "running"),
        (3, 2, "paused (migration)"),
        (5, 4, "shut off (migrated)"),
        (1, 6, "running (migration canceled)"),
        (1, 99, "running"),
        (42, 0, "state 42"),
    ],
)
def test_state_words(state: int, reason: int, words: str) -> None:
    assert state_words(state, reason) == words


sightings = st.sampled_from([RUNNING, PAUSED, PAUSED_BY_USER, OFF, MOVED_OFF, ABSENT, UNREACHED])


all_facts = st.builds(
    Facts,
    name=st.just("g"),
    source=st.just("A"),
    destination=st.just("B"),
    at_source=sightings,
    at_destination=sightings,
    destination_name=st.none() | st.just("h"),
    error=st.none() | st.just("no"),
)


def test_what_is_raised_says_the_words_and_has_the_verdict() -> None:
    verdict = decide(facts(RUNNING, ABSENT, "no"))
    raised = NotArrived(verdict)
    assert (str(raised), raised.verdict) == (verdict.words, verdict)


@given(all_facts)
def test_there_are_always_last_words_and_they_are_never_too_sure(known: Facts) -> None:
    here, there = known.at_source, known.at_destination
    verdict = decide(known)
    assert verdict.words
    if verdict.result in (Result.FAILED, Result.CANCELLED) and verdict.location is not Location.NONE:
        assert here.place is not Place.UNKNOWN  # the guest was seen where it is said to be
        assert not there.running
    if verdict.arrived:
        assert not here.running
        assert there.place is Place.ACTIVE or (known.error is None and not known.left)
