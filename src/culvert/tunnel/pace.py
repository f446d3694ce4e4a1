"""How long to leave QEMU's socket alone so that the next read is worth it.

A writer in full flow wakes its reader for every piece it writes, and the reader spends its time on waking up. When
reads have come close upon each other for a while and are small, the reader waits until a larger piece can be there:
never longer than ``LONGEST``, and not at all when there was a pause before, so that whoever asks and waits for the
answer never waits for this.
"""

from __future__ import annotations

from culvert.ground.units import KiB

WORTH = 256 * KiB  # a read of this size needs no waiting
LONGEST = 0.001  # seconds
PAUSE = 0.003  # seconds without anything to read after which it is not full flow any more
RUN = 16  # reads without a pause that make it full flow
_LEAST = 0.000_03  # seconds; a shorter sleep costs more than it saves


class Pace:
    """Times are seconds of one clock. ``room``: how much the socket holds before its writer has to wait; reads are
    put off for a part of that only, so that it never does."""

    def __init__(self, room: int) -> None:
        self._worth = min(WORTH, room // 4)
        self._last = 0.0
        self._until = 0.0
        self._run = 0

    def after(self, count: int, now: float) -> float:
        """``count`` bytes have been read at ``now``: the seconds to wait before the next read; 0 for none."""
        since, idle = now - self._last, now - self._until
        self._last = self._until = now
        if idle > PAUSE:
            self._run = 0
            return 0.0
        self._run += 1
        if self._run < RUN or count >= self._worth or not count:
            return 0.0
        wait = min(since * (self._worth / count - 1), LONGEST)
        if wait < _LEAST:
            return 0.0
        self._until = now + wait
        return wait
