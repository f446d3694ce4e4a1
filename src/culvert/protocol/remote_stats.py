"""REMOTE procedures that measure: memory, VCPUs, disks, interfaces, everything of every domain.

Source of every row: src/remote/remote_protocol.x of libvirt 9.0, ``REMOTE_PROC_`` and the row's name.
"""

from __future__ import annotations

from typing import Annotated

from culvert.ground.units import MiB
from culvert.protocol import types
from culvert.protocol.procedure import Procedure
from culvert.protocol.shapes import DomainFlagsArgs
from culvert.protocol.types import Domain, Hyper, Int, Str, UHyper, UInt, listed, struct
from culvert.xdr import codec


@struct
class DomainMemoryStatsArgs:
    dom: Domain
    max_stats: UInt
    flags: UInt


@struct
class DomainMemoryStatsRet:
    stats: Annotated[list[types.DomainMemoryStat], listed(types.DomainMemoryStat, 1024)]


@struct
class DomainVcpusArgs:
    """``maplen``: bytes of CPU map wanted for each VCPU."""

    dom: Domain
    maxinfo: Int
    maplen: Int


@struct
class DomainVcpusRet:
    info: Annotated[list[types.VcpuInfo], listed(types.VcpuInfo, 16384)]  # REMOTE_VCPUINFO_MAX
    cpumaps: Annotated[bytes, codec.Opaque(8 * MiB)]  # REMOTE_CPUMAPS_MAX


@struct
class DomainBlockArgs:
    """``path``: the disk's source or its target's name."""

    dom: Domain
    path: Str
    flags: UInt


@struct
class BlockInfoRet:
    """Bytes."""

    allocation: UHyper
    capacity: UHyper
    physical: UHyper


@struct
class DomainBlockStatsArgs:
    """``path``: the disk's source or its target's name; empty for all disks together."""

    dom: Domain
    path: Str


@struct
class BlockStatsRet:
    """-1 where a number is not known."""

    rd_req: Hyper
    rd_bytes: Hyper
    wr_req: Hyper
    wr_bytes: Hyper
    errs: Hyper


@struct
class DomainBlockStatsFlagsArgs:
    """``nparams`` 0 asks only how many there are."""

    dom: Domain
    path: Str
    nparams: Int
    flags: UInt


@struct
class BlockStatsFlagsRet:
    params: Annotated[list[types.TypedParam], listed(types.TypedParam, 16)]
    nparams: Int


@struct
class DomainInterfaceStatsArgs:
    dom: Domain
    device: Str


@struct
class InterfaceStatsRet:
    rx_bytes: Hyper
    rx_packets: Hyper
    rx_errs: Hyper
    rx_drop: Hyper
    tx_bytes: Hyper
    tx_packets: Hyper
    tx_errs: Hyper
    tx_drop: Hyper


@struct
class DomainVcpuPinInfoArgs:
    """``ncpumaps`` maps of ``maplen`` bytes each are wanted."""

    dom: Domain
    ncpumaps: Int
    maplen: Int
    flags: UInt


@struct
class DomainVcpuPinInfoRet:
    cpumaps: Annotated[bytes, codec.Opaque(8 * MiB)]  # REMOTE_CPUMAPS_MAX
    num: Int


@struct
class DomainEmulatorPinInfoArgs:
    dom: Domain
    maplen: Int
    flags: UInt


@struct
class DomainEmulatorPinInfoRet:
    cpumaps: Annotated[bytes, codec.Opaque(8 * MiB)]  # REMOTE_CPUMAPS_MAX
    ret: Int


@struct
class DomainCPUStatsArgs:
    """``start_cpu`` -1 and ``ncpus`` 1 for the total; ``nparams`` 0 asks how many parameters there are."""

    dom: Domain
    nparams: UInt
    start_cpu: Int
    ncpus: UInt
    flags: UInt


@struct
class DomainCPUStatsRet:
    params: Annotated[list[types.TypedParam], listed(types.TypedParam, 2048)]  # REMOTE_DOMAIN_GET_CPU_STATS_MAX
    nparams: Int


@struct
class DiskError:
    """``remote_domain_disk_error``: ``error`` a ``constants_state.DiskErrorCode``."""

    disk: Str
    error: Int


@struct
class DomainDiskErrorsArgs:
    dom: Domain
    maxerrors: UInt
    flags: UInt


@struct
class DomainDiskErrorsRet:
    errors: Annotated[list[DiskError], listed(DiskError, 256)]  # REMOTE_DOMAIN_DISK_ERRORS_MAX
    nerrors: Int


@struct
class IOThreadInfo:
    """``remote_domain_iothread_info``."""

    iothread_id: UInt
    cpumap: Annotated[bytes, codec.Opaque(2048)]  # REMOTE_CPUMAP_MAX


@struct
class IOThreadInfoRet:
    info: Annotated[list[IOThreadInfo], listed(IOThreadInfo, 16384)]  # REMOTE_IOTHREAD_INFO_MAX
    ret: UInt


@struct
class AllDomainStatsArgs:
    """``doms`` empty means all; ``stats`` is a ``constants_flag.StatsGroup`` set, 0 for all groups."""

    doms: types.Domains
    stats: UInt
    flags: UInt


@struct
class AllDomainStatsRet:
    ret_stats: Annotated[list[types.DomainStatsRecord], listed(types.DomainStatsRecord, types.DOMAIN_LIST_MAX)]


@struct
class BlockJobInfoRet:
    """``found`` 0: there is no job, and nothing else counts."""

    found: Int
    type: Int
    bandwidth: UHyper
    cur: UHyper
    end: UHyper


DOMAIN_MEMORY_STATS = Procedure(
    159, "DOMAIN_MEMORY_STATS", DomainMemoryStatsArgs, DomainMemoryStatsRet, acl="domain:read", read_only=True
)
DOMAIN_GET_VCPUS = Procedure(
    20, "DOMAIN_GET_VCPUS", DomainVcpusArgs, DomainVcpusRet, acl="domain:read", read_only=True
)
DOMAIN_GET_BLOCK_INFO = Procedure(
    194, "DOMAIN_GET_BLOCK_INFO", DomainBlockArgs, BlockInfoRet, acl="domain:read", read_only=True
)
DOMAIN_BLOCK_STATS = Procedure(
    64, "DOMAIN_BLOCK_STATS", DomainBlockStatsArgs, BlockStatsRet, acl="domain:read", read_only=True
)
DOMAIN_BLOCK_STATS_FLAGS = Procedure(
    243, "DOMAIN_BLOCK_STATS_FLAGS", DomainBlockStatsFlagsArgs, BlockStatsFlagsRet, acl="domain:read", read_only=True
)
DOMAIN_INTERFACE_STATS = Procedure(
    65, "DOMAIN_INTERFACE_STATS", DomainInterfaceStatsArgs, InterfaceStatsRet, acl="domain:read", read_only=True
)
DOMAIN_GET_VCPU_PIN_INFO = Procedure(
    230, "DOMAIN_GET_VCPU_PIN_INFO", DomainVcpuPinInfoArgs, DomainVcpuPinInfoRet, acl="domain:read", read_only=True
)
DOMAIN_GET_EMULATOR_PIN_INFO = Procedure(
    280,
    "DOMAIN_GET_EMULATOR_PIN_INFO",
    DomainEmulatorPinInfoArgs,
    DomainEmulatorPinInfoRet,
    acl="domain:read",
    read_only=True,
)
DOMAIN_GET_CPU_STATS = Procedure(
    262, "DOMAIN_GET_CPU_STATS", DomainCPUStatsArgs, DomainCPUStatsRet, acl="domain:read", read_only=True
)
DOMAIN_GET_DISK_ERRORS = Procedure(
    263, "DOMAIN_GET_DISK_ERRORS", DomainDiskErrorsArgs, DomainDiskErrorsRet, acl="domain:read", read_only=True
)
DOMAIN_GET_IOTHREAD_INFO = Procedure(
    351, "DOMAIN_GET_IOTHREAD_INFO", DomainFlagsArgs, IOThreadInfoRet, acl="domain:read", read_only=True
)
CONNECT_GET_ALL_DOMAIN_STATS = Procedure(
    344,
    "CONNECT_GET_ALL_DOMAIN_STATS",
    AllDomainStatsArgs,
    AllDomainStatsRet,
    acl="connect:search_domains",
    acl_filter="domain:read",
    read_only=True,
)
DOMAIN_GET_BLOCK_JOB_INFO = Procedure(
    238, "DOMAIN_GET_BLOCK_JOB_INFO", DomainBlockArgs, BlockJobInfoRet, acl="domain:read", read_only=True
)
