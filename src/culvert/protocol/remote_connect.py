"""REMOTE procedures about the connection, authentication and the host ("node").

Source of every row: src/remote/remote_protocol.x of libvirt 9.0, ``REMOTE_PROC_`` and the row's name. Which rows a
read-only connection may call: the checks at the head of the public functions (src/libvirt-host.c,
src/libvirt-domain.c).
"""

from __future__ import annotations

from enum import IntEnum
from typing import Annotated

from culvert.protocol import types
from culvert.protocol.procedure import Procedure
from culvert.protocol.shapes import CapabilitiesRet, FlagsArgs, TypeRet
from culvert.protocol.types import Int, OptStr, Str, UHyper, UInt, listed, struct
from culvert.xdr import codec
from culvert.xdr.struct import Void

SECURITY_MODEL_MAX = 257  # VIR_SECURITY_MODEL_BUFLEN, VIR_SECURITY_DOI_BUFLEN


class AuthType(IntEnum):
    """``remote_auth_type``."""

    NONE = 0  # REMOTE_AUTH_NONE
    SASL = 1  # REMOTE_AUTH_SASL
    POLKIT = 2  # REMOTE_AUTH_POLKIT


@struct
class ConnectOpenArgs:
    """``name``: the URI without what only the client needs; ``flags``: 1 = read-only."""

    name: OptStr
    flags: UInt


@struct
class HvVersionRet:
    """major · 1 000 000 + minor · 1 000 + micro."""

    hv_ver: UHyper


@struct
class LibVersionRet:
    """As ``HvVersionRet``."""

    lib_ver: UHyper


@struct
class HostnameRet:
    hostname: Str


@struct
class URIRet:
    uri: Str


@struct
class SysinfoRet:
    """XML."""

    sysinfo: Str


@struct
class DomainCapabilitiesArgs:
    """Whatever is absent the server chooses."""

    emulatorbin: OptStr
    arch: OptStr
    machine: OptStr
    virttype: OptStr
    flags: UInt


@struct
class MaxVcpusArgs:
    type: OptStr


@struct
class MaxVcpusRet:
    max_vcpus: Int


@struct
class FeatureArgs:
    """A ``constants_state.Feature``, or a number the server does not know."""

    feature: Int


@struct
class FeatureRet:
    """1 or 0; an unknown feature is 0, not an error."""

    supported: Int


@struct
class SecureRet:
    secure: Int


@struct
class SetIdentityArgs:
    params: Annotated[list[types.TypedParam], listed(types.TypedParam, 20)]  # REMOTE_CONNECT_IDENTITY_PARAMS_MAX
    flags: UInt


@struct
class AuthListRet:
    """``AuthType`` numbers; a client takes the first."""

    types: Annotated[list[int], listed(Int, 20)]  # REMOTE_AUTH_TYPE_LIST_MAX


@struct
class SaslInitRet:
    mechlist: Str


# REMOTE_AUTH_SASL_DATA_MAX; an array of char, so each byte is a whole int on the wire.
SaslData = Annotated[list[int], listed(Int, 65536)]


@struct
class SaslStartArgs:
    """``nil``: 1 says "no data", as opposed to empty data."""

    mech: Str
    nil: Int
    data: SaslData


@struct
class SaslStepArgs:
    nil: Int
    data: SaslData


@struct
class SaslRet:
    complete: Int
    nil: Int
    data: SaslData


@struct
class PolkitRet:
    complete: Int


@struct
class CPUModelNamesArgs:
    """With ``need_results`` 0 only the count is asked for."""

    arch: Str
    need_results: Int
    flags: UInt


@struct
class CPUModelNamesRet:
    models: Annotated[list[str], listed(Str, 8192)]  # REMOTE_CONNECT_CPU_MODELS_MAX
    ret: Int


@struct
class CompareCPUArgs:
    """``xml``: a ``<cpu>``."""

    xml: Str
    flags: UInt


@struct
class CompareCPURet:
    """``result`` a ``constants_state.CPUCompare``."""

    result: Int


@struct
class CompareHypervisorCPUArgs:
    emulator: OptStr
    arch: OptStr
    machine: OptStr
    virttype: OptStr
    xml_cpu: Str
    flags: UInt


@struct
class BaselineCPUArgs:
    xml_cpus: Annotated[list[str], listed(Str, 256)]  # REMOTE_CPU_BASELINE_MAX
    flags: UInt


@struct
class BaselineCPURet:
    cpu: Str


@struct
class BaselineHypervisorCPUArgs:
    emulator: OptStr
    arch: OptStr
    machine: OptStr
    virttype: OptStr
    xml_cpus: Annotated[list[str], listed(Str, 256)]  # REMOTE_CPU_BASELINE_MAX
    flags: UInt


@struct
class NodeInfoRet:
    """``memory`` in KiB, ``mhz`` 0 where unknown; the model's name has at most 31 characters."""

    model: Annotated[str, codec.Chars(32, fixed=True)]
    memory: UHyper
    cpus: Int
    mhz: Int
    nodes: Int
    sockets: Int
    cores: Int
    threads: Int


NodeStats = Annotated[list[types.NodeStat], listed(types.NodeStat, 16)]  # REMOTE_NODE_{CPU,MEMORY}_STATS_MAX


@struct
class NodeCPUStatsArgs:
    """``cpu_num`` -1 for all; ``nparams`` 0 asks only how many there are."""

    cpu_num: Int
    nparams: Int
    flags: UInt


@struct
class NodeMemoryStatsArgs:
    """``cell_num`` -1 for all; ``nparams`` 0 asks only how many there are."""

    nparams: Int
    cell_num: Int
    flags: UInt


@struct
class NodeStatsRet:
    params: NodeStats
    nparams: Int


@struct
class FreeMemoryRet:
    """Bytes."""

    free_mem: UHyper


@struct
class NodeCPUMapArgs:
    need_map: Int
    need_online: Int
    flags: UInt


@struct
class NodeCPUMapRet:
    """``cpumap``: bit 0 of byte 0 is CPU 0; ``ret``: how many CPUs there are."""

    cpumap: Annotated[bytes, codec.Opaque(2048)]  # REMOTE_CPUMAP_MAX
    online: UInt
    ret: Int


@struct
class NodeCellsFreeMemoryArgs:
    start_cell: Int
    maxcells: Int


@struct
class NodeCellsFreeMemoryRet:
    """Bytes, of each NUMA node."""

    cells: Annotated[list[int], listed(UHyper, 1024)]  # REMOTE_NODE_MAX_CELLS


@struct
class NodeFreePagesArgs:
    """``pages``: sizes in KiB."""

    pages: Annotated[list[int], listed(UInt, 1024)]  # REMOTE_NODE_MAX_CELLS
    start_cell: Int
    cell_count: UInt
    flags: UInt


@struct
class NodeFreePagesRet:
    """Free pages of each size, node by node."""

    counts: Annotated[list[int], listed(UHyper, 1024)]


@struct
class SecurityModelRet:
    """Empty texts where no security driver is in use."""

    model: Annotated[str, codec.Chars(SECURITY_MODEL_MAX, fixed=False)]
    doi: Annotated[str, codec.Chars(SECURITY_MODEL_MAX, fixed=False)]


@struct
class NodeMemoryParametersArgs:
    """``nparams`` 0 asks only how many there are."""

    nparams: Int
    flags: UInt


@struct
class NodeMemoryParametersRet:
    params: Annotated[list[types.TypedParam], listed(types.TypedParam, 64)]  # REMOTE_NODE_MEMORY_PARAMETERS_MAX
    nparams: Int


CONNECT_OPEN = Procedure(
    1, "CONNECT_OPEN", ConnectOpenArgs, Void, before_open=True, acl="connect:getattr", read_only=True
)
CONNECT_CLOSE = Procedure(2, "CONNECT_CLOSE", Void, Void, before_open=True, acl="none", read_only=True)
CONNECT_GET_TYPE = Procedure(3, "CONNECT_GET_TYPE", Void, TypeRet, acl="connect:getattr", read_only=True)
CONNECT_GET_VERSION = Procedure(4, "CONNECT_GET_VERSION", Void, HvVersionRet, acl="connect:getattr", read_only=True)
CONNECT_GET_LIB_VERSION = Procedure(
    157, "CONNECT_GET_LIB_VERSION", Void, LibVersionRet, acl="connect:getattr", read_only=True
)
CONNECT_GET_HOSTNAME = Procedure(59, "CONNECT_GET_HOSTNAME", Void, HostnameRet, acl="connect:getattr", read_only=True)
CONNECT_GET_URI = Procedure(110, "CONNECT_GET_URI", Void, URIRet, acl="connect:getattr", read_only=True)
CONNECT_GET_SYSINFO = Procedure(203, "CONNECT_GET_SYSINFO", FlagsArgs, SysinfoRet, acl="connect:read", read_only=True)
CONNECT_GET_CAPABILITIES = Procedure(
    7, "CONNECT_GET_CAPABILITIES", Void, CapabilitiesRet, acl="connect:read", read_only=True
)
CONNECT_GET_DOMAIN_CAPABILITIES = Procedure(
    342, "CONNECT_GET_DOMAIN_CAPABILITIES", DomainCapabilitiesArgs, CapabilitiesRet, acl="connect:write"
)
CONNECT_GET_CPU_MODEL_NAMES = Procedure(
    312, "CONNECT_GET_CPU_MODEL_NAMES", CPUModelNamesArgs, CPUModelNamesRet, acl="connect:read", read_only=True
)
CONNECT_COMPARE_CPU = Procedure(
    158, "CONNECT_COMPARE_CPU", CompareCPUArgs, CompareCPURet, acl="connect:read", read_only=True
)
CONNECT_BASELINE_CPU = Procedure(
    162, "CONNECT_BASELINE_CPU", BaselineCPUArgs, BaselineCPURet, acl="connect:read", read_only=True
)
CONNECT_COMPARE_HYPERVISOR_CPU = Procedure(
    393, "CONNECT_COMPARE_HYPERVISOR_CPU", CompareHypervisorCPUArgs, CompareCPURet, acl="connect:write"
)
CONNECT_BASELINE_HYPERVISOR_CPU = Procedure(
    394, "CONNECT_BASELINE_HYPERVISOR_CPU", BaselineHypervisorCPUArgs, BaselineCPURet, acl="connect:write"
)
CONNECT_GET_MAX_VCPUS = Procedure(
    5, "CONNECT_GET_MAX_VCPUS", MaxVcpusArgs, MaxVcpusRet, acl="connect:read", read_only=True
)
# Feature 10 may be asked before CONNECT_OPEN, every other needs an open connection: the handler sees to that.
CONNECT_SUPPORTS_FEATURE = Procedure(
    60, "CONNECT_SUPPORTS_FEATURE", FeatureArgs, FeatureRet, before_open=True, acl="connect:getattr", read_only=True
)
CONNECT_IS_SECURE = Procedure(149, "CONNECT_IS_SECURE", Void, SecureRet, acl="none", read_only=True)
CONNECT_SET_IDENTITY = Procedure(
    419, "CONNECT_SET_IDENTITY", SetIdentityArgs, Void, acl="connect:write", read_only=True
)
CONNECT_REGISTER_CLOSE_CALLBACK = Procedure(
    360, "CONNECT_REGISTER_CLOSE_CALLBACK", Void, Void, acl="connect:getattr", read_only=True
)
CONNECT_UNREGISTER_CLOSE_CALLBACK = Procedure(
    361, "CONNECT_UNREGISTER_CLOSE_CALLBACK", Void, Void, acl="connect:getattr", read_only=True
)

AUTH_LIST = Procedure(
    66, "AUTH_LIST", Void, AuthListRet, before_auth=True, before_open=True, acl="none", read_only=True
)
AUTH_SASL_INIT = Procedure(
    67, "AUTH_SASL_INIT", Void, SaslInitRet, before_auth=True, before_open=True, acl="none", read_only=True
)
AUTH_SASL_START = Procedure(
    68, "AUTH_SASL_START", SaslStartArgs, SaslRet, before_auth=True, before_open=True, acl="none", read_only=True
)
AUTH_SASL_STEP = Procedure(
    69, "AUTH_SASL_STEP", SaslStepArgs, SaslRet, before_auth=True, before_open=True, acl="none", read_only=True
)
AUTH_POLKIT = Procedure(
    70, "AUTH_POLKIT", Void, PolkitRet, before_auth=True, before_open=True, acl="none", read_only=True
)

NODE_GET_INFO = Procedure(6, "NODE_GET_INFO", Void, NodeInfoRet, acl="connect:read", read_only=True)
NODE_GET_CPU_STATS = Procedure(
    227, "NODE_GET_CPU_STATS", NodeCPUStatsArgs, NodeStatsRet, acl="connect:read", read_only=True
)
NODE_GET_MEMORY_STATS = Procedure(
    228, "NODE_GET_MEMORY_STATS", NodeMemoryStatsArgs, NodeStatsRet, acl="connect:read", read_only=True
)
NODE_GET_FREE_MEMORY = Procedure(102, "NODE_GET_FREE_MEMORY", Void, FreeMemoryRet, acl="connect:read", read_only=True)
NODE_GET_CELLS_FREE_MEMORY = Procedure(
    101,
    "NODE_GET_CELLS_FREE_MEMORY",
    NodeCellsFreeMemoryArgs,
    NodeCellsFreeMemoryRet,
    acl="connect:read",
    read_only=True,
)
NODE_GET_FREE_PAGES = Procedure(
    340, "NODE_GET_FREE_PAGES", NodeFreePagesArgs, NodeFreePagesRet, acl="connect:read", read_only=True
)
NODE_GET_CPU_MAP = Procedure(
    293, "NODE_GET_CPU_MAP", NodeCPUMapArgs, NodeCPUMapRet, acl="connect:read", read_only=True
)
NODE_GET_SECURITY_MODEL = Procedure(
    122, "NODE_GET_SECURITY_MODEL", Void, SecurityModelRet, acl="connect:read", read_only=True
)
NODE_GET_MEMORY_PARAMETERS = Procedure(
    289,
    "NODE_GET_MEMORY_PARAMETERS",
    NodeMemoryParametersArgs,
    NodeMemoryParametersRet,
    acl="connect:read",
    read_only=True,
)
