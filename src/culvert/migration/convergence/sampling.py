"""Looking at a migration often enough to know how it will go on, whether or not anybody asks."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import NoReturn, Self

from culvert.ground import errors
from culvert.hypervisor.contract import Hypervisor, Outgoing
from culvert.migration.progress import downtime
from culvert.migration.progress.statistics import JobRecord

INTERVAL = 0.25  # seconds: rounds of a fast migration are not much longer


class Rounds:
    """Tells when the next round of the migration begins, as a ``with`` block; a guest that has ended begins none."""

    def __init__(self, hypervisor: Hypervisor) -> None:
        self._hypervisor = hypervisor
        self._begun = asyncio.Event()
        self._unsubscribe: Callable[[], object] = lambda: None

    def __enter__(self) -> Self:
        with contextlib.suppress(errors.RequestError):  # others hear that it has ended, and end the migration
            self._unsubscribe = self._hypervisor.on_round(self._begun.set)
        return self

    def __exit__(self, *_: object) -> None:
        self._unsubscribe()

    async def next(self, seconds: float) -> None:
        """Wait for the begin of a round since the last call, for so long at most."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._begun.wait()
        self._begun.clear()


async def keep_looking(hypervisor: Hypervisor, look: Callable[[], Awaitable[object]]) -> NoReturn:
    """``look`` again and again until cancelled, and as each round begins, when its size is told; it takes the figures
    where they belong, and does not raise."""
    with Rounds(hypervisor) as rounds:
        while True:
            await look()
            await rounds.next(INTERVAL)


def standstill(
    outgoing: Outgoing | None, record: JobRecord, answered: float, *, postcopy: bool
) -> downtime.Parts | None:
    """The standstill in its parts: the destination's yes to finish came at ``answered``, on the monotonic clock; or
    of ``postcopy``, which has run there since. ``None`` where it is not known."""
    if outgoing is None:
        return None
    stopped, sent = outgoing.stopped_at, outgoing.sent_at
    said = downtime.there(record.reported)
    if postcopy:
        if said is None or stopped is None or record.qemu.downtime_ms is None:
            return None
        sent = stopped + record.qemu.downtime_ms / 1000  # QEMU's own downtime ends there
    moments = downtime.Moments(stopped, outgoing.synced_at, sent, answered)
    rate = record.course.forecast.rate
    return downtime.parts(moments, last_bytes=record.qemu.downtime_bytes, rate=rate, there=said or downtime.There())
