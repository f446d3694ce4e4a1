"""Looking at a migration goes on whatever becomes of its guest: what ends it is seen elsewhere."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

from culvert.ground import errors
from culvert.hypervisor.contract import Hypervisor
from culvert.migration.convergence import policy, sampling
from culvert.migration.convergence.autopilot import Autopilot
from culvert.migration.progress.progress import Forecast
from culvert.migration.progress.statistics import JobRecord
from tests.migration.convergence.test_autopilot import record


class Ended:
    """The hypervisor of a guest that has ended between two steps of its migration."""

    def on_round(self, begun: Callable[[], None]) -> Callable[[], object]:
        raise errors.OperationInvalid("domain is not running: 'g'")


async def test_a_guest_that_has_just_ended_is_looked_at_all_the_same() -> None:
    """The tasks that look are in one group with the migration: what they raise would end it without a word."""
    looks: list[str] = []
    hypervisor, enough = cast(Hypervisor, Ended()), asyncio.Event()

    async def look() -> JobRecord:
        looks.append("look")
        if len(looks) == 2:
            enough.set()
        return record(Forecast())

    pilot = Autopilot(hypervisor, look, switch=None, note=lambda text: None, rows=policy.ARMED)
    async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
        looking = [
            tasks.create_task(sampling.keep_looking(hypervisor, look), name="figures"),
            tasks.create_task(pilot.run(), name="autopilot"),
        ]
        await enough.wait()
        for task in looking:
            assert not task.done()
            task.cancel()
