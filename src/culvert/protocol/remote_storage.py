"""REMOTE procedures of storage pools and their volumes.

Source of every row: src/remote/remote_protocol.x of libvirt 9.0, ``REMOTE_PROC_`` and the row's name.
"""

from __future__ import annotations

from typing import Annotated

from culvert.protocol.procedure import Procedure, StreamDirection
from culvert.protocol.remote_domain import ActiveRet, AutostartRet, PersistentRet
from culvert.protocol.remote_list import NameArgs, NamesRet, UUIDArgs
from culvert.protocol.remote_object import StoragePoolRet, StorageVol, StorageVolRet
from culvert.protocol.shapes import CapabilitiesRet, FlagsArgs, NumRet, XMLFlagsArgs, XMLRet
from culvert.protocol.types import DOMAIN_LIST_MAX, Int, OptStr, StoragePool, Str, UHyper, UInt, listed, struct
from culvert.xdr.struct import Void


@struct
class PoolArgs:
    pool: StoragePool


@struct
class PoolFlagsArgs:
    pool: StoragePool
    flags: UInt


@struct
class PoolMaxNamesArgs:
    pool: StoragePool
    maxnames: Int


@struct
class PoolNameArgs:
    pool: StoragePool
    name: Str


@struct
class PoolListAllArgs:
    pool: StoragePool
    need_results: Int
    flags: UInt


@struct
class PoolSetAutostartArgs:
    pool: StoragePool
    autostart: Int


@struct
class PoolInfoRet:
    """``state`` 0 inactive, 2 running; bytes."""

    state: UInt
    capacity: UHyper
    allocation: UHyper
    available: UHyper


@struct
class VolArgs:
    vol: StorageVol


@struct
class VolFlagsArgs:
    vol: StorageVol
    flags: UInt


@struct
class VolInfoRet:
    """``type`` 0: a file; bytes."""

    type: Int
    capacity: UHyper
    allocation: UHyper


@struct
class VolPathRet:
    name: Str


@struct
class VolsRet:
    vols: Annotated[list[StorageVol], listed(StorageVol, DOMAIN_LIST_MAX)]
    ret: UInt


@struct
class FindPoolSourcesArgs:
    """``src_spec``: XML that says where to look."""

    type: Str
    src_spec: OptStr
    flags: UInt


@struct
class PoolXMLFlagsArgs:
    pool: StoragePool
    xml: Str
    flags: UInt


@struct
class VolCreateFromArgs:
    """``clonevol``: the volume that the new one is a copy of."""

    pool: StoragePool
    xml: Str
    clonevol: StorageVol
    flags: UInt


@struct
class VolResizeArgs:
    vol: StorageVol
    capacity: UHyper
    flags: UInt


@struct
class VolWipePatternArgs:
    vol: StorageVol
    algorithm: UInt
    flags: UInt


@struct
class VolBytesArgs:
    """``length`` 0: all from ``offset`` on."""

    vol: StorageVol
    offset: UHyper
    length: UHyper
    flags: UInt


STORAGE_POOL_CREATE_XML = Procedure(
    76, "STORAGE_POOL_CREATE_XML", XMLFlagsArgs, StoragePoolRet, acl="storage_pool:start storage_pool:write"
)
STORAGE_POOL_DEFINE_XML = Procedure(
    77, "STORAGE_POOL_DEFINE_XML", XMLFlagsArgs, StoragePoolRet, acl="storage_pool:write storage_pool:save"
)
STORAGE_POOL_CREATE = Procedure(78, "STORAGE_POOL_CREATE", PoolFlagsArgs, Void, acl="storage_pool:start")
STORAGE_POOL_BUILD = Procedure(79, "STORAGE_POOL_BUILD", PoolFlagsArgs, Void, acl="storage_pool:format")
STORAGE_POOL_DESTROY = Procedure(80, "STORAGE_POOL_DESTROY", PoolArgs, Void, acl="storage_pool:stop")
STORAGE_POOL_UNDEFINE = Procedure(82, "STORAGE_POOL_UNDEFINE", PoolArgs, Void, acl="storage_pool:delete")
STORAGE_POOL_REFRESH = Procedure(83, "STORAGE_POOL_REFRESH", PoolFlagsArgs, Void, acl="storage_pool:refresh")
STORAGE_POOL_LOOKUP_BY_VOLUME = Procedure(
    86, "STORAGE_POOL_LOOKUP_BY_VOLUME", VolArgs, StoragePoolRet, acl="storage_pool:getattr", read_only=True
)
STORAGE_POOL_GET_INFO = Procedure(
    87, "STORAGE_POOL_GET_INFO", PoolArgs, PoolInfoRet, acl="storage_pool:read", read_only=True
)
STORAGE_POOL_GET_XML_DESC = Procedure(
    88, "STORAGE_POOL_GET_XML_DESC", PoolFlagsArgs, XMLRet, acl="storage_pool:read", read_only=True
)
STORAGE_POOL_GET_AUTOSTART = Procedure(
    89, "STORAGE_POOL_GET_AUTOSTART", PoolArgs, AutostartRet, acl="storage_pool:read", read_only=True
)
STORAGE_POOL_SET_AUTOSTART = Procedure(
    90, "STORAGE_POOL_SET_AUTOSTART", PoolSetAutostartArgs, Void, acl="storage_pool:write"
)
STORAGE_POOL_NUM_OF_VOLUMES = Procedure(
    91,
    "STORAGE_POOL_NUM_OF_VOLUMES",
    PoolArgs,
    NumRet,
    acl="storage_pool:search_storage_vols",
    acl_filter="storage_vol:getattr",
    read_only=True,
)
STORAGE_POOL_LIST_VOLUMES = Procedure(
    92,
    "STORAGE_POOL_LIST_VOLUMES",
    PoolMaxNamesArgs,
    NamesRet,
    acl="storage_pool:search_storage_vols",
    acl_filter="storage_vol:getattr",
    read_only=True,
)
STORAGE_POOL_LIST_ALL_VOLUMES = Procedure(
    282,
    "STORAGE_POOL_LIST_ALL_VOLUMES",
    PoolListAllArgs,
    VolsRet,
    acl="storage_pool:search_storage_vols",
    acl_filter="storage_vol:getattr",
    read_only=True,
)
STORAGE_POOL_IS_ACTIVE = Procedure(
    154, "STORAGE_POOL_IS_ACTIVE", PoolArgs, ActiveRet, acl="storage_pool:read", read_only=True
)
STORAGE_POOL_IS_PERSISTENT = Procedure(
    155, "STORAGE_POOL_IS_PERSISTENT", PoolArgs, PersistentRet, acl="storage_pool:read", read_only=True
)
STORAGE_POOL_LOOKUP_BY_NAME = Procedure(
    84, "STORAGE_POOL_LOOKUP_BY_NAME", NameArgs, StoragePoolRet, acl="storage_pool:getattr", read_only=True
)
STORAGE_POOL_LOOKUP_BY_UUID = Procedure(
    85, "STORAGE_POOL_LOOKUP_BY_UUID", UUIDArgs, StoragePoolRet, acl="storage_pool:getattr", read_only=True
)
STORAGE_POOL_LOOKUP_BY_TARGET_PATH = Procedure(
    391, "STORAGE_POOL_LOOKUP_BY_TARGET_PATH", NameArgs, StoragePoolRet, acl="storage_pool:getattr", read_only=True
)
STORAGE_VOL_LOOKUP_BY_NAME = Procedure(
    95, "STORAGE_VOL_LOOKUP_BY_NAME", PoolNameArgs, StorageVolRet, acl="storage_vol:getattr", read_only=True
)
STORAGE_VOL_LOOKUP_BY_KEY = Procedure(
    96, "STORAGE_VOL_LOOKUP_BY_KEY", NameArgs, StorageVolRet, acl="storage_vol:getattr", read_only=True
)
STORAGE_VOL_LOOKUP_BY_PATH = Procedure(
    97, "STORAGE_VOL_LOOKUP_BY_PATH", NameArgs, StorageVolRet, acl="storage_vol:getattr", read_only=True
)
STORAGE_VOL_CREATE_XML = Procedure(
    93, "STORAGE_VOL_CREATE_XML", PoolXMLFlagsArgs, StorageVolRet, acl="storage_vol:create"
)
STORAGE_VOL_CREATE_XML_FROM = Procedure(
    125, "STORAGE_VOL_CREATE_XML_FROM", VolCreateFromArgs, StorageVolRet, acl="storage_vol:create"
)
STORAGE_VOL_DELETE = Procedure(94, "STORAGE_VOL_DELETE", VolFlagsArgs, Void, acl="storage_vol:delete")
STORAGE_VOL_RESIZE = Procedure(260, "STORAGE_VOL_RESIZE", VolResizeArgs, Void, acl="storage_vol:resize")
STORAGE_VOL_WIPE = Procedure(165, "STORAGE_VOL_WIPE", VolFlagsArgs, Void, acl="storage_vol:format")
STORAGE_VOL_WIPE_PATTERN = Procedure(
    259, "STORAGE_VOL_WIPE_PATTERN", VolWipePatternArgs, Void, acl="storage_vol:format"
)
STORAGE_VOL_UPLOAD = Procedure(
    208, "STORAGE_VOL_UPLOAD", VolBytesArgs, Void, stream=StreamDirection.WRITE, acl="storage_vol:data_write"
)
STORAGE_VOL_DOWNLOAD = Procedure(
    209, "STORAGE_VOL_DOWNLOAD", VolBytesArgs, Void, stream=StreamDirection.READ, acl="storage_vol:data_read"
)
STORAGE_VOL_GET_INFO = Procedure(
    98, "STORAGE_VOL_GET_INFO", VolArgs, VolInfoRet, acl="storage_vol:read", read_only=True
)
STORAGE_VOL_GET_INFO_FLAGS = Procedure(
    378, "STORAGE_VOL_GET_INFO_FLAGS", VolFlagsArgs, VolInfoRet, acl="storage_vol:read", read_only=True
)
STORAGE_VOL_GET_XML_DESC = Procedure(
    99, "STORAGE_VOL_GET_XML_DESC", VolFlagsArgs, XMLRet, acl="storage_vol:read", read_only=True
)
STORAGE_VOL_GET_PATH = Procedure(
    100, "STORAGE_VOL_GET_PATH", VolArgs, VolPathRet, acl="storage_vol:read", read_only=True
)
CONNECT_FIND_STORAGE_POOL_SOURCES = Procedure(
    75, "CONNECT_FIND_STORAGE_POOL_SOURCES", FindPoolSourcesArgs, XMLRet, acl="connect:detect_storage_pools"
)
CONNECT_GET_STORAGE_POOL_CAPABILITIES = Procedure(
    403, "CONNECT_GET_STORAGE_POOL_CAPABILITIES", FlagsArgs, CapabilitiesRet, acl="connect:read", read_only=True
)
