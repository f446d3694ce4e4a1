"""What a guest that stands still at its source waits for, in words; pure."""

from __future__ import annotations

from culvert.migration.handover.machine_source import State
from culvert.migration.journal.history import Begun

WAITING = (State.ASKING, State.UNDECIDED, State.POSTCOPY_FAILED, State.RETURNED)
"""In these the destination, or an operator, has the word."""


def words(begun: Begun, state: State, obstacle: str) -> str:
    """What is waited for in ``state``, and with ``obstacle`` why it has not come; empty while nothing is."""
    if state not in WAITING:
        return ""
    where = begun.peer or "the destination"
    text = f"waiting for {where} to say whether the guest runs there"
    if state is State.RETURNED:
        text = f"waiting for {where} to let go of the guest, which runs here"
    text += f": {obstacle}" if obstacle else ""
    if state is State.UNDECIDED:
        text += f"; 'culvert resolve {begun.name}' decides in its place"
    return text
