"""CONNECT_GET_ALL_DOMAIN_STATS: what there is to tell of a domain, group by group, under libvirt's names.

Source: the documentation of virConnectGetAllDomainStats (src/libvirt-domain.c), qemu/qemu_driver.c
(qemuDomainGetStats*) for the order and the types.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

from culvert.domain.disk import Disk
from culvert.drivers.qemu import balloon, blockstats, image, network, threads, vcpus
from culvert.drivers.qemu.blockstats import BlockSizes, Work
from culvert.drivers.qemu.domain import Domain
from culvert.drivers.qemu.monitor import CommandRefused
from culvert.ground import errors
from culvert.protocol.constants_flag import MemoryStatTag, StatsGroup
from culvert.protocol.types import TypedParam, TypedParamType

Params = list[TypedParam]

_BALLOON_NAMES = {
    MemoryStatTag.SWAP_IN: "swap_in",
    MemoryStatTag.SWAP_OUT: "swap_out",
    MemoryStatTag.MAJOR_FAULT: "major_fault",
    MemoryStatTag.MINOR_FAULT: "minor_fault",
    MemoryStatTag.UNUSED: "unused",
    MemoryStatTag.AVAILABLE: "available",
    MemoryStatTag.USABLE: "usable",
    MemoryStatTag.DISK_CACHES: "disk_caches",
    MemoryStatTag.HUGETLB_PGALLOC: "hugetlb_pgalloc",
    MemoryStatTag.HUGETLB_PGFAIL: "hugetlb_pgfail",
    MemoryStatTag.LAST_UPDATE: "last-update",
    MemoryStatTag.RSS: "rss",
}

# query-dirty-rate's status → virDomainDirtyRateStatus
_DIRTY_RATE_STATUS = {"unstarted": 0, "measuring": 1, "measured": 2}


def _int(name: str, value: int) -> TypedParam:
    return TypedParam(name, (TypedParamType.INT, value))


def _uint(name: str, value: int) -> TypedParam:
    return TypedParam(name, (TypedParamType.UINT, value))


def _ullong(name: str, value: int) -> TypedParam:
    return TypedParam(name, (TypedParamType.ULLONG, value))


def _string(name: str, value: str) -> TypedParam:
    return TypedParam(name, (TypedParamType.STRING, value))


async def collect(domain: Domain, groups: int) -> Params:
    """The parameters of ``groups`` (0: all of them); a group that has nothing to say adds nothing.

    A guest that ends meanwhile says less; nothing is raised for it.
    """
    found: Params = []
    for group, tell in GROUPS.items():
        if not groups or groups & group:
            with contextlib.suppress(errors.RequestError):
                found += await tell(domain)
    return found


async def _state(domain: Domain) -> Params:
    return [_int("state.state", int(domain.state)), _int("state.reason", int(domain.reason))]


async def _cpu_total(domain: Domain) -> Params:
    if domain.run is None or domain.run.process is None:
        return []
    times = threads.of_process(domain.run.process.pid)
    return [
        _ullong("cpu.time", times.total),
        _ullong("cpu.user", times.user),
        _ullong("cpu.system", times.system),
        _uint("cpu.cache.monitor.count", 0),
    ]


async def _balloon(domain: Domain) -> Params:
    definition = domain.definition
    maximum = _ullong("balloon.maximum", definition.memory)
    if not domain.is_active:
        return [_ullong("balloon.current", definition.current_memory or definition.memory), maximum]
    told = dict(await balloon.statistics(domain))
    return [
        _ullong("balloon.current", told.pop(MemoryStatTag.ACTUAL_BALLOON)),
        maximum,
        *(_ullong(f"balloon.{_BALLOON_NAMES[tag]}", value) for tag, value in told.items()),
    ]


async def _vcpu(domain: Domain) -> Params:
    definition = domain.definition
    found = [_uint("vcpu.current", definition.current_vcpus), _uint("vcpu.maximum", definition.vcpus)]
    if domain.is_active:
        for one in await vcpus.running(domain):
            found += [
                _int(f"vcpu.{one.number}.state", int(one.state)),
                _ullong(f"vcpu.{one.number}.time", one.times.total),
                _ullong(f"vcpu.{one.number}.wait", 0),
                _ullong(f"vcpu.{one.number}.delay", one.times.delay),
            ]
    return found


async def _interface(domain: Domain) -> Params:
    if not domain.is_active:
        return []
    cards = domain.definition.devices.interfaces
    found = [_uint("net.count", len(cards))]
    for number, card in enumerate(cards):
        name = card.target.dev if card.target else None
        if name is None:
            continue
        found.append(_string(f"net.{number}.name", name))
        try:
            traffic = await asyncio.to_thread(network.traffic, name)
        except errors.SystemCallError:
            continue  # somebody has taken the device away; the other cards count on
        for way, done in (("rx", traffic.received), ("tx", traffic.sent)):
            found += [
                _ullong(f"net.{number}.{way}.bytes", done.bytes),
                _ullong(f"net.{number}.{way}.pkts", done.packets),
                _ullong(f"net.{number}.{way}.errs", done.errors),
                _ullong(f"net.{number}.{way}.drop", done.dropped),
            ]
    return found


async def _block(domain: Domain) -> Params:
    disks = domain.definition.devices.disks
    found = [_uint("block.count", len(disks))]
    done: dict[str, Work] = {}
    nodes: dict[str, BlockSizes] = {}
    if domain.is_active:
        done, nodes = await blockstats.work(domain), await blockstats.nodes(domain)
    for number, disk in enumerate(disks):
        found += await _disk(f"block.{number}", disk, done, nodes, running=domain.is_active)
    return found


async def _disk(
    name: str, disk: Disk, done: dict[str, Work], nodes: dict[str, BlockSizes], *, running: bool
) -> Params:
    found = [_string(f"{name}.name", disk.target.dev)]
    if not disk.is_empty:
        if disk.path is not None:
            found.append(_string(f"{name}.path", disk.path))
        if running and disk.source is not None and disk.source.index:
            found.append(_uint(f"{name}.backingIndex", disk.source.index))
    work = done.get(disk.alias or "")
    if work is not None:
        found += [
            _ullong(f"{name}.rd.reqs", work.reads),
            _ullong(f"{name}.rd.bytes", work.read_bytes),
            _ullong(f"{name}.rd.times", work.read_ns),
            _ullong(f"{name}.wr.reqs", work.writes),
            _ullong(f"{name}.wr.bytes", work.written_bytes),
            _ullong(f"{name}.wr.times", work.write_ns),
            _ullong(f"{name}.fl.reqs", work.flushes),
            _ullong(f"{name}.fl.times", work.flush_ns),
        ]
    sizes = await _sizes(disk, work, nodes.get(blockstats.node_name(disk)), running=running)
    if sizes is not None:
        found += [
            _ullong(f"{name}.allocation", sizes.allocation),
            _ullong(f"{name}.capacity", sizes.capacity),
            _ullong(f"{name}.physical", sizes.physical),
        ]
    return found


async def _sizes(disk: Disk, work: Work | None, node: BlockSizes | None, *, running: bool) -> image.Sizes | None:
    if node is not None and work is not None:
        return image.Sizes(node.capacity, work.highest, node.actual)
    if running or disk.path is None or disk.type == "network":
        return None
    try:
        return await asyncio.to_thread(image.sizes, disk.path, disk.format)
    except errors.SystemCallError:
        return None


async def _nothing(domain: Domain) -> Params:
    """Perf events, I/O threads, resctrl monitors, KVM's own counters: no domain of this driver has any."""
    return []


async def _dirty_rate(domain: Domain) -> Params:
    if not domain.is_active:
        return []
    try:
        told = await domain.monitor.execute("query-dirty-rate")
    except CommandRefused:
        return []
    found = [
        _int("dirtyrate.calc_status", _DIRTY_RATE_STATUS.get(told["status"], 0)),
        TypedParam("dirtyrate.calc_start_time", (TypedParamType.LLONG, told["start-time"])),
        _int("dirtyrate.calc_period", told["calc-time"]),
        _string("dirtyrate.calc_mode", told.get("mode", "page-sampling")),
    ]
    if "dirty-rate" in told:
        found.append(TypedParam("dirtyrate.megabytes_per_second", (TypedParamType.LLONG, told["dirty-rate"])))
    return found


GROUPS: dict[StatsGroup, Callable[[Domain], Awaitable[Params]]] = {
    StatsGroup.STATE: _state,
    StatsGroup.CPU_TOTAL: _cpu_total,
    StatsGroup.BALLOON: _balloon,
    StatsGroup.VCPU: _vcpu,
    StatsGroup.INTERFACE: _interface,
    StatsGroup.BLOCK: _block,
    StatsGroup.PERF: _nothing,
    StatsGroup.IOTHREAD: _nothing,
    StatsGroup.MEMORY: _nothing,
    StatsGroup.DIRTYRATE: _dirty_rate,
    StatsGroup.VM: _nothing,
}
"""Every group libvirt 9.0 has, in its order."""
