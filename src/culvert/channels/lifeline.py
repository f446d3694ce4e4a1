"""What keeps an incoming migration waiting: as long as somebody of the source's side is there, it is expected."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Lifeline:
    """Calls ``ended`` once, ``patience`` seconds after the last holder has let go, unless somebody holds again.

    Holders are named by anything hashable. Nothing is called after ``cut``.
    """

    def __init__(self, ended: Callable[[], object]) -> None:
        self.patience = 0.0
        self._ended = ended
        self._holders: set[object] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._cut = False

    @property
    def held(self) -> bool:
        """Whether anybody holds now."""
        return bool(self._holders)

    def is_held_by(self, who: object) -> bool:
        """Whether ``who`` holds now."""
        return who in self._holders

    def hold(self, who: object) -> None:
        """``who`` is there. Idempotent."""
        self._holders.add(who)
        self._stop()

    def release(self, who: object) -> None:
        """``who`` has gone. Idempotent."""
        if who not in self._holders:
            return
        self._holders.discard(who)
        if not self._holders and not self._cut:
            self._timer = asyncio.get_running_loop().call_later(self.patience, self._run_out)

    def cut(self) -> None:
        """Nobody need be there any more. Idempotent."""
        self._cut = True
        self._stop()

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _run_out(self) -> None:
        self.cut()
        self._ended()
