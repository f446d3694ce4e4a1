"""REMOTE procedures about what a guest may use of its host: shares, limits, the CPUs it runs on.

Source of every row: src/remote/remote_protocol.x of libvirt 9.0, ``REMOTE_PROC_`` and the row's name.
"""

from __future__ import annotations

from typing import Annotated

from culvert.protocol import types
from culvert.protocol.procedure import WRITE, Procedure
from culvert.protocol.shapes import DomainArgs, DomainFlagsArgs
from culvert.protocol.types import Domain, Int, OptStr, Str, UHyper, UInt, listed, struct
from culvert.xdr import codec
from culvert.xdr.struct import Void

CPU_MAP_MAX = 2048  # REMOTE_CPUMAP_MAX


@struct
class SchedulerTypeRet:
    """``nparams``: how many parameters there are."""

    type: Str
    nparams: Int


@struct
class DomainParametersArgs:
    """``nparams`` 0 asks only how many there are."""

    dom: Domain
    nparams: Int
    flags: UInt


@struct
class DomainSchedulerParametersArgs:
    dom: Domain
    nparams: Int


@struct
class SchedulerParametersRet:
    params: Annotated[list[types.TypedParam], listed(types.TypedParam, 16)]  # REMOTE_DOMAIN_SCHEDULER_PARAMETERS_MAX


@struct
class ParametersRet:
    """Of memory, disks in all, NUMA, a network card."""

    params: Annotated[list[types.TypedParam], listed(types.TypedParam, 16)]  # REMOTE_DOMAIN_MEMORY_PARAMETERS_MAX
    nparams: Int


@struct
class DomainBlockIoTuneArgs:
    """``disk``: the disk's source or its target's name; absent asks only how many parameters there are."""

    dom: Domain
    disk: OptStr
    nparams: Int
    flags: UInt


@struct
class BlockIoTuneRet:
    params: Annotated[list[types.TypedParam], listed(types.TypedParam, 32)]  # REMOTE_DOMAIN_BLOCK_IO_TUNE_…_MAX
    nparams: Int


@struct
class DomainSetBlockIoTuneArgs:
    dom: Domain
    disk: Str
    params: Annotated[list[types.TypedParam], listed(types.TypedParam, 32)]
    flags: UInt


@struct
class DomainSetInterfaceParametersArgs:
    dom: Domain
    device: Str
    params: Annotated[list[types.TypedParam], listed(types.TypedParam, 16)]  # …_INTERFACE_PARAMETERS_MAX
    flags: UInt


@struct
class DomainInterfaceParametersArgs:
    """``device``: the card's device on the host, or its MAC address."""

    dom: Domain
    device: Str
    nparams: Int
    flags: UInt


@struct
class ManyParametersRet:
    """Of performance events, and of encrypted guests."""

    params: Annotated[list[types.TypedParam], listed(types.TypedParam, 64)]  # REMOTE_DOMAIN_PERF_EVENTS_MAX


@struct
class DomainPinVcpuArgs:
    """``cpumap``: bit 0 of byte 0 is CPU 0."""

    dom: Domain
    vcpu: UInt
    cpumap: Annotated[bytes, codec.Opaque(CPU_MAP_MAX)]


@struct
class DomainPinVcpuFlagsArgs:
    dom: Domain
    vcpu: UInt
    cpumap: Annotated[bytes, codec.Opaque(CPU_MAP_MAX)]
    flags: UInt


@struct
class DomainPinEmulatorArgs:
    dom: Domain
    cpumap: Annotated[bytes, codec.Opaque(CPU_MAP_MAX)]
    flags: UInt


@struct
class DomainPinIOThreadArgs:
    dom: Domain
    iothreads_id: UInt
    cpumap: Annotated[bytes, codec.Opaque(CPU_MAP_MAX)]
    flags: UInt


@struct
class DomainIOThreadArgs:
    dom: Domain
    iothread_id: UInt
    flags: UInt


@struct
class DomainBlockResizeArgs:
    """``size`` in KiB, or bytes where a flag says so."""

    dom: Domain
    disk: Str
    size: UHyper
    flags: UInt


DOMAIN_GET_SCHEDULER_TYPE = Procedure(
    56, "DOMAIN_GET_SCHEDULER_TYPE", DomainArgs, SchedulerTypeRet, acl="domain:read", read_only=True
)
DOMAIN_GET_SCHEDULER_PARAMETERS = Procedure(
    57,
    "DOMAIN_GET_SCHEDULER_PARAMETERS",
    DomainSchedulerParametersArgs,
    SchedulerParametersRet,
    acl="domain:read",
    read_only=True,
)
DOMAIN_GET_SCHEDULER_PARAMETERS_FLAGS = Procedure(
    223,
    "DOMAIN_GET_SCHEDULER_PARAMETERS_FLAGS",
    DomainParametersArgs,
    SchedulerParametersRet,
    acl="domain:read",
    read_only=True,
)
DOMAIN_GET_MEMORY_PARAMETERS = Procedure(
    198, "DOMAIN_GET_MEMORY_PARAMETERS", DomainParametersArgs, ParametersRet, acl="domain:read", read_only=True
)
DOMAIN_GET_BLKIO_PARAMETERS = Procedure(
    206, "DOMAIN_GET_BLKIO_PARAMETERS", DomainParametersArgs, ParametersRet, acl="domain:read", read_only=True
)
DOMAIN_GET_NUMA_PARAMETERS = Procedure(
    255, "DOMAIN_GET_NUMA_PARAMETERS", DomainParametersArgs, ParametersRet, acl="domain:read", read_only=True
)
DOMAIN_GET_BLOCK_IO_TUNE = Procedure(
    253, "DOMAIN_GET_BLOCK_IO_TUNE", DomainBlockIoTuneArgs, BlockIoTuneRet, acl="domain:read", read_only=True
)
DOMAIN_SET_BLOCK_IO_TUNE = Procedure(252, "DOMAIN_SET_BLOCK_IO_TUNE", DomainSetBlockIoTuneArgs, Void, acl=WRITE)
DOMAIN_GET_INTERFACE_PARAMETERS = Procedure(
    257,
    "DOMAIN_GET_INTERFACE_PARAMETERS",
    DomainInterfaceParametersArgs,
    ParametersRet,
    acl="domain:read",
    read_only=True,
)
DOMAIN_SET_INTERFACE_PARAMETERS = Procedure(
    256, "DOMAIN_SET_INTERFACE_PARAMETERS", DomainSetInterfaceParametersArgs, Void, acl=WRITE
)
DOMAIN_GET_PERF_EVENTS = Procedure(
    365, "DOMAIN_GET_PERF_EVENTS", DomainFlagsArgs, ManyParametersRet, acl="domain:read", read_only=True
)
DOMAIN_GET_LAUNCH_SECURITY_INFO = Procedure(
    396, "DOMAIN_GET_LAUNCH_SECURITY_INFO", DomainFlagsArgs, ManyParametersRet, acl="domain:read"
)
DOMAIN_PIN_VCPU = Procedure(26, "DOMAIN_PIN_VCPU", DomainPinVcpuArgs, Void, acl="domain:write")
DOMAIN_PIN_VCPU_FLAGS = Procedure(225, "DOMAIN_PIN_VCPU_FLAGS", DomainPinVcpuFlagsArgs, Void, acl=WRITE)
DOMAIN_PIN_EMULATOR = Procedure(279, "DOMAIN_PIN_EMULATOR", DomainPinEmulatorArgs, Void, acl=WRITE)
DOMAIN_PIN_IOTHREAD = Procedure(352, "DOMAIN_PIN_IOTHREAD", DomainPinIOThreadArgs, Void, acl=WRITE)
DOMAIN_ADD_IOTHREAD = Procedure(355, "DOMAIN_ADD_IOTHREAD", DomainIOThreadArgs, Void, acl=WRITE)
DOMAIN_DEL_IOTHREAD = Procedure(356, "DOMAIN_DEL_IOTHREAD", DomainIOThreadArgs, Void, acl=WRITE)
DOMAIN_BLOCK_RESIZE = Procedure(251, "DOMAIN_BLOCK_RESIZE", DomainBlockResizeArgs, Void, acl="domain:block_write")
