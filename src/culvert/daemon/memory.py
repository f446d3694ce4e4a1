"""Memory that a burst of work has taken goes back to the host.

What a migration has held refers to itself in circles (tasks, transports, errors with their tracebacks), buffers of
megabytes among it. Python looks for such circles when much is made anew, which in a daemon that rests is never, and
the allocator keeps what was freed.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import time
from collections.abc import Callable
from pathlib import Path

PERIOD = 20.0  # seconds between two looks
GROWTH = 1.05  # times what was resident after the last time: below that there is nothing to gain
_STATM = Path("/proc/self/statm")

log = logging.getLogger(__name__)


def worth_it(resident: int, floor: int) -> bool:
    """Whether to look for garbage, with ``resident`` pages and ``floor`` after the last time."""
    return resident > floor * GROWTH


def resident() -> int:
    """Pages of this process that are in memory."""
    return int(_STATM.read_text(encoding="ascii").split()[1])


def settle() -> None:
    """What is there now, before anything runs, stays for ever: it is not looked through again, so that a look takes a
    few milliseconds."""
    gc.collect()
    gc.freeze()


def _trim() -> None:
    """The allocator gives back what it has kept: glibc's; others cannot be told to."""
    import ctypes

    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


async def give_back(under_way: Callable[[], int]) -> None:
    """Look every ``PERIOD`` seconds, until cancelled, unless guests are ``under_way``: what they hold they need."""
    floor = resident()
    while True:
        await asyncio.sleep(PERIOD)
        if under_way():
            continue
        before = resident()
        if not worth_it(before, floor):
            floor = min(floor, before)
            continue
        started = time.monotonic()
        gc.collect()
        took = time.monotonic() - started
        await asyncio.to_thread(_trim)
        floor = resident()
        log.debug("memory given back pages=%d left=%d held=%.4f", before - floor, floor, took)
