"""How long to leave a socket alone so that the next read is worth it.

A writer in full flow wakes its reader for every piece it writes, and the reader spends its time on waking up. When
reads have come close upon each other for a while and are small, the reader waits until a larger piece can be there:
never longer than ``LONGEST``, and not at all when there was a pause before, so that whoever asks and waits for the
answer never waits for this.
"""

from __future__ import annotations

from culvert.ground.units import KiB

WORTH = 96 * KiB  # a read of this size needs no waiting
LONGEST = 0.000_5  # seconds
PAUSE = 0.001  # seconds between two reads after which it is not full flow any more
RUN = 16  # reads without a pause that make it full flow
_LEAST = 0.000_03  # seconds; a shorter sleep costs more than it saves


class Pace:
    """One direction. Times are seconds of one clock."""

    def __init__(self) -> None:
        self._last = 0.0
        self._run = 0

    def after(self, count: int, now: float) -> float:
        """``count`` bytes have been read at ``now``: the seconds to wait before the next read; 0 for none."""
        since = now - self._last
        self._last = now
        if since > PAUSE:
            self._run = 0
            return 0.0
        self._run += 1
        if self._run < RUN or count >= WORTH or not count:
            return 0.0
        wait = since * (WORTH / count - 1)
        return min(wait, LONGEST) if wait >= _LEAST else 0.0
