"""A guest's processors: which host thread each is, what it has done, how many there are to be.

Source: QMP ``query-cpus-fast``, ``query-hotpluggable-cpus`` (qapi/machine.json of QEMU).
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from culvert.domain import vcpus
from culvert.drivers.qemu import impact, threads
from culvert.drivers.qemu.domain import Domain
from culvert.drivers.qemu.impact import Impact
from culvert.drivers.qemu.run import Run
from culvert.ground import errors
from culvert.protocol.constants_flag import AffectFlag, VcpuFlag
from culvert.protocol.constants_state import EventID, VcpuState

UNPLUG_TIMEOUT = 5.0  # seconds for the guest to let go of a processor; libvirt waits as long
ALIAS = "vcpu"  # and the number: libvirt's name of a processor that was plugged in
PLUGGED = re.compile(rf"/machine/peripheral/{ALIAS}[0-9]+(/|$)")  # in QEMU's tree of objects
LEVELS = ("socket-id", "die-id", "core-id", "thread-id")  # of a place for a processor, the outermost first
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

    Processors the guest was started with cannot be taken away from it, and none from one under TCG. Raises
    ``errors.InvalidArgument`` for more than there may be, ``errors.OperationUnsupported`` under TCG, and
    ``errors.OperationFailed`` when QEMU or the guest refuse.
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
            await impact.keep(domain, lambda definition: vcpus.with_maximum(definition, number), about)
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
                await plug(domain, number, wait=not flags & VcpuFlag.ASYNC_UNPLUG)
            finally:
                await look(domain, domain.require_active())
        if about.config:
            can_leave = bool(flags & VcpuFlag.HOTPLUGGABLE)
            await impact.keep(
                domain,
                lambda one: vcpus.with_count(one, number, hotpluggable=can_leave),
                Impact(live=False, config=True),
            )


async def look(domain: Domain, run: Run) -> None:
    """Bring the definition up to the processors that the guest has now; on the disk on return. Event VCPU_REMOVED for
    each that has gone."""
    slots = await _slots(domain)
    present = [place for place, slot in enumerate(slots) if "qom-path" in slot]
    before = run.definition
    known = [one.id for one in vcpus.states(before) if one.enabled]
    if present != known and domain.run is run:
        run.definition = vcpus.with_present(before, present)
        for number in sorted(set(known) - set(present)):
            domain.tell(EventID.VCPU_REMOVED, vcpuid=number)
        await domain.persist()


async def heard_of(domain: Domain, run: Run, path: str) -> None:
    """QEMU has let go of the device at ``path``, which may be a processor, or a part of one."""
    if PLUGGED.match(path) and domain.run is run:
        with contextlib.suppress(errors.RequestError):
            await look(domain, run)


async def prepare(domain: Domain) -> None:
    """Plug in the processors of a starting guest that QEMU was not started with. Raises QEMU's refusals."""
    wanted = vcpus.plugged(domain.require_active().definition)
    slots = await _slots(domain) if wanted else []
    for number in wanted:
        await _add(domain, number, slots[number])


async def _slots(domain: Domain) -> list[dict[str, Any]]:
    """The places for processors, by number (of QEMU's own list, which is in no order)."""
    slots: list[dict[str, Any]] = await domain.monitor.execute("query-hotpluggable-cpus")
    return sorted(slots, key=lambda slot: [int(slot["props"].get(name, 0)) for name in LEVELS])


async def _add(domain: Domain, number: int, slot: dict[str, Any]) -> None:
    arguments = {"driver": slot["type"], "id": f"{ALIAS}{number}", **slot["props"]}
    await domain.monitor.execute("device_add", arguments)


async def plug(domain: Domain, number: int, *, wait: bool = True) -> None:
    """Add the next free ones, or take the last that were added; ``wait``: until the guest has let go of each."""
    slots = await _slots(domain)
    there = [place for place, slot in enumerate(slots) if "qom-path" in slot]
    free = [place for place, slot in enumerate(slots) if "qom-path" not in slot]
    for place in free[: max(0, number - len(there))]:
        await _add(domain, place, slots[place])
    if there[number:] and domain.require_active().definition.type == "qemu":
        # A 7.2.22 that had done it under TCG has died later, and its guest with it (SIGSEGV, SIGABRT).
        raise errors.OperationUnsupported(
            f"a processor cannot be taken away from domain '{domain.name}' while it runs: QEMU does that safely only"
            " with KVM (type='kvm'); change its next start with --config"
        )
    for place in reversed(there[number:]):
        await _unplug(domain, str(slots[place]["qom-path"]), wait=wait)


async def _unplug(domain: Domain, path: str, *, wait: bool) -> None:
    alias = path.rpartition("/")[2]
    if not alias.startswith(ALIAS):
        raise errors.OperationInvalid(
            f"cannot take away a processor that domain '{domain.name}' was started with ({path})"
        )
    async with domain.monitor.events(["DEVICE_DELETED"]) as told:
        await domain.monitor.execute("device_del", {"id": alias})
        if not wait:
            return
        try:
            await told.get(UNPLUG_TIMEOUT, where=lambda event: event["data"].get("device") == alias)
        except errors.OperationTimeout as err:
            raise errors.OperationTimeout(
                f"vcpu unplug request timed out: the guest of domain '{domain.name}' does not let go of {alias}"
            ) from err
