"""Whether a migration that can be ended stands still; pure."""

from __future__ import annotations

LOOKS = 8  # in the time that it may stand still


class Stall:
    """``seconds``: how long nothing may move. To be shown what has moved every ``pause`` seconds.

    Looks are counted and not seconds: a daemon that did not run for a while has moved nothing meanwhile, and is not
    to take that for a way that stands still.
    """

    def __init__(self, seconds: float) -> None:
        self.pause = seconds / LOOKS
        self._moved = -1
        self._quiet = 0

    def look(self, moved: int) -> bool:
        """``moved``: all bytes so far. Whether none has for so long."""
        self._quiet = self._quiet + 1 if moved == self._moved else 0
        self._moved = moved
        return self._quiet >= LOOKS
