"""A guest's memory: how much it has, and what it says it does with it.

Source: docs of QEMU's virtio-balloon (docs/virtio-balloon-stats.txt); libvirt's tags for its names.
"""

from __future__ import annotations

import contextlib

from culvert.domain.definition import DomainDef
from culvert.drivers.qemu import threads
from culvert.drivers.qemu.domain import Domain
from culvert.drivers.qemu.monitor import CommandRefused
from culvert.ground.units import KiB
from culvert.protocol.constants_flag import MemoryStatTag

_UNKNOWN = 2**64 - 1  # what QEMU says of a number that the guest has not told

# QEMU's name of a statistic → libvirt's tag, in libvirt's order; bytes, except for the counts below.
_GUEST_STATS = {
    "stat-swap-in": MemoryStatTag.SWAP_IN,
    "stat-swap-out": MemoryStatTag.SWAP_OUT,
    "stat-major-faults": MemoryStatTag.MAJOR_FAULT,
    "stat-minor-faults": MemoryStatTag.MINOR_FAULT,
    "stat-free-memory": MemoryStatTag.UNUSED,
    "stat-total-memory": MemoryStatTag.AVAILABLE,
    "stat-available-memory": MemoryStatTag.USABLE,
    "stat-disk-caches": MemoryStatTag.DISK_CACHES,
    "stat-htlb-pgalloc": MemoryStatTag.HUGETLB_PGALLOC,
    "stat-htlb-pgfail": MemoryStatTag.HUGETLB_PGFAIL,
}
_COUNTS = frozenset({"stat-major-faults", "stat-minor-faults", "stat-htlb-pgalloc", "stat-htlb-pgfail"})


def alias_of(definition: DomainDef) -> str | None:
    """The balloon's name in QEMU, if the guest has one."""
    balloon = definition.devices.memballoon
    return None if balloon is None or balloon.model == "none" else balloon.alias


async def current(domain: Domain) -> int:
    """KiB that the running guest has now."""
    definition = domain.require_active().definition
    if alias_of(definition) is None:
        return definition.memory
    # Without a driver in the guest, or while it is still coming in, there is nothing to ask.
    with contextlib.suppress(CommandRefused):
        return int((await domain.monitor.execute("query-balloon"))["actual"]) // KiB
    return definition.memory


async def statistics(domain: Domain) -> list[tuple[MemoryStatTag, int]]:
    """Everything that is known of the running guest's memory, in libvirt's order: KiB, counts, seconds."""
    run = domain.require_active()
    found = [(MemoryStatTag.ACTUAL_BALLOON, await current(domain))]
    alias = alias_of(run.definition)
    if alias is not None:
        with contextlib.suppress(CommandRefused):
            path = f"/machine/peripheral/{alias}"
            told = await domain.monitor.execute("qom-get", {"path": path, "property": "guest-stats"})
            stats = told.get("stats", {})
            for name, tag in _GUEST_STATS.items():
                value = stats.get(name, _UNKNOWN)
                if 0 <= value < _UNKNOWN:
                    found.append((tag, value if name in _COUNTS else value // KiB))
            found.append((MemoryStatTag.LAST_UPDATE, int(told.get("last-update", 0))))
    if run.process is not None:
        found.append((MemoryStatTag.RSS, threads.resident_kib(run.process.pid)))
    return found


async def prepare(domain: Domain, definition: DomainDef, *, incoming: bool) -> None:
    """What libvirt asks of the balloon of a guest that starts: the size it is to have, and statistics."""
    alias = alias_of(definition)
    if alias is None:
        return
    period = definition.devices.memballoon.stats if definition.devices.memballoon else None
    if period:
        await look_every(domain, alias, period)
    size = definition.current_memory or definition.memory
    if size < definition.memory and not incoming:
        await domain.monitor.execute("balloon", {"value": size * KiB})


async def look_every(domain: Domain, alias: str, seconds: int) -> None:
    """Ask the guest for statistics every so many seconds; 0: no more."""
    path = f"/machine/peripheral/{alias}"
    arguments = {"path": path, "property": "guest-stats-polling-interval", "value": seconds}
    await domain.monitor.execute("qom-set", arguments)
