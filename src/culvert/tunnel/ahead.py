"""How much may lie between QEMU and the network; pure.

What has been taken from QEMU and not yet been sent when the guest stops has to travel while it stands still, before
its last pages and its devices; and a page that a guest waits for after the switch to post-copy comes behind it. On a
fast link that is nothing. On a slow one a full window is long: 2 MiB take a sixth of a second at 100 Mbit/s.
"""

from __future__ import annotations

from culvert.ground.units import KiB

HELD = 0.005  # seconds of the link's rate that are held here; the kernel may hold as many unsent
LEAST = 32 * KiB  # as much as QEMU writes at once (migration/qemu-file.c)
LOOK = 0.05  # seconds that a rate is read from
FULL = 0.5  # of the time: who waits for the network less than that does not know its rate
_NEAR = 1.25  # a bound that is no further off is as good


class Ahead:
    """``bound``: how many bytes may be held; ``window`` of them is as good as no bound.

    Times are seconds of one clock. At ``now`` so many bytes had been ``sent``.
    """

    def __init__(self, window: int, now: float, sent: int = 0) -> None:
        self.bound = window
        self._window = window
        self._at = now
        self._sent = sent
        self._waited = 0.0

    def waited(self, seconds: float) -> None:
        """So long the network took nothing although there was something for it."""
        self._waited += seconds

    def look(self, now: float, sent: int) -> bool:
        """By ``now`` so many bytes have been ``sent``. Whether ``bound`` is another one than before."""
        seconds = now - self._at
        if seconds < LOOK:
            return False
        rate, share = (sent - self._sent) / seconds, self._waited / seconds
        self._at, self._sent, self._waited = now, sent, 0.0
        bound = self._window if share < FULL else min(self._window, max(LEAST, round(rate * HELD)))
        if bound == self.bound or (bound < self._window and self.bound / _NEAR < bound < self.bound * _NEAR):
            return False
        self.bound = bound
        return True
