"""Looking at a migration often enough to know how it will go on, whether or not anybody asks."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import NoReturn

from culvert.drivers.qemu.migration import Outgoing
from culvert.migration import downtime
from culvert.migration.statistics import Record

INTERVAL = 0.25  # seconds: rounds of a fast migration are not much longer


async def keep_looking(look: Callable[[], Awaitable[object]]) -> NoReturn:
    """``look`` again and again until cancelled; it takes the figures where they belong, and does not raise."""
    while True:
        await look()
        await asyncio.sleep(INTERVAL)


def standstill(outgoing: Outgoing | None, record: Record) -> downtime.Parts | None:
    """The standstill in its parts; called when the destination has just said that the guest runs there."""
    if outgoing is None:
        return None
    moments = downtime.Moments(outgoing.stopped_at, outgoing.synced_at, outgoing.sent_at, time.monotonic())
    rate, start = record.course.forecast.rate, downtime.started(record.reported)
    return downtime.parts(moments, last_bytes=record.qemu.downtime_bytes, rate=rate, start=start)
