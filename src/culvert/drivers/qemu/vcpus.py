"""A guest's processors: which host thread each is, what it has done, how many there are to be.

Source: QMP ``query-cpus-fast``, ``query-hotpluggable-cpus`` (qapi/machine.json of QEMU).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from culvert.domain.cpu import Vcpu
from culvert.domain.definition import DomainDef
from culvert.drivers.qemu import impact, threads
from culvert.drivers.qemu.domain import Domain
from culvert.drivers.qemu.impact import Impact
from culvert.ground import errors
from culvert.protocol.constants_flag import AffectFlag, VcpuFlag
from culvert.protocol.constants_state import VcpuState

UNPLUG_TIMEOUT = 5.0  # seconds for the guest to let go of a processor; libvirt waits as long
ALIAS = "vcpu"  # and the number: libvirt's name of a processor that was plugged in
BITS = 8  # CPUs in a byte of a map


@dataclass(frozen=True, slots=True)
class RunningVcpu:
    """One processor of a running guest; ``affinity``: host CPUs it may run on."""

    number: int
    thread: int
    state: VcpuState
    times: threads.Times
    affinity: frozenset[int]


async def running(domain: Domain) -> list[RunningVcpu]:
    """The processors that the running guest has now, by number."""
    run = domain.require_active()
    pid = run.process.pid if run.process else 0
    told = await domain.monitor.execute("query-cpus-fast")
    thread_of = {int(entry["cpu-index"]): int(entry["thread-id"]) for entry in told}
    # Three files below /proc for each: a guest may have hundreds.
    return await asyncio.to_thread(_looked_up, pid, thread_of)


def _looked_up(pid: int, thread_of: Mapping[int, int]) -> list[RunningVcpu]:
    return [
        RunningVcpu(number, thread, VcpuState.RUNNING, threads.of_thread(pid, thread), threads.affinity(thread))
        for number, thread in sorted(thread_of.items())
    ]


def packed(cpus: frozenset[int], length: int) -> bytes:
    """A CPU map of ``length`` bytes: bit 0 of byte 0 is CPU 0; what does not fit is left out."""
    made = bytearray(length)
    for cpu in cpus:
        if cpu < length * BITS:
            made[cpu // BITS] |= 1 << cpu % BITS
    return bytes(made)


def count(domain: Domain, flags: int) -> int:
    """How many processors there are, or at most (``VcpuFlag.MAXIMUM``), by LIVE or CONFIG.

    Raises ``errors.OperationInvalid`` and ``errors.InvalidArgument`` as ``impact.chosen``.
    """
    definition = impact.chosen(domain, flags & (AffectFlag.LIVE | AffectFlag.CONFIG))
    return definition.vcpus if flags & VcpuFlag.MAXIMUM else definition.current_vcpus


async def set_count(domain: Domain, number: int, flags: int) -> None:
    """Let the guest have ``number`` processors, now or from its next start on; with MAXIMUM: at most, and then only
    in the persistent definition.

    Processors the guest was started with cannot be taken away from it. Raises ``errors.InvalidArgument`` for more
    than there may be, and ``errors.OperationFailed`` when QEMU or the guest refuse.
    """
    if number == 0:
        raise errors.InvalidArgument("invalid argument: nvcpus in virDomainSetVcpusFlags must be greater than zero")
    async with domain.changing("set the processors of"):
        about = impact.impact(domain, flags & (AffectFlag.LIVE | AffectFlag.CONFIG))
        if flags & VcpuFlag.MAXIMUM:
            if about.live:
                raise errors.InvalidArgument(
                    "invalid argument: maximum vcpu count of a live domain can't be modified"
                )
            await impact.keep(domain, lambda definition: _with_maximum(definition, number), about)
            return
        for name, wanted, definition in (
            ("live", about.live, domain.active),
            ("persistent", about.config, domain.persistent),
        ):
            if wanted and definition is not None and number > definition.vcpus:
                raise errors.InvalidArgument(
                    "invalid argument: requested vcpus is greater than max allowable vcpus for the"
                    f" {name} domain: {number} > {definition.vcpus}"
                )
        if about.live:
            try:
                await _plug(domain, number)
            finally:
                present = len(await domain.monitor.execute("query-cpus-fast"))
                await impact.keep(domain, lambda one: _with_current(one, present), Impact(live=True, config=False))
        if about.config:
            await impact.keep(domain, lambda one: _with_current(one, number), Impact(live=False, config=True))


def _with_current(definition: DomainDef, number: int) -> DomainDef:
    vcpu = definition.vcpu or Vcpu(count=definition.vcpus)
    return replace(definition, vcpu=replace(vcpu, current=None if number == vcpu.count else number))


def _with_maximum(definition: DomainDef, number: int) -> DomainDef:
    topology = definition.cpu.topology if definition.cpu else None
    if topology is not None and topology.count != number:
        raise errors.ConfigUnsupported("unsupported configuration: CPU topology doesn't match the desired vcpu count")
    vcpu = definition.vcpu or Vcpu(count=number)
    now = min(definition.current_vcpus, number)
    return replace(definition, vcpu=replace(vcpu, count=number, current=None if now == number else now))


async def _plug(domain: Domain, number: int) -> None:
    """Add the next free ones, or take the last that were added."""
    slots: list[dict[str, Any]] = await domain.monitor.execute("query-hotpluggable-cpus")
    ordered = sorted(slots, key=lambda slot: tuple(sorted(slot["props"].items())))
    there = [slot for slot in ordered if "qom-path" in slot]
    free = [slot for slot in ordered if "qom-path" not in slot]
    for slot in free[: max(0, number - len(there))]:
        alias = f"{ALIAS}{ordered.index(slot)}"
        await domain.monitor.execute("device_add", {"driver": slot["type"], "id": alias, **slot["props"]})
    for slot in reversed(there[number:]):
        await _unplug(domain, str(slot["qom-path"]))


async def _unplug(domain: Domain, path: str) -> None:
    alias = path.rpartition("/")[2]
    if not alias.startswith(ALIAS):
        raise errors.OperationInvalid(
            f"cannot take away a processor that domain '{domain.name}' was started with ({path})"
        )
    async with domain.monitor.events(["DEVICE_DELETED"]) as told:
        await domain.monitor.execute("device_del", {"id": alias})
        try:
            await told.get(UNPLUG_TIMEOUT, where=lambda event: event["data"].get("device") == alias)
        except errors.OperationTimeout as err:
            raise errors.OperationTimeout(
                f"vcpu unplug request timed out: the guest of domain '{domain.name}' does not let go of {alias}"
            ) from err
