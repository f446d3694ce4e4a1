"""``<cputune>`` and ``<numatune>``: where on the host a guest runs, and how much of it is its share.

Source: docs/formatdomain, "CPU Tuning" and "NUMA Node Tuning".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from culvert.domain.binding import attribute, child, children, leaf, lone
from culvert.domain.scalars import CPU_SET, ULONG, Integer, one_of
from culvert.ground import errors

# Microseconds, of the kernel (conf/domain_validate.c, virDomainCputuneDefValidate).
PERIOD = Integer(low=1000, high=1_000_000, refusal=errors.ConfigUnsupported)
QUOTA = Integer(low=-(2**63), high=17_592_186_044_415, refusal=errors.ConfigUnsupported)


SCHEDULERS = one_of("batch", "idle", "fifo", "rr")
PRIORITY = Integer(low=-(2**31), high=2**31 - 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class VcpuPin:
    """The host's processors that one of the guest's runs on."""

    vcpu: Annotated[int, attribute("vcpu", Integer(high=4095))]
    cpuset: Annotated[frozenset[int], attribute("cpuset", CPU_SET)]


@dataclass(frozen=True, slots=True, kw_only=True)
class IOThreadPin:
    """The host's processors that one of QEMU's threads for disks runs on."""

    iothread: Annotated[int, attribute("iothread", Integer(low=1, high=2**31 - 1))]
    cpuset: Annotated[frozenset[int], attribute("cpuset", CPU_SET)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """How the host's kernel schedules the threads that are no processors and no disks'."""

    scheduler: Annotated[str, attribute("scheduler", SCHEDULERS)]
    priority: Annotated[int | None, attribute("priority", PRIORITY)] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class VcpuSchedule:
    """Those of processors."""

    vcpus: Annotated[frozenset[int], attribute("vcpus", CPU_SET)]
    scheduler: Annotated[str, attribute("scheduler", SCHEDULERS)]
    priority: Annotated[int | None, attribute("priority", PRIORITY)] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class IothreadSchedule:
    """Those for disks."""

    iothreads: Annotated[frozenset[int], attribute("iothreads", CPU_SET)]
    scheduler: Annotated[str, attribute("scheduler", SCHEDULERS)]
    priority: Annotated[int | None, attribute("priority", PRIORITY)] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CpuTune:
    """``shares``: weight among the host's groups; a ``quota`` of microseconds in each ``period``, negative for none,
    for each processor, the whole guest (``global_…``), QEMU's other threads (``emulator_…``)."""

    shares: Annotated[int | None, leaf("shares", ULONG)] = None
    period: Annotated[int | None, leaf("period", PERIOD)] = None
    quota: Annotated[int | None, leaf("quota", QUOTA)] = None
    global_period: Annotated[int | None, leaf("global_period", PERIOD)] = None
    global_quota: Annotated[int | None, leaf("global_quota", QUOTA)] = None
    emulator_period: Annotated[int | None, leaf("emulator_period", PERIOD)] = None
    emulator_quota: Annotated[int | None, leaf("emulator_quota", QUOTA)] = None
    iothread_period: Annotated[int | None, leaf("iothread_period", PERIOD)] = None
    iothread_quota: Annotated[int | None, leaf("iothread_quota", QUOTA)] = None
    vcpu_pins: Annotated[tuple[VcpuPin, ...], children("vcpupin", VcpuPin)] = ()
    emulator_pin: Annotated[frozenset[int] | None, lone("emulatorpin", "cpuset", CPU_SET, needed=True)] = None
    io_pins: Annotated[tuple[IOThreadPin, ...], children("iothreadpin", IOThreadPin)] = ()
    emulator_schedule: Annotated[Schedule | None, child("emulatorsched", Schedule)] = None
    vcpu_schedules: Annotated[tuple[VcpuSchedule, ...], children("vcpusched", VcpuSchedule)] = ()
    iothread_schedules: Annotated[tuple[IothreadSchedule, ...], children("iothreadsched", IothreadSchedule)] = ()

    @property
    def quotas(self) -> tuple[int, ...]:
        """All that only a control group could hold the guest to."""
        told = (
            *(self.period, self.quota, self.global_period, self.global_quota),
            self.emulator_period,
            self.emulator_quota,
        )
        return tuple(one for one in told if one is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class NumaMemory:
    """The host's nodes that the guest's memory comes from."""

    mode: Annotated[str, attribute("mode", one_of("strict", "preferred", "interleave", "restrictive"))] = "strict"
    nodeset: Annotated[frozenset[int] | None, attribute("nodeset", CPU_SET)] = None
    placement: Annotated[str | None, attribute("placement", one_of("static", "auto"))] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NumaNode:
    """The host's nodes that the memory of one of the guest's comes from."""

    cellid: Annotated[int, attribute("cellid", Integer(high=2**31 - 1))]
    mode: Annotated[str, attribute("mode", one_of("strict", "preferred", "interleave", "restrictive"))] = "strict"
    nodeset: Annotated[frozenset[int], attribute("nodeset", CPU_SET)]


@dataclass(frozen=True, slots=True, kw_only=True)
class NumaTune:
    """``<numatune>``."""

    memory: Annotated[NumaMemory | None, child("memory", NumaMemory)] = None
    nodes: Annotated[tuple[NumaNode, ...], children("memnode", NumaNode)] = ()
