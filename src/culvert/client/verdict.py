"""The last words of a migration: where the guest is now, made from what both sides say.

Pure: facts in, a verdict out. What the call answered is the weakest of the facts; where the guest really is
can be seen, and what is seen decides.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum

from culvert.client.sighting import Place, Sighting
from culvert.ground import errors


class Result(StrEnum):
    """How the migration ended."""

    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    UNKNOWN = "unknown"


class Location(StrEnum):
    """Where the guest is."""

    SOURCE = "source"
    DESTINATION = "destination"
    NONE = "none"
    BOTH = "both"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything that is known when the migration is over.

    ``error``: how the call ended, None for well; ``cancelled``: whether the user or a deadline asked for that;
    ``left``: the end was not seen, because the user did not wait or the connection was lost.
    """

    name: str
    source: str
    destination: str
    at_source: Sighting
    at_destination: Sighting
    destination_name: str | None = None
    error: str | None = None
    cancelled: bool = False
    left: bool = False
    offline: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a migration ended and where its guest is now; ``words`` say both, the last line where the guest is.

    ``going_on``: the end was not seen, the guest is at the source, and the migration may be going on there.
    """

    result: Result
    location: Location
    words: str
    going_on: bool = False

    @property
    def arrived(self) -> bool:
        """Whether the guest, or with an offline migration the definition, is at the destination."""
        return (self.result, self.location) == (Result.COMPLETED, Location.DESTINATION)


class NotArrived(errors.OperationFailed):
    """The guest is not at the destination, or nobody knows that it is: ``verdict`` says what is known."""

    def __init__(self, verdict: Verdict) -> None:
        super().__init__(verdict.words)
        self.verdict = verdict


def decide(facts: Facts) -> Verdict:
    """Where the guest is, and how the migration ended."""
    if facts.at_source.host and facts.at_source.host == facts.at_destination.host:
        # One daemon under two addresses: what it has is at the source, for it refuses to migrate to itself.
        facts = replace(facts, at_destination=Sighting(Place.ABSENT))
    return next(words(facts) for applies, words in _RULES if applies(facts))


def _at_destination(facts: Facts) -> Verdict:
    guest = f"guest '{facts.destination_name or facts.name}'"
    if facts.destination_name and facts.destination_name != facts.name:
        guest += f" (was '{facts.name}')"
    words = f"{guest} is {facts.at_destination.state} at {facts.destination}"
    if facts.at_source.place is Place.UNKNOWN:
        words += f"; {facts.source} could not be asked ({facts.at_source.why})"
    if facts.error is not None:
        words = f"{words}; it has moved although the call ended with: {facts.error}"
    return Verdict(Result.COMPLETED, Location.DESTINATION, words)


def _at_source(facts: Facts) -> Verdict:
    words = f"guest '{facts.name}' is {facts.at_source.state} at {facts.source}"
    if facts.left:
        lost = "" if facts.error is None else f" ({facts.error})"
        words += f"; the end of the migration was not seen{lost} and it may be going on"
        return Verdict(Result.UNKNOWN, Location.SOURCE, words, going_on=True)
    if facts.error is None:
        return Verdict(Result.UNKNOWN, Location.SOURCE, f"{words}, although the daemon says that it has moved")
    if facts.at_source.state == "paused (migration)" and facts.at_destination.place is Place.UNKNOWN:
        words += f" until the daemon knows what became of it at {facts.destination}"
        return Verdict(Result.UNKNOWN, Location.SOURCE, _because(facts, words))
    return Verdict(_result(facts), Location.SOURCE, _because(facts, words))


def _at_both(facts: Facts) -> Verdict:
    words = (
        f"guest '{facts.name}' has a process on BOTH sides: {_said(facts)}. "
        "If this lasts, look at both before you touch either"
    )
    return Verdict(Result.UNKNOWN, Location.BOTH, _because(facts, words))


def _told(facts: Facts) -> Verdict:
    """The call ended well, and nobody shows a process: offline, or the destination cannot be asked from here."""
    if facts.offline:
        words = f"domain '{facts.destination_name or facts.name}' is defined at {facts.destination}"
        return Verdict(Result.COMPLETED, Location.DESTINATION, words)
    if facts.at_destination.place is Place.UNKNOWN:
        words = (
            f"guest '{facts.destination_name or facts.name}' is at {facts.destination}, says the source's daemon; "
            f"the destination could not be asked from here ({facts.at_destination.why})"
        )
        return Verdict(Result.COMPLETED, Location.DESTINATION, words)
    words = f"guest '{facts.name}' has moved and does not run any more: {_said(facts)}"
    return Verdict(Result.COMPLETED, Location.NONE, words)


def _offline_stayed(facts: Facts) -> Verdict:
    words = f"domain '{facts.name}' is defined at {facts.source} as before, {facts.at_source.state}"
    return Verdict(_result(facts), Location.SOURCE, _because(facts, words))


def _nowhere(facts: Facts) -> Verdict:
    words = f"guest '{facts.name}' is running nowhere: {_said(facts)}"
    return Verdict(_result(facts), Location.NONE, _because(facts, words))


def _unknown(facts: Facts) -> Verdict:
    words = f"it is not known where guest '{facts.name}' is: {_said(facts)}"
    return Verdict(Result.UNKNOWN, Location.UNKNOWN, _because(facts, words))


def _said(facts: Facts) -> str:
    words = {
        Place.ACTIVE: "it is {state}",
        Place.INACTIVE: "it is {state}",
        Place.ABSENT: "there is no such domain",
        Place.UNKNOWN: "could not be asked ({why})",
    }
    both = [("source", facts.source, facts.at_source), ("destination", facts.destination, facts.at_destination)]
    return "; ".join(
        f"{side} {uri}: {words[seen.place].format(state=seen.state, why=seen.why)}" for side, uri, seen in both
    )


def _result(facts: Facts) -> Result:
    return Result.CANCELLED if facts.cancelled else Result.FAILED


def _because(facts: Facts, words: str) -> str:
    if facts.error is None:
        return words
    return f"migration of '{facts.name}' {_result(facts)}: {facts.error}\n{words}"


def _places(facts: Facts) -> tuple[Place, Place]:
    return facts.at_source.place, facts.at_destination.place


def _running(facts: Facts) -> tuple[bool, bool]:
    return facts.at_source.running, facts.at_destination.running


def _waits_there(facts: Facts) -> bool:
    """Whether what the destination has may be no more than an incoming QEMU: a good end would say otherwise."""
    at_destination = facts.at_destination
    is_paused = at_destination.place is Place.ACTIVE and not at_destination.running
    return is_paused and (facts.left or facts.error is not None)


_BOTH = (Place.ACTIVE, Place.ACTIVE)

_Rule = tuple[Callable[[Facts], bool], Callable[[Facts], Verdict]]

# The first that applies decides. An incoming QEMU that still waits, or a source that waits to be told to go, is not
# a second copy: where both sides have a process and one of them runs, the guest is there.
_RULES: tuple[_Rule, ...] = (
    (lambda facts: _places(facts) == _BOTH and _running(facts) == (True, False), _at_source),
    (lambda facts: _places(facts) == _BOTH and _running(facts) == (False, True), _at_destination),
    (lambda facts: _places(facts) == _BOTH, _at_both),
    (lambda facts: _waits_there(facts) and facts.at_source.place is Place.UNKNOWN, _unknown),
    (lambda facts: facts.at_destination.place is Place.ACTIVE, _at_destination),
    (lambda facts: facts.at_source.place is Place.ACTIVE, _at_source),
    (lambda facts: facts.error is None and not facts.left, _told),
    (lambda facts: facts.offline and facts.at_source.place is Place.INACTIVE and not facts.left, _offline_stayed),
    (lambda facts: Place.UNKNOWN in _places(facts), _unknown),
    (lambda facts: True, _nowhere),
)
