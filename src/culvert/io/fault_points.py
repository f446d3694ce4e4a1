"""Places at which a migration or a start can be held from outside, so that something can be done at that very moment.

They exist for tests and for nothing else. The environment variable ``CULVERT_FAULT_POINTS``
names a directory; without it each of them costs one comparison. A file there arms a place, the daemon answers with
another one, waits, and goes on when the first is gone::

    SIDE.POINT            made from outside: hold here
    SIDE.POINT.reached    made by the daemon: held

``SIDE`` is ``source`` or ``destination`` of a migration. ``POINT`` is ``before.STEP`` or ``after.STEP``, at a row of
the journal (``machine.Step``), or ``before.COMMAND``, in front of what a machine has decided (``machine.Do``, in
small letters). Or ``SIDE`` is ``start``, and ``POINT`` what a start has behind it
(``drivers.qemu.startup.StartStep``). Or it is ``snapshot.standing``: the guest stands still for one.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from pathlib import Path

log = logging.getLogger(__name__)

VARIABLE = "CULVERT_FAULT_POINTS"
REACHED = ".reached"
LONGEST = 120.0  # seconds something is held
POLL = 0.02  # seconds between two looks

_FOLDER = Path(os.environ[VARIABLE]) if VARIABLE in os.environ else None


async def reach(side: str, point: str) -> None:
    """Wait here for as long as this place is armed, at most ``LONGEST`` seconds; mostly not at all."""
    if _FOLDER is not None:
        await asyncio.to_thread(_hold, _FOLDER / f"{side}.{point}")


def _hold(armed: Path) -> None:
    if not armed.exists():
        return
    log.warning("held at %s", armed.name)
    armed.with_name(armed.name + REACHED).touch()
    deadline = time.monotonic() + LONGEST
    while armed.exists():
        if time.monotonic() > deadline:
            log.error("held at %s for %g s: goes on", armed.name, LONGEST)
            return
        time.sleep(POLL)
