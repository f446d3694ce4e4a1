"""QEMU's threads for the work of disks: told of, added, removed, pinned while a guest runs, and for its next start.

Source: qemu/qemu_driver.c of libvirt 9.0 (qemuDomainChgIOThread and below), hypervisor/domain_driver.c for the words.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Collection
from dataclasses import dataclass, replace

from culvert.domain import iothreads
from culvert.domain.definition import DomainDef
from culvert.domain.iothreads import IOThread
from culvert.drivers.qemu import impact, pinning, threads
from culvert.drivers.qemu.domain import Domain
from culvert.ground import errors
from culvert.protocol.constants_flag import AffectFlag

PREFIX = "iothread"  # of the name of an object


@dataclass(frozen=True, slots=True)
class Thread:
    """One of them, and the CPUs of the host that it may run on."""

    id: int
    cpus: frozenset[int]


async def told(domain: Domain, flags: int) -> list[Thread]:
    """All of the running guest, or, with CONFIG, of its next start. Raises ``errors.OperationInvalid``."""
    chosen = impact.chosen(domain, flags)
    if flags & AffectFlag.CONFIG or not domain.is_active:
        everywhere = frozenset(range(os.cpu_count() or 1))
        return [Thread(one.id, everywhere) for one in chosen.io_threads]
    found = await _running(domain)
    return [Thread(number, await asyncio.to_thread(threads.affinity, thread)) for number, thread in found.items()]


async def _running(domain: Domain) -> dict[int, int]:
    """Number → the kernel's id of the thread."""
    answer = await domain.monitor.execute("query-iothreads")
    return {
        int(one["id"].removeprefix(PREFIX)): int(one["thread-id"])
        for one in answer
        if str(one["id"]).startswith(PREFIX) and str(one["id"]).removeprefix(PREFIX).isdigit()
    }


async def add(domain: Domain, number: int, flags: int) -> None:
    """One more. Raises ``errors.InvalidArgument`` for a number that is taken, and as ``impact.impact``."""
    if number == 0:
        raise errors.InvalidArgument("invalid value of 0 for iothread_id")
    async with domain.changing("add an I/O thread to"):
        about = impact.impact(domain, flags)
        if about.config:
            _added(domain.require_persistent(), number)  # refused before anything is done
        if about.live:
            run = domain.require_active()
            changed = _added(run.definition, number)
            await domain.monitor.execute("object-add", {"qom-type": "iothread", "id": f"{PREFIX}{number}"})
            run.definition = replace(run.definition, iothreads=changed.iothreads, iothread_ids=changed.iothread_ids)
            await domain.persist()
        if about.config:
            await domain.change_persistent(lambda one: _added(one, number))


async def remove(domain: Domain, number: int, flags: int) -> None:
    """One less. Raises ``errors.InvalidArgument`` for one that is not there, or that a device uses."""
    if number == 0:
        raise errors.InvalidArgument("invalid value of 0 for iothread_id")
    async with domain.changing("remove an I/O thread of"):
        about = impact.impact(domain, flags)
        if about.config:
            _removed(domain.require_persistent(), number)
        if about.live:
            run = domain.require_active()
            changed = _removed(run.definition, number)
            await domain.monitor.execute("object-del", {"id": f"{PREFIX}{number}"})
            run.definition = replace(run.definition, iothreads=changed.iothreads, iothread_ids=changed.iothread_ids)
            await domain.persist()
        if about.config:
            await domain.change_persistent(lambda one: _removed(one, number))


async def pin(domain: Domain, number: int, cpumap: bytes, flags: int) -> None:
    """Let it run on the CPUs of ``cpumap`` alone. Raises as ``pinning.pin_vcpu``."""
    cpus = pinning.wanted(domain, cpumap, flags)
    async with domain.changing("pin an I/O thread of", during_job=True):
        thread = (await _running(domain)).get(number)
        if thread is None:
            raise errors.InvalidArgument(f"iothread {number} not found")
        await asyncio.to_thread(pinning.pin, {thread}, cpus)


def _added(definition: DomainDef, number: int) -> DomainDef:
    held = definition.io_threads
    if number in _numbers(held):
        raise errors.InvalidArgument(f"an IOThread is already using iothread_id '{number}'")
    return _with(definition, (*held, IOThread(id=number)))


def _removed(definition: DomainDef, number: int) -> DomainDef:
    held = definition.io_threads
    if number not in _numbers(held):
        raise errors.InvalidArgument(f"cannot find IOThread '{number}' in iothreadids list")
    for disk in definition.devices.disks:
        if disk.driver is not None and disk.driver.iothread == number:
            raise errors.InvalidArgument(
                f"cannot remove IOThread {number} since it is being used by disk '{disk.target.dev}'"
            )
    for one in definition.devices.controllers:
        if one.driver is not None and one.driver.iothread == number:
            raise errors.InvalidArgument(f"cannot remove IOThread '{number}' since it is being used by controller")
    return _with(definition, tuple(one for one in held if one.id != number))


def _numbers(held: Collection[IOThread]) -> set[int]:
    return {one.id for one in held}


def _with(definition: DomainDef, held: tuple[IOThread, ...]) -> DomainDef:
    count, ids = iothreads.told(held)
    return replace(definition, iothreads=count, iothread_ids=ids)
