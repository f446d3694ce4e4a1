"""What a host sends: one budget for all its migrations, divided so that nobody gets more than was asked for.

QEMU itself keeps to the limit (``max-bandwidth``), whatever the route and however many channels: here is only said
what the limit is, anew whenever a migration begins or ends or is given another one.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

from culvert.ground import errors

log = logging.getLogger(__name__)

Apply = Callable[[int], Awaitable[None]]
"""Called with bytes per second, 0 for no limit."""


def shares(budget: int, wanted: Sequence[int]) -> list[int]:
    """Divide ``budget`` among migrations that want at most so much, 0 meaning as much as there is (max-min fair).

    All in bytes per second. Nobody gets more than wanted; what one does not want is the others'. A budget of 0 is
    none: then everybody gets what was wanted. Nobody who wants anything gets 0, which would mean no limit.
    """
    if not budget:
        return list(wanted)
    given = [0] * len(wanted)
    left = budget
    # The most modest first: what they leave is divided among the rest.
    for waiting, index in zip(
        range(len(wanted), 0, -1), sorted(range(len(wanted)), key=lambda i: wanted[i] or budget + 1), strict=True
    ):
        given[index] = max(1, min(wanted[index] or budget, left // waiting))
        left -= given[index]
    return given


class Budget:
    """``total`` bytes per second for everybody who has joined, 0 for no limit."""

    def __init__(self, total: int = 0) -> None:
        self.total = total
        self._members: dict[object, tuple[int, Apply]] = {}
        self._changing = asyncio.Lock()

    async def join(self, who: object, wanted: int, apply: Apply) -> None:
        """``who`` sends from now on, at most ``wanted`` (0: no limit of its own); or wants something else now.

        Its limit is applied on return. Raises what its ``apply`` raises; the others' failures are logged.
        """
        self._members[who] = (wanted, apply)
        await self._divide(who)

    async def leave(self, who: object) -> None:
        """``who`` sends no more. Idempotent."""
        if self._members.pop(who, None) is not None and self.total:
            await self._divide(None)

    async def _divide(self, caller: object) -> None:
        async with self._changing:
            members = list(self._members.items())
            limits = shares(self.total, [wanted for _, (wanted, _) in members])
            for (who, (_, apply)), limit in zip(members, limits, strict=True):
                if who is not caller and not self.total:
                    continue  # without a budget nobody else is concerned
                try:
                    await apply(limit)
                except errors.RequestError as err:
                    if who is caller:
                        raise
                    log.warning("%s: its limit could not be changed to %d bytes/s: %s", who, limit, err)
