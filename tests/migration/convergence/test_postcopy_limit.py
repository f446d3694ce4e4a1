"""The limit of post-copy that QEMU is told, out of a budget's share and what a person has said."""

from __future__ import annotations

from typing import cast

import pytest

from culvert.ground import errors
from culvert.hypervisor.contract import Hypervisor
from culvert.migration.convergence.postcopy_limit import PostcopyLimit


class Recorder:
    """A hypervisor of which only this limit is asked."""

    def __init__(self, speed: int = 0) -> None:
        self.speed = speed
        self.gone = False

    async def postcopy_speed(self) -> int:
        return self.speed

    async def set_postcopy_speed(self, bytes_per_second: int) -> None:
        if self.gone:
            raise errors.OperationFailed("QEMU is gone")
        self.speed = bytes_per_second


@pytest.mark.parametrize(
    ("asked", "before", "share", "told"),
    [(0, 0, 100, 100), (70, 0, 100, 70), (700, 0, 100, 100), (0, 70, 100, 70), (70, 700, 0, 70), (0, 0, 0, 0)],
)
async def test_the_smaller_of_both(asked: int, before: int, share: int, told: int) -> None:
    qemu = Recorder(before)
    limit = await PostcopyLimit.of(cast(Hypervisor, qemu), asked)
    await limit.apply(share)
    assert qemu.speed == told
    qemu.speed = 12345
    await limit.repeat()
    assert qemu.speed == told
    await limit.give_back()
    assert qemu.speed == (asked or before)


async def test_a_qemu_that_is_gone_need_not_know() -> None:
    qemu = Recorder()
    limit = await PostcopyLimit.of(cast(Hypervisor, qemu), 0)
    qemu.gone = True
    await limit.give_back()
    with pytest.raises(errors.OperationFailed):
        await limit.apply(1)
