"""What can be asked and changed of QEMU's migration at any time, also of a running one (qapi/migration.json)."""

from __future__ import annotations

from typing import Any

from culvert.drivers.qemu.monitor import Monitor
from culvert.ground import errors
from culvert.ground.units import MiB

POSTCOPY_SPEED_MAX = (2**64 - 1) // MiB  # MiB/s (qemu_driver.c, qemuDomainMigrateSetMaxSpeed)


async def version(monitor: Monitor) -> int:
    """The running QEMU's version, as major × 1,000,000 + minor × 1,000 + micro."""
    answer = (await monitor.execute("query-version"))["qemu"]
    return int(answer["major"]) * 1_000_000 + int(answer["minor"]) * 1_000 + int(answer["micro"])


async def set_postcopy_speed(monitor: Monitor, mib_per_second: int) -> None:
    """Limit what post-copy sends without having been asked for it; 0 for no limit.

    Pages that the guest waits for are not held back. Raises ``InvalidArgument`` for more than the parameter holds.
    """
    if mib_per_second > POSTCOPY_SPEED_MAX:
        raise errors.InvalidArgument(f"bandwidth must be less than {POSTCOPY_SPEED_MAX + 1}")
    await monitor.execute("migrate-set-parameters", {"max-postcopy-bandwidth": mib_per_second * MiB})


async def postcopy_speed(monitor: Monitor) -> int:
    """What ``set_postcopy_speed`` has set, in MiB/s."""
    return int(await _parameter(monitor, "max-postcopy-bandwidth")) // MiB


async def set_cache(monitor: Monitor, size: int) -> None:
    """The cache of xbzrle in bytes. Raises ``OperationFailed`` with QEMU's words for a size that it does not take."""
    await monitor.execute("migrate-set-parameters", {"xbzrle-cache-size": size})


async def cache(monitor: Monitor) -> int:
    """The cache of xbzrle in bytes."""
    return int(await _parameter(monitor, "xbzrle-cache-size"))


async def _parameter(monitor: Monitor, name: str) -> Any:
    return (await monitor.execute("query-migrate-parameters"))[name]


async def preempt(monitor: Monitor) -> bool:
    """Whether the migration has a channel for preempted pages (``postcopy-preempt``)."""
    found = await monitor.execute("query-migrate-capabilities")
    return any(item["capability"] == "postcopy-preempt" and item["state"] for item in found)
