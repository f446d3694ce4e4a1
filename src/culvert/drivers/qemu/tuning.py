"""What a guest may use of its host, in libvirt's parameters, as it is where nothing was ever set.

Guests are in no control group of their own here, so what the kernel keeps by group is refused for a running guest in
libvirt's words for a host that has not mounted the controller; a definition says nothing, which are libvirt's
defaults. Source: qemu/qemu_driver.c of libvirt 9.0 (qemuDomainGet…Parameters), and what its virsh shows.
"""

from __future__ import annotations

from dataclasses import dataclass

from culvert.drivers.qemu import impact
from culvert.drivers.qemu.domain import Domain
from culvert.ground import errors
from culvert.protocol.constants_flag import AffectFlag, TypedParamFlag
from culvert.protocol.types import TypedParam, TypedParamType

UNLIMITED = 2**53 - 1  # KiB: VIR_DOMAIN_MEMORY_PARAM_UNLIMITED
IMPACT = AffectFlag.LIVE | AffectFlag.CONFIG

_INT, _UINT = TypedParamType.INT, TypedParamType.UINT
_LLONG, _ULLONG = TypedParamType.LLONG, TypedParamType.ULLONG
_STRING, _BOOLEAN = TypedParamType.STRING, TypedParamType.BOOLEAN


@dataclass(frozen=True, slots=True)
class Group:
    """Parameters that are asked for together. ``controller``: why those of a running guest are not known, if so."""

    params: tuple[TypedParam, ...]
    controller: str = ""


def _group(controller: str, *params: tuple[str, TypedParamType, int | str]) -> Group:
    return Group(tuple(TypedParam(name, (kind, value)) for name, kind, value in params), controller)


SCHEDULER = _group(
    "cgroup CPU controller is not mounted",
    ("cpu_shares", _ULLONG, 0),
    *(
        (f"{whose}_{what}", kind, 0)
        for whose in ("vcpu", "emulator", "global", "iothread")
        for what, kind in (("period", _ULLONG), ("quota", _LLONG))
    ),
)
MEMORY = _group(
    "cgroup memory controller is not mounted",
    *((name, _ULLONG, UNLIMITED) for name in ("hard_limit", "soft_limit", "swap_hard_limit")),
)
BLKIO = _group(
    "blkio cgroup isn't mounted",
    ("weight", _UINT, 0),
    ("device_weight", _STRING, ""),
    *((f"device_{what}_sec", _STRING, "") for what in ("read_iops", "write_iops", "read_bytes", "write_bytes")),
)
NUMA = _group("", ("numa_mode", _INT, 0), ("numa_nodeset", _STRING, ""))
_WAYS = tuple(f"{way}_{what}_sec" for what in ("bytes", "iops") for way in ("total", "read", "write"))
BLOCK_IO = _group(
    "",
    *((name, _ULLONG, 0) for name in _WAYS),
    *((f"{name}_max", _ULLONG, 0) for name in _WAYS),
    ("size_iops_sec", _ULLONG, 0),
    ("group_name", _STRING, ""),
    *((f"{name}_max_length", _ULLONG, 0) for name in _WAYS),
)
INTERFACE = _group(
    "",
    *((f"inbound.{name}", _UINT, 0) for name in ("average", "peak", "burst", "floor")),
    *((f"outbound.{name}", _UINT, 0) for name in ("average", "peak", "burst")),
)
PERF = _group(
    "",
    *(
        (name, _BOOLEAN, 0)
        for name in (
            *("cmt", "mbmt", "mbml", "cpu_cycles", "instructions", "cache_references", "cache_misses"),
            *("branch_instructions", "branch_misses", "bus_cycles", "stalled_cycles_frontend"),
            *("stalled_cycles_backend", "ref_cpu_cycles", "cpu_clock", "task_clock", "page_faults"),
            *("context_switches", "cpu_migrations", "page_faults_min", "page_faults_maj", "alignment_faults"),
            "emulation_faults",
        )
    ),
)


def ask(domain: Domain, group: Group, flags: int) -> list[TypedParam]:
    """The parameters of ``group`` by LIVE or CONFIG; texts only for who can read them (STRING_OKAY).

    Raises ``errors.OperationInvalid`` for what is not known of a running guest, and as ``impact.chosen``.
    """
    about = flags & IMPACT
    impact.chosen(domain, about)
    if group.controller and domain.is_active and not about & AffectFlag.CONFIG:
        raise errors.OperationInvalid(group.controller)
    texts = bool(flags & TypedParamFlag.STRING_OKAY)
    return [param for param in group.params if texts or param.value[0] != _STRING]


def scheduler(domain: Domain) -> int:
    """How many parameters the scheduler has. Raises ``errors.OperationInvalid`` for a running guest."""
    if domain.is_active:
        raise errors.OperationInvalid(SCHEDULER.controller)
    return len(SCHEDULER.params)
