"""The last words of a migration: where the guest is now, made from what both sides say.

Pure: facts in, words and exit code out. What the call answered is the weakest of the facts; where the guest really is
can be seen, and what is seen decides.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum

from culvert.cli.exits import Exit
from culvert.protocol.constants_state import REASONS, DomainState


class Place(Enum):
    """What one side says of the guest."""

    ACTIVE = "active"  # it has a QEMU process there, running or paused
    INACTIVE = "inactive"  # it is defined there, and shut off
    ABSENT = "absent"  # that side does not know it
    UNKNOWN = "unknown"  # that side could not be asked


@dataclass(frozen=True, slots=True)
class Sighting:
    """One side's word.

    ``state`` in words ("running", "paused (migration)"); ``why`` it could not be asked; ``host``: the daemon's UUID,
    where it tells it.
    """

    place: Place
    state: str = ""
    why: str = ""
    running: bool = False
    host: str = ""


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
    """``result``: completed, failed, cancelled, unknown; ``location``: source, destination, none, both, unknown."""

    exit: Exit
    result: str
    location: str
    words: str


def state_words(state: int, reason: int) -> str:
    """A state and its reason as ``virsh domstate --reason`` would put them."""
    if state not in list(DomainState):
        return f"state {state}"
    found = DomainState(state)
    reasons = REASONS[found]
    word = {DomainState.SHUTOFF: "shut off", DomainState.SHUTDOWN: "being shut down"}.get(found, found.name.lower())
    if reason not in list(reasons) or reason == 0:
        return word
    return f"{word} ({reasons(reason).name.lower().replace('_', ' ')})"


def decide(facts: Facts) -> Verdict:
    """Where the guest is, and how the command ends."""
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
    return Verdict(Exit.OK, "completed", "destination", words)


def _at_source(facts: Facts) -> Verdict:
    words = f"guest '{facts.name}' is {facts.at_source.state} at {facts.source}"
    if facts.left:
        lost = "" if facts.error is None else f" ({facts.error})"
        words += f"; the end of the migration was not seen{lost} and it may be going on: see 'culvert job'"
        return Verdict(Exit.UNKNOWN, "unknown", "source", words)
    if facts.error is None:
        return Verdict(Exit.UNKNOWN, "unknown", "source", f"{words}, although the daemon says that it has moved")
    if facts.at_source.state == "paused (migration)" and facts.at_destination.place is Place.UNKNOWN:
        words += f" until the daemon knows what became of it at {facts.destination}"
        return Verdict(Exit.UNKNOWN, "unknown", "source", _because(facts, words))
    return Verdict(_stayed(facts), _result(facts), "source", _because(facts, words))


def _at_both(facts: Facts) -> Verdict:
    words = (
        f"guest '{facts.name}' has a process on BOTH sides: {_said(facts)}. "
        "If this lasts, look at both before you touch either"
    )
    return Verdict(Exit.UNKNOWN, "unknown", "both", _because(facts, words))


def _told(facts: Facts) -> Verdict:
    """The call ended well, and nobody shows a process: offline, or the destination cannot be asked from here."""
    if facts.offline:
        words = f"domain '{facts.destination_name or facts.name}' is defined at {facts.destination}"
        return Verdict(Exit.OK, "completed", "destination", words)
    if facts.at_destination.place is Place.UNKNOWN:
        words = (
            f"guest '{facts.destination_name or facts.name}' is at {facts.destination}, says the source's daemon; "
            f"the destination could not be asked from here ({facts.at_destination.why})"
        )
        return Verdict(Exit.OK, "completed", "destination", words)
    words = f"guest '{facts.name}' has moved and does not run any more: {_said(facts)}"
    return Verdict(Exit.NOT_RUNNING, "completed", "none", words)


def _offline_stayed(facts: Facts) -> Verdict:
    words = f"domain '{facts.name}' is defined at {facts.source} as before, {facts.at_source.state}"
    return Verdict(_stayed(facts), _result(facts), "source", _because(facts, words))


def _nowhere(facts: Facts) -> Verdict:
    words = f"guest '{facts.name}' is running nowhere: {_said(facts)}"
    return Verdict(Exit.NOT_RUNNING, _result(facts), "none", _because(facts, words))


def _unknown(facts: Facts) -> Verdict:
    words = f"it is not known where guest '{facts.name}' is: {_said(facts)}"
    return Verdict(Exit.UNKNOWN, "unknown", "unknown", _because(facts, words))


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


def _stayed(facts: Facts) -> Exit:
    return Exit.CANCELLED if facts.cancelled else Exit.FAILED


def _result(facts: Facts) -> str:
    return "cancelled" if facts.cancelled else "failed"


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
