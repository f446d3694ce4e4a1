"""What a guest that stands still at its source waits for, in words; pure."""

from __future__ import annotations

from culvert.migration.handover.machine_source import State
from culvert.migration.journal.history import Begun

WAITING = (State.ASKING, State.UNDECIDED, State.POSTCOPY_FAILED, State.RETURNED)
"""In these the destination, or an operator, has the word."""


def words(begun: Begun, state: State, obstacle: str, hung: str = "") -> str:
    """What is waited for in ``state``, and with ``obstacle`` why it has not come; empty while nothing is.

    ``hung``: what QEMU here has not answered (``Case.hung``).
    """
    if hung and state is State.SWITCHING:
        told = f"; {begun.peer or 'the destination'} says of it: {obstacle}" if obstacle else ""
        return (
            f"waiting for the guest's QEMU here, which lives and does not answer ({hung}): whether it has gone over "
            f"to post-copy is not known, so the guest may neither be resumed here nor started there{told}"
        )
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
