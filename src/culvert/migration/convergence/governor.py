"""Keeping a migration at its speed limit: QEMU alone stays two to five percent below it; pure.

QEMU counts what it sends in slices of a tenth of a second and waits for the next one when a slice is full
(migration/migration.c); what it loses in going to sleep and waking up is lost. So it is told a little more than is
wanted, as much as what was really sent says.
"""

from __future__ import annotations

from dataclasses import dataclass

INTERVAL = 0.5  # seconds between two looks
_CATCH_UP = 1.5  # seconds in which a deficit is made up for
_LEARNING = 0.3  # how much one look changes what is known of QEMU's ways
_MOST = 0.15  # of the limit: how far the setting may be from it
_KNOWN = 0.5  # seconds of the limit: deficits beyond it come from something else than QEMU's own ways


@dataclass(slots=True)
class Governor:
    """``limit`` in bytes per second, 0 for none. ``look`` is told the time and the bytes sent so far, both from any
    origin, and answers what QEMU is to be told."""

    limit: int = 0
    _since: float | None = None
    _base: int = 0
    _bias: float = 0.0
    _last: tuple[float, int] | None = None
    _setting: int = 0

    def change(self, limit: int) -> int:
        """Another limit from now on: what QEMU is to be told first. What was learnt of its ways is kept."""
        self.limit = limit
        self._since = self._last = None
        return self._told(0.0)

    def look(self, now: float, sent: int) -> int:
        """What QEMU is to be told from now on."""
        if not self.limit:
            return 0
        if self._since is None or self._last is None:
            self._since, self._base, self._last = now, sent, (now, sent)
            return self._told(0.0)
        deficit = self.limit * (now - self._since) - (sent - self._base)
        most = _KNOWN * self.limit
        if abs(deficit) > most:
            # The guest had nothing to send, or the link was closed: that is not to be made up for.
            self._since, self._base = now, sent
            deficit = 0.0
        before, had = self._last
        self._last = (now, sent)
        if now > before:
            followed = (sent - had) / (now - before) / self._setting
            if 1 - _MOST < followed < 1 + _MOST:
                self._bias += _LEARNING * (1 / followed - 1 - self._bias)
        return self._told(deficit / _CATCH_UP / self.limit)

    def _told(self, correction: float) -> int:
        self._setting = round(self.limit * (1 + max(-_MOST, min(_MOST, self._bias + correction))))
        return self._setting
