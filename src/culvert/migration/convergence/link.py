"""What the link to a destination carries, found out before anything is sent by it.

Some bytes are sent that the other end throws away, more each time, until they take long enough to tell: the time of a
call with nothing in it is the way there and back, and what the others take longer is their bytes'.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from culvert.protocol.culvert import PROBE_MAX

PROBE_ABILITY = "probe"
"""In a peer's HELLO: it has MIGRATION_PROBE."""

LONG_ENOUGH = 0.05  # seconds that a burst takes from which a rate is read; a slower link is not kept busy for longer
_GROWS = 4
_MOST = 128  # probes of one burst: 4 MiB
_ROUND_TRIPS = 2  # the first call may find things cold


@dataclass(frozen=True, slots=True)
class Link:
    """``rate`` in bytes per second, at least: a burst that is over at once says little more. ``round_trip`` in
    seconds."""

    rate: float
    round_trip: float


async def measure(
    probe: Callable[[bytes], Coroutine[Any, Any, None]], clock: Callable[[], float] = time.monotonic
) -> Link:
    """What the link carries that ``probe`` sends its bytes by. Raises what that raises."""

    async def took(data: bytes) -> float:
        began = clock()
        await probe(data)
        return clock() - began

    round_trip = min([await took(b"") for _ in range(_ROUND_TRIPS)])
    data = os.urandom(PROBE_MAX)  # nothing on the way is to make less of it
    count = 2
    while True:
        began = clock()
        async with asyncio.TaskGroup() as tasks:
            for number in range(count):
                tasks.create_task(probe(data), name=f"probe {number}")
        seconds = max(clock() - began - round_trip, 1e-6)
        if seconds >= LONG_ENOUGH or count >= _MOST:
            return Link(count * PROBE_MAX / seconds, round_trip)
        count = min(count * _GROWS, _MOST)
