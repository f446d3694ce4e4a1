"""The last step at the destination: the guest's CPUs start, and the network is told where the guest is now."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from culvert.hypervisor.contract import Guest
from culvert.migration.progress.downtime import There
from culvert.protocol.constants_state import RunningReason


@dataclass(frozen=True, slots=True)
class Started:
    """How long the steps took, in seconds, and since when they are over."""

    start: float
    announce: float
    since: float = field(default_factory=time.monotonic)

    def told(self) -> There:
        """What the source is told of it now."""
        return There(self.start, self.announce, time.monotonic() - self.since)


async def start(domain: Guest, reason: RunningReason) -> Started:
    """Let the guest run. Raises what QEMU refuses that with; once it runs nothing is raised."""
    began = time.monotonic()
    await domain.hypervisor.resume(reason)
    runs = time.monotonic()
    if domain.definition.devices.interfaces:
        await domain.hypervisor.announce()
    return Started(runs - began, time.monotonic() - runs)
