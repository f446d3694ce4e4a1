"""REMOTE procedures that list objects and look domains up.

Source of every row: src/remote/remote_protocol.x of libvirt 9.0, ``REMOTE_PROC_`` and the row's name.
"""

from __future__ import annotations

from typing import Annotated

from culvert.protocol import types
from culvert.protocol.procedure import Procedure
from culvert.protocol.shapes import DomainRet, ListAllArgs, NumRet
from culvert.protocol.types import DOMAIN_LIST_MAX, Int, Str, UInt, UUIDBytes, listed, struct
from culvert.xdr.struct import Void


@struct
class DomainsRet:
    """``ret``: how many there are, also when only that was asked for."""

    domains: types.Domains
    ret: UInt


@struct
class MaxIDsArgs:
    maxids: Int


@struct
class IDsRet:
    ids: Annotated[list[int], listed(Int, DOMAIN_LIST_MAX)]


@struct
class MaxNamesArgs:
    maxnames: Int


@struct
class NamesRet:
    names: types.Strings


@struct
class IDArgs:
    id: Int


@struct
class NameArgs:
    name: Str


@struct
class UUIDArgs:
    uuid: UUIDBytes


@struct
class NetworksRet:
    nets: Annotated[list[types.Network], listed(types.Network, DOMAIN_LIST_MAX)]
    ret: UInt


@struct
class StoragePoolsRet:
    pools: Annotated[list[types.StoragePool], listed(types.StoragePool, DOMAIN_LIST_MAX)]
    ret: UInt


@struct
class InterfacesRet:
    ifaces: Annotated[list[types.Interface], listed(types.Interface, DOMAIN_LIST_MAX)]
    ret: UInt


@struct
class NodeDevicesRet:
    devices: Annotated[list[types.NodeDevice], listed(types.NodeDevice, types.NODE_DEVICE_LIST_MAX)]
    ret: UInt


CONNECT_LIST_ALL_DOMAINS = Procedure(
    273,
    "CONNECT_LIST_ALL_DOMAINS",
    ListAllArgs,
    DomainsRet,
    acl="connect:search_domains",
    acl_filter="domain:getattr",
    read_only=True,
)
CONNECT_NUM_OF_DOMAINS = Procedure(
    51,
    "CONNECT_NUM_OF_DOMAINS",
    Void,
    NumRet,
    acl="connect:search_domains",
    acl_filter="domain:getattr",
    read_only=True,
)
CONNECT_LIST_DOMAINS = Procedure(
    37,
    "CONNECT_LIST_DOMAINS",
    MaxIDsArgs,
    IDsRet,
    acl="connect:search_domains",
    acl_filter="domain:getattr",
    read_only=True,
)
CONNECT_NUM_OF_DEFINED_DOMAINS = Procedure(
    25,
    "CONNECT_NUM_OF_DEFINED_DOMAINS",
    Void,
    NumRet,
    acl="connect:search_domains",
    acl_filter="domain:getattr",
    read_only=True,
)
CONNECT_LIST_DEFINED_DOMAINS = Procedure(
    21,
    "CONNECT_LIST_DEFINED_DOMAINS",
    MaxNamesArgs,
    NamesRet,
    acl="connect:search_domains",
    acl_filter="domain:getattr",
    read_only=True,
)
DOMAIN_LOOKUP_BY_ID = Procedure(22, "DOMAIN_LOOKUP_BY_ID", IDArgs, DomainRet, acl="domain:getattr", read_only=True)
DOMAIN_LOOKUP_BY_NAME = Procedure(
    23, "DOMAIN_LOOKUP_BY_NAME", NameArgs, DomainRet, acl="domain:getattr", read_only=True
)
DOMAIN_LOOKUP_BY_UUID = Procedure(
    24, "DOMAIN_LOOKUP_BY_UUID", UUIDArgs, DomainRet, acl="domain:getattr", read_only=True
)
CONNECT_LIST_ALL_NETWORKS = Procedure(
    283,
    "CONNECT_LIST_ALL_NETWORKS",
    ListAllArgs,
    NetworksRet,
    acl="connect:search_networks",
    acl_filter="network:getattr",
    read_only=True,
)
CONNECT_LIST_ALL_STORAGE_POOLS = Procedure(
    281,
    "CONNECT_LIST_ALL_STORAGE_POOLS",
    ListAllArgs,
    StoragePoolsRet,
    acl="connect:search_storage_pools",
    acl_filter="storage_pool:getattr",
    read_only=True,
)
CONNECT_LIST_ALL_INTERFACES = Procedure(
    284,
    "CONNECT_LIST_ALL_INTERFACES",
    ListAllArgs,
    InterfacesRet,
    acl="connect:search_interfaces",
    acl_filter="interface:getattr",
    read_only=True,
)
CONNECT_LIST_ALL_NODE_DEVICES = Procedure(
    285,
    "CONNECT_LIST_ALL_NODE_DEVICES",
    ListAllArgs,
    NodeDevicesRet,
    acl="connect:search_node_devices",
    acl_filter="node_device:getattr",
    read_only=True,
)
