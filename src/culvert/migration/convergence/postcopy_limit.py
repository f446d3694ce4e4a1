"""What a post-copy may send without being asked, on a host whose migrations share a budget.

QEMU has a limit of its own for it (``max-postcopy-bandwidth``), which counts from the switch on and knows nothing of
the one before. So it is told before the switch, and never more than the share of the budget; what a person has said
is kept here meanwhile, and given back. Pages that the guest waits for are held back by neither (migration/ram.c).
"""

from __future__ import annotations

import contextlib
from typing import Self

from culvert.ground import errors
from culvert.hypervisor.contract import Hypervisor


class PostcopyLimit:
    """``wanted``: as a person has said, in bytes per second, 0 for no limit of their own."""

    def __init__(self, hypervisor: Hypervisor, wanted: int) -> None:
        self.wanted = wanted
        self._hypervisor = hypervisor
        self._share = 0

    @classmethod
    async def of(cls, hypervisor: Hypervisor, asked: int) -> Self:
        """``asked`` of this migration, or else what QEMU has been told before."""
        return cls(hypervisor, asked or await hypervisor.postcopy_speed())

    async def apply(self, share: int) -> None:
        """The budget gives ``share``, 0 for as much as there is. Raises what QEMU refuses."""
        self._share = share
        await self.repeat()

    async def repeat(self) -> None:
        """Tell QEMU, which may have been told something else since."""
        told = min(self.wanted, self._share) if self.wanted and self._share else self.wanted or self._share
        await self._hypervisor.set_postcopy_speed(told)

    async def give_back(self) -> None:
        """The budget is not concerned any more: what the person has said counts. QEMU may have gone."""
        with contextlib.suppress(errors.RequestError):
            await self._hypervisor.set_postcopy_speed(self.wanted)
