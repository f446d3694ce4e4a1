"""What can be asked and changed of QEMU's migration at any time, also of a running one (qapi/migration.json)."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from culvert.drivers.qemu.monitor import Monitor
from culvert.ground import errors
from culvert.ground.units import MiB
from culvert.hypervisor.setup import PERSONAL, Setup

MEASURE_TRIES = 12  # looks at a measurement, four in the time that it is told to take
POSTCOPY_SPEED_MAX = (2**64 - 1) // MiB  # MiB/s (qemu_driver.c, qemuDomainMigrateSetMaxSpeed)


async def version(monitor: Monitor) -> int:
    """The running QEMU's version, as major × 1,000,000 + minor × 1,000 + micro."""
    answer = (await monitor.execute("query-version"))["qemu"]
    return int(answer["major"]) * 1_000_000 + int(answer["minor"]) * 1_000 + int(answer["micro"])


async def set_postcopy_speed(monitor: Monitor, mib_per_second: int) -> None:
    """Limit what post-copy sends without having been asked for it; 0 for no limit.

    Pages that the guest waits for are not held back. Raises ``InvalidArgument`` for more than the parameter holds.
    """
    check_postcopy_speed(mib_per_second)
    await limit_postcopy(monitor, mib_per_second * MiB)


def check_postcopy_speed(mib_per_second: int) -> None:
    """Raises ``InvalidArgument`` for more than QEMU's parameter holds."""
    if mib_per_second > POSTCOPY_SPEED_MAX:
        raise errors.InvalidArgument(f"bandwidth must be less than {POSTCOPY_SPEED_MAX + 1}")


async def postcopy_speed(monitor: Monitor) -> int:
    """What ``set_postcopy_speed`` has set, in MiB/s."""
    return await postcopy_limit(monitor) // MiB


async def limit_postcopy(monitor: Monitor, bytes_per_second: int) -> None:
    """``set_postcopy_speed`` in bytes per second, unchecked."""
    await monitor.execute("migrate-set-parameters", {"max-postcopy-bandwidth": bytes_per_second})


async def postcopy_limit(monitor: Monitor) -> int:
    """The same in bytes per second; 0 for no limit."""
    return int(await _parameter(monitor, "max-postcopy-bandwidth"))


async def expect_speed(monitor: Monitor, bytes_per_second: int) -> None:
    """What the way carries when the guest stands still (``avail-switchover-bandwidth``); 0: by QEMU's own estimate.

    QEMU from 8.2 on. Its estimate is what it has sent in the last tenth of a second, held back by its limit.
    """
    await monitor.execute("migrate-set-parameters", {"avail-switchover-bandwidth": bytes_per_second})


async def set_cache(monitor: Monitor, size: int) -> None:
    """The cache of xbzrle in bytes. Raises ``OperationFailed`` with QEMU's words for a size that it does not take."""
    await monitor.execute("migrate-set-parameters", {"xbzrle-cache-size": size})


async def cache(monitor: Monitor) -> int:
    """The cache of xbzrle in bytes."""
    return int(await _parameter(monitor, "xbzrle-cache-size"))


async def personal(monitor: Monitor, setup: Setup) -> dict[str, int]:
    """What ``setup`` is going to change of that which people set by calls of their own, as it is now."""
    names = PERSONAL & setup.asked.keys()
    found = await monitor.execute("query-migrate-parameters") if names else {}
    return {name: int(found[name]) for name in sorted(names & found.keys())}


async def put_back(monitor: Monitor, before: Mapping[str, int], setup: Setup) -> None:
    """Give ``before`` (of ``personal``) back, but for what somebody has changed since ``setup`` was told."""
    if before:
        found = await monitor.execute("query-migrate-parameters")
        if old := {name: value for name, value in before.items() if found[name] == setup.asked[name] != value}:
            await monitor.execute("migrate-set-parameters", old)


async def allow_throttle(monitor: Monitor, percent: int, *, step: int = 1) -> None:
    """Let auto-converge, where it is on, deny the guest at most ``percent`` of its CPU time, by ``step`` a round.

    QEMU changes the capability only before a migration, but heeds these at any time (migration/ram.c,
    mig_throttle_guest_down).
    """
    limits = {"cpu-throttle-initial": min(step, percent), "cpu-throttle-increment": step, "max-cpu-throttle": percent}
    await monitor.execute("migrate-set-parameters", limits)


async def dirty_rate(monitor: Monitor, seconds: int = 1) -> float | None:
    """How many bytes per second the guest changes, looked at for ``seconds``; ``None`` when QEMU cannot tell.

    By sampling pages (migration/dirtyrate.c): a page that is changed twice counts once. Not while it migrates.
    """
    await monitor.execute("calc-dirty-rate", {"calc-time": seconds})
    for _ in range(MEASURE_TRIES):
        await asyncio.sleep(seconds / 4)
        answer = await monitor.execute("query-dirty-rate")
        if answer["status"] == "measured":
            rate = answer.get("dirty-rate", -1)
            return None if rate < 0 else float(rate * MiB)
    return None


async def _parameter(monitor: Monitor, name: str) -> Any:
    return (await monitor.execute("query-migrate-parameters"))[name]


async def preempt(monitor: Monitor) -> bool:
    """Whether the migration has a channel for preempted pages (``postcopy-preempt``)."""
    found = await monitor.execute("query-migrate-capabilities")
    return any(item["capability"] == "postcopy-preempt" and item["state"] for item in found)
