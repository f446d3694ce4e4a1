"""How a guest's copy at its source is shown from the switch to post-copy on; pure.

libvirt's two reasons, and what they mean to people: ``POSTCOPY``, the guest runs at the destination and gets its
pages from here; ``POSTCOPY_FAILED``, it waits for pages that have no way. That a daemon does not answer is neither:
what is waited for is told beside (``waiting``).
"""

from __future__ import annotations

from culvert.migration.handover.machine_source import State
from culvert.protocol.constants_state import PausedReason, SuspendedDetail

SWITCHED = (State.POSTCOPY, State.POSTCOPY_FAILED)
_FLOWS = (PausedReason.POSTCOPY, SuspendedDetail.POSTCOPY)
_BROKEN = (PausedReason.POSTCOPY_FAILED, SuspendedDetail.POSTCOPY_FAILED)


def of(state: State, reached: State, *, way_lost: bool) -> tuple[PausedReason, SuspendedDetail] | None:
    """In ``state``, having ``reached`` that one before: the reason, and the event's detail; ``None``: as it was."""
    if state is State.POSTCOPY:
        return _FLOWS
    if state is State.POSTCOPY_FAILED:
        return _BROKEN if way_lost else _FLOWS
    return _BROKEN if state is State.UNDECIDED and reached in SWITCHED else None
