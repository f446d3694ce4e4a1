"""Types that many rows of the procedure tables share, in the spelling of libvirt's protocol files.

``remote_nonnull_domain`` is :class:`Domain`, ``remote_typed_param`` is :class:`TypedParam`, ``remote_error`` is
:class:`Error`, and so on (src/remote/remote_protocol.x, src/rpc/virnetprotocol.x). Limits are the protocol files'
own: a peer that exceeds one is refused before anything is allocated.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Annotated

from culvert.ground.units import MiB
from culvert.xdr import codec
from culvert.xdr.struct import Double, Hyper, Int, UHyper, UInt, listed, maybe, struct

STRING_MAX = 4 * MiB  # REMOTE_STRING_MAX, VIR_NET_MESSAGE_STRING_MAX
COOKIE_MAX = 4 * MiB  # REMOTE_MIGRATE_COOKIE_MAX
DOMAIN_LIST_MAX = 16384  # REMOTE_DOMAIN_LIST_MAX, and the other lists of objects but one
NODE_DEVICE_LIST_MAX = 65536  # REMOTE_NODE_DEVICE_LIST_MAX
MIGRATE_PARAM_LIST_MAX = 64  # REMOTE_DOMAIN_MIGRATE_PARAM_LIST_MAX
JOB_STATS_MAX = 64  # REMOTE_DOMAIN_JOB_STATS_MAX

_STRING = codec.String(STRING_MAX)

Str = Annotated[str, _STRING]
"""``remote_nonnull_string``."""
OptStr = Annotated[str | None, codec.Optional(_STRING)]
"""``remote_string``: absent is not the same as empty."""
UUIDBytes = Annotated[bytes, codec.FixedOpaque(16)]
"""``remote_uuid``: 16 bytes in the order in which the text form shows them."""
Cookie = Annotated[bytes, codec.Opaque(COOKIE_MAX)]
"""Opaque data that the two sides of a migration hand each other through the caller."""
Strings = Annotated[list[str], listed(Str, DOMAIN_LIST_MAX)]
"""A list of names, as long as a list of domains may be."""


class TypedParamType(IntEnum):
    """``virTypedParameterType``: which arm of a typed parameter's value is filled."""

    INT = 1  # VIR_TYPED_PARAM_INT
    UINT = 2  # VIR_TYPED_PARAM_UINT
    LLONG = 3  # VIR_TYPED_PARAM_LLONG
    ULLONG = 4  # VIR_TYPED_PARAM_ULLONG
    DOUBLE = 5  # VIR_TYPED_PARAM_DOUBLE
    BOOLEAN = 6  # VIR_TYPED_PARAM_BOOLEAN: an int on the wire
    STRING = 7  # VIR_TYPED_PARAM_STRING


TypedParamValue = Annotated[
    tuple[int, int | float | str],
    codec.Union(
        {
            TypedParamType.INT: codec.INT,
            TypedParamType.UINT: codec.UINT,
            TypedParamType.LLONG: codec.HYPER,
            TypedParamType.ULLONG: codec.UHYPER,
            TypedParamType.DOUBLE: codec.DOUBLE,
            TypedParamType.BOOLEAN: codec.INT,
            TypedParamType.STRING: _STRING,
        }
    ),
]
"""``remote_typed_param_value``: (type, value)."""


@struct
class TypedParam:
    """``remote_typed_param``: a named value that says its own type."""

    field: Str
    value: TypedParamValue


MigrateParams = Annotated[list[TypedParam], listed(TypedParam, MIGRATE_PARAM_LIST_MAX)]
JobStatsParams = Annotated[list[TypedParam], listed(TypedParam, JOB_STATS_MAX)]


@struct
class Domain:
    """``remote_nonnull_domain``: how a client names a domain.

    A server goes by ``uuid``; ``name`` is for messages; ``id`` is -1 when inactive and is often stale.
    """

    name: Str
    uuid: UUIDBytes
    id: Int


OptDomain = Annotated[Domain | None, maybe(Domain)]
"""``remote_domain``."""
Domains = Annotated[list[Domain], listed(Domain, DOMAIN_LIST_MAX)]


@struct
class Network:
    """``remote_nonnull_network``."""

    name: Str
    uuid: UUIDBytes


OptNetwork = Annotated[Network | None, maybe(Network)]


@struct
class StoragePool:
    """``remote_nonnull_storage_pool``."""

    name: Str
    uuid: UUIDBytes


@struct
class Interface:
    """``remote_nonnull_interface``: ``mac`` is text."""

    name: Str
    mac: Str


@struct
class NodeDevice:
    """``remote_nonnull_node_device``."""

    name: Str


@struct
class DomainSnapshot:
    """``remote_nonnull_domain_snapshot``."""

    name: Str
    dom: Domain


@struct
class DomainMemoryStat:
    """``remote_domain_memory_stat``: ``tag`` is a ``constants_flag.MemoryStatTag``, ``val`` KiB."""

    tag: Int
    val: UHyper


@struct
class VcpuInfo:
    """``remote_vcpu_info``: ``cpu_time`` in nanoseconds, ``cpu`` the host CPU it last ran on."""

    number: UInt
    state: Int
    cpu_time: UHyper
    cpu: Int


@struct
class NodeStat:
    """``remote_node_get_cpu_stats`` and ``remote_node_get_memory_stats``: nanoseconds, or KiB."""

    field: Str
    value: UHyper


@struct
class DomainStatsRecord:
    """``remote_domain_stats_record``: what one domain has to say in CONNECT_GET_ALL_DOMAIN_STATS."""

    dom: Domain
    params: Annotated[list[TypedParam], listed(TypedParam, 262144)]  # REMOTE_CONNECT_GET_ALL_DOMAIN_STATS_MAX


@struct
class Error:
    """``virNetMessageError``: the payload of an error reply and of a stream's error.

    ``culvert.protocol.errors`` converts it from and to exceptions.
    """

    code: Int
    domain: Int
    message: OptStr
    level: Int
    dom: OptDomain
    str1: OptStr
    str2: OptStr
    str3: OptStr
    int1: Int
    int2: Int
    net: OptNetwork


__all__ = [
    "COOKIE_MAX",
    "DOMAIN_LIST_MAX",
    "JOB_STATS_MAX",
    "MIGRATE_PARAM_LIST_MAX",
    "NODE_DEVICE_LIST_MAX",
    "STRING_MAX",
    "Cookie",
    "Domain",
    "DomainMemoryStat",
    "DomainSnapshot",
    "DomainStatsRecord",
    "Domains",
    "Double",
    "Error",
    "Hyper",
    "Int",
    "Interface",
    "JobStatsParams",
    "MigrateParams",
    "Network",
    "NodeDevice",
    "NodeStat",
    "OptDomain",
    "OptNetwork",
    "OptStr",
    "StoragePool",
    "Str",
    "Strings",
    "TypedParam",
    "TypedParamType",
    "TypedParamValue",
    "UHyper",
    "UInt",
    "UUIDBytes",
    "VcpuInfo",
    "listed",
    "maybe",
    "struct",
]
