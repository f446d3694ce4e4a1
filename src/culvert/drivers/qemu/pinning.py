"""On which of the host's CPUs a running guest's processors, and the rest of its QEMU, may run.

The kernel keeps it with the threads: it outlives the daemon, and ends with the run.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from culvert.drivers.qemu import impact, vcpus
from culvert.drivers.qemu.domain import Domain
from culvert.ground import errors


async def pin_vcpu(domain: Domain, number: int, cpumap: bytes, flags: int) -> None:
    """Let processor ``number`` run on the CPUs of ``cpumap`` alone.

    Raises ``errors.InvalidArgument`` for a processor that is not there and for no CPU, for the next start
    ``errors.OperationUnsupported``, and ``errors.SystemCallError`` when the kernel refuses.
    """
    cpus = wanted(domain, cpumap, flags)
    async with domain.changing("pin the processors of", during_job=True):
        found = await vcpus.running(domain)
        thread = next((one.thread for one in found if one.number == number), None)
        if thread is None:
            raise errors.InvalidArgument(f"vcpu {number} is out of range of live cpu count {len(found)}")
        await asyncio.to_thread(pin, {thread}, cpus)


async def pin_emulator(domain: Domain, cpumap: bytes, flags: int) -> None:
    """Let all of QEMU but the guest's processors run on the CPUs of ``cpumap`` alone. Raises as ``pin_vcpu``."""
    cpus = wanted(domain, cpumap, flags)
    async with domain.changing("pin the emulator of", during_job=True):
        process = domain.require_active().process
        if process is None:
            raise errors.OperationInvalid(f"domain '{domain.name}' is being started")
        processors = {one.thread for one in await vcpus.running(domain)}
        await asyncio.to_thread(_pin_process, process.pid, processors, cpus)


async def as_defined(domain: Domain) -> None:
    """Put every thread of a QEMU that is started where its definition wants it; one that it says nothing of stays.

    By ``<vcpupin>`` and ``<emulatorpin>``, else ``<vcpu cpuset>``: qemuProcessSetupPid and qemuProcessSetupVcpu of
    libvirt's qemu/qemu_process.c. Raises ``errors.SystemCallError`` for CPUs that the host does not have.
    """
    run = domain.require_active()
    usual = run.definition.vcpu.cpuset if run.definition.vcpu else None
    tune = run.definition.cputune
    pins = {pin.vcpu: pin.cpuset for pin in tune.vcpu_pins} if tune else {}
    others = (tune.emulator_pin if tune else None) or usual
    io_pins = {one.iothread: one.cpuset for one in tune.io_pins} if tune else {}
    if run.process is None or not (pins or others or io_pins):
        return
    found = {one.number: one.thread for one in await vcpus.running(domain)}
    if others:
        await asyncio.to_thread(_pin_process, run.process.pid, set(found.values()), others)
    for one in await domain.monitor.execute("query-iothreads") if io_pins else ():
        cpus = io_pins.get(int(str(one["id"]).removeprefix("iothread")))
        if cpus:
            await asyncio.to_thread(pin, {int(one["thread-id"])}, cpus)
    for number, thread in found.items():
        wanted = pins.get(number) or usual
        if wanted:
            await asyncio.to_thread(pin, {thread}, wanted)


def unpacked(cpumap: bytes) -> frozenset[int]:
    """The CPUs of a map: bit 0 of byte 0 is CPU 0."""
    return frozenset(
        index * vcpus.BITS + bit for index, byte in enumerate(cpumap) for bit in range(vcpus.BITS) if byte & 1 << bit
    )


def wanted(domain: Domain, cpumap: bytes, flags: int) -> frozenset[int]:
    """The CPUs that a thread of the running guest is to be pinned to. Raises as ``pin_vcpu``."""
    about = impact.impact(domain, flags)
    cpus = unpacked(cpumap)
    if not cpus:
        raise errors.InvalidArgument("Empty cpu list for pinning")
    if about.config:
        raise errors.OperationUnsupported(
            f"domain '{domain.name}': CPUs are not pinned in the definition; pin them while the guest runs (--live)"
        )
    return cpus


def pin(threads: set[int], cpus: frozenset[int]) -> None:
    """Blocks. Raises ``errors.SystemCallError``."""
    for thread in threads:
        try:
            os.sched_setaffinity(thread, cpus)
        except ProcessLookupError:
            continue  # a thread of QEMU's that has ended meanwhile
        except OSError as err:
            raise errors.SystemCallError(
                f"cannot set CPU affinity on process {thread}: {err.strerror}", errno=err.errno
            ) from err


def _pin_process(pid: int, processors: set[int], cpus: frozenset[int]) -> None:
    try:
        found = {int(entry.name) for entry in Path(f"/proc/{pid}/task").iterdir()}
    except OSError as err:
        raise errors.SystemCallError(f"cannot read the threads of {pid}: {err.strerror}", errno=err.errno) from err
    pin(found - processors, cpus)
