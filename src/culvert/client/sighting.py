"""What one side says of a guest, as a value."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

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
