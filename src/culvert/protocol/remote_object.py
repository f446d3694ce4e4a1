"""REMOTE procedures that list and look up what stands beside domains: networks, storage, filters, secrets, devices.

Source of every row: src/remote/remote_protocol.x of libvirt 9.0, ``REMOTE_PROC_`` and the row's name.
"""

from __future__ import annotations

from typing import Annotated

from culvert.protocol import types
from culvert.protocol.procedure import Procedure
from culvert.protocol.remote_list import MaxNamesArgs, NameArgs, NamesRet, UUIDArgs
from culvert.protocol.shapes import CallbackIDArgs, CallbackIDRet, ListAllArgs, NumRet
from culvert.protocol.types import DOMAIN_LIST_MAX, Int, OptStr, Str, UInt, UUIDBytes, listed, maybe, struct
from culvert.xdr.struct import Void


@struct
class Nwfilter:
    """``remote_nonnull_nwfilter``."""

    name: Str
    uuid: UUIDBytes


@struct
class NwfilterBinding:
    """``remote_nonnull_nwfilter_binding``."""

    portdev: Str
    filtername: Str


@struct
class Secret:
    """``remote_nonnull_secret``."""

    uuid: UUIDBytes
    usage_type: Int
    usage_id: Str


@struct
class StorageVol:
    """``remote_nonnull_storage_vol``."""

    pool: Str
    name: Str
    key: Str


@struct
class NetworkRet:
    net: types.Network


@struct
class StoragePoolRet:
    pool: types.StoragePool


@struct
class StorageVolRet:
    vol: StorageVol


@struct
class InterfaceRet:
    iface: types.Interface


@struct
class NodeDeviceRet:
    dev: types.NodeDevice


@struct
class NwfilterRet:
    nwfilter: Nwfilter


@struct
class NwfilterBindingRet:
    nwfilter: NwfilterBinding


@struct
class SecretRet:
    secret: Secret


@struct
class NwfiltersRet:
    filters: Annotated[list[Nwfilter], listed(Nwfilter, DOMAIN_LIST_MAX)]
    ret: UInt


@struct
class NwfilterBindingsRet:
    bindings: Annotated[list[NwfilterBinding], listed(NwfilterBinding, DOMAIN_LIST_MAX)]
    ret: UInt


@struct
class SecretsRet:
    secrets: Annotated[list[Secret], listed(Secret, DOMAIN_LIST_MAX)]
    ret: UInt


@struct
class NodeNumOfDevicesArgs:
    cap: OptStr
    flags: UInt


@struct
class NodeListDevicesArgs:
    cap: OptStr
    maxnames: Int
    flags: UInt


@struct
class SecretUsageArgs:
    usage_type: Int
    usage_id: Str


@struct
class SecretEventRegisterArgs:
    event_id: Int
    secret: Annotated[Secret | None, maybe(Secret)]


CONNECT_NUM_OF_NETWORKS = Procedure(
    52,
    "CONNECT_NUM_OF_NETWORKS",
    Void,
    NumRet,
    acl="connect:search_networks",
    acl_filter="network:getattr",
    read_only=True,
)
CONNECT_LIST_NETWORKS = Procedure(
    38,
    "CONNECT_LIST_NETWORKS",
    MaxNamesArgs,
    NamesRet,
    acl="connect:search_networks",
    acl_filter="network:getattr",
    read_only=True,
)
CONNECT_NUM_OF_DEFINED_NETWORKS = Procedure(
    50,
    "CONNECT_NUM_OF_DEFINED_NETWORKS",
    Void,
    NumRet,
    acl="connect:search_networks",
    acl_filter="network:getattr",
    read_only=True,
)
CONNECT_LIST_DEFINED_NETWORKS = Procedure(
    36,
    "CONNECT_LIST_DEFINED_NETWORKS",
    MaxNamesArgs,
    NamesRet,
    acl="connect:search_networks",
    acl_filter="network:getattr",
    read_only=True,
)
NETWORK_LOOKUP_BY_NAME = Procedure(
    46, "NETWORK_LOOKUP_BY_NAME", NameArgs, NetworkRet, acl="network:getattr", read_only=True
)
NETWORK_LOOKUP_BY_UUID = Procedure(
    47, "NETWORK_LOOKUP_BY_UUID", UUIDArgs, NetworkRet, acl="network:getattr", read_only=True
)

CONNECT_NUM_OF_STORAGE_POOLS = Procedure(
    71,
    "CONNECT_NUM_OF_STORAGE_POOLS",
    Void,
    NumRet,
    acl="connect:search_storage_pools",
    acl_filter="storage_pool:getattr",
    read_only=True,
)
CONNECT_LIST_STORAGE_POOLS = Procedure(
    72,
    "CONNECT_LIST_STORAGE_POOLS",
    MaxNamesArgs,
    NamesRet,
    acl="connect:search_storage_pools",
    acl_filter="storage_pool:getattr",
    read_only=True,
)
CONNECT_NUM_OF_DEFINED_STORAGE_POOLS = Procedure(
    73,
    "CONNECT_NUM_OF_DEFINED_STORAGE_POOLS",
    Void,
    NumRet,
    acl="connect:search_storage_pools",
    acl_filter="storage_pool:getattr",
    read_only=True,
)
CONNECT_LIST_DEFINED_STORAGE_POOLS = Procedure(
    74,
    "CONNECT_LIST_DEFINED_STORAGE_POOLS",
    MaxNamesArgs,
    NamesRet,
    acl="connect:search_storage_pools",
    acl_filter="storage_pool:getattr",
    read_only=True,
)

CONNECT_NUM_OF_INTERFACES = Procedure(
    126,
    "CONNECT_NUM_OF_INTERFACES",
    Void,
    NumRet,
    acl="connect:search_interfaces",
    acl_filter="interface:getattr",
    read_only=True,
)
CONNECT_LIST_INTERFACES = Procedure(
    127,
    "CONNECT_LIST_INTERFACES",
    MaxNamesArgs,
    NamesRet,
    acl="connect:search_interfaces",
    acl_filter="interface:getattr",
    read_only=True,
)
CONNECT_NUM_OF_DEFINED_INTERFACES = Procedure(
    137,
    "CONNECT_NUM_OF_DEFINED_INTERFACES",
    Void,
    NumRet,
    acl="connect:search_interfaces",
    acl_filter="interface:getattr",
    read_only=True,
)
CONNECT_LIST_DEFINED_INTERFACES = Procedure(
    138,
    "CONNECT_LIST_DEFINED_INTERFACES",
    MaxNamesArgs,
    NamesRet,
    acl="connect:search_interfaces",
    acl_filter="interface:getattr",
    read_only=True,
)
INTERFACE_LOOKUP_BY_NAME = Procedure(
    128, "INTERFACE_LOOKUP_BY_NAME", NameArgs, InterfaceRet, acl="interface:getattr", read_only=True
)
INTERFACE_LOOKUP_BY_MAC_STRING = Procedure(
    129, "INTERFACE_LOOKUP_BY_MAC_STRING", NameArgs, InterfaceRet, acl="interface:getattr", read_only=True
)

NODE_NUM_OF_DEVICES = Procedure(
    111,
    "NODE_NUM_OF_DEVICES",
    NodeNumOfDevicesArgs,
    NumRet,
    acl="connect:search_node_devices",
    acl_filter="node_device:getattr",
    read_only=True,
)
NODE_LIST_DEVICES = Procedure(
    112,
    "NODE_LIST_DEVICES",
    NodeListDevicesArgs,
    NamesRet,
    acl="connect:search_node_devices",
    acl_filter="node_device:getattr",
    read_only=True,
)
NODE_DEVICE_LOOKUP_BY_NAME = Procedure(
    113, "NODE_DEVICE_LOOKUP_BY_NAME", NameArgs, NodeDeviceRet, acl="node_device:getattr", read_only=True
)

CONNECT_NUM_OF_NWFILTERS = Procedure(
    178,
    "CONNECT_NUM_OF_NWFILTERS",
    Void,
    NumRet,
    acl="connect:search_nwfilters",
    acl_filter="nwfilter:getattr",
    read_only=True,
)
CONNECT_LIST_NWFILTERS = Procedure(
    179,
    "CONNECT_LIST_NWFILTERS",
    MaxNamesArgs,
    NamesRet,
    acl="connect:search_nwfilters",
    acl_filter="nwfilter:getattr",
    read_only=True,
)
CONNECT_LIST_ALL_NWFILTERS = Procedure(
    286,
    "CONNECT_LIST_ALL_NWFILTERS",
    ListAllArgs,
    NwfiltersRet,
    acl="connect:search_nwfilters",
    acl_filter="nwfilter:getattr",
    read_only=True,
)
CONNECT_LIST_ALL_NWFILTER_BINDINGS = Procedure(
    401,
    "CONNECT_LIST_ALL_NWFILTER_BINDINGS",
    ListAllArgs,
    NwfilterBindingsRet,
    acl="connect:search_nwfilter_bindings",
    acl_filter="nwfilter_binding:getattr",
    read_only=True,
)
NWFILTER_LOOKUP_BY_NAME = Procedure(
    175, "NWFILTER_LOOKUP_BY_NAME", NameArgs, NwfilterRet, acl="nwfilter:getattr", read_only=True
)
NWFILTER_LOOKUP_BY_UUID = Procedure(
    176, "NWFILTER_LOOKUP_BY_UUID", UUIDArgs, NwfilterRet, acl="nwfilter:getattr", read_only=True
)
NWFILTER_BINDING_LOOKUP_BY_PORT_DEV = Procedure(
    397,
    "NWFILTER_BINDING_LOOKUP_BY_PORT_DEV",
    NameArgs,
    NwfilterBindingRet,
    acl="nwfilter_binding:getattr",
    read_only=True,
)

CONNECT_NUM_OF_SECRETS = Procedure(
    139,
    "CONNECT_NUM_OF_SECRETS",
    Void,
    NumRet,
    acl="connect:search_secrets",
    acl_filter="secret:getattr",
    read_only=True,
)
CONNECT_LIST_SECRETS = Procedure(
    140,
    "CONNECT_LIST_SECRETS",
    MaxNamesArgs,
    NamesRet,
    acl="connect:search_secrets",
    acl_filter="secret:getattr",
    read_only=True,
)
CONNECT_LIST_ALL_SECRETS = Procedure(
    287,
    "CONNECT_LIST_ALL_SECRETS",
    ListAllArgs,
    SecretsRet,
    acl="connect:search_secrets",
    acl_filter="secret:getattr",
    read_only=True,
)
SECRET_LOOKUP_BY_UUID = Procedure(
    141, "SECRET_LOOKUP_BY_UUID", UUIDArgs, SecretRet, acl="secret:getattr", read_only=True
)
SECRET_LOOKUP_BY_USAGE = Procedure(
    147, "SECRET_LOOKUP_BY_USAGE", SecretUsageArgs, SecretRet, acl="secret:getattr", read_only=True
)
CONNECT_SECRET_EVENT_REGISTER_ANY = Procedure(
    380,
    "CONNECT_SECRET_EVENT_REGISTER_ANY",
    SecretEventRegisterArgs,
    CallbackIDRet,
    acl="connect:search_secrets",
    acl_filter="secret:getattr",
    read_only=True,
)
CONNECT_SECRET_EVENT_DEREGISTER_ANY = Procedure(
    381, "CONNECT_SECRET_EVENT_DEREGISTER_ANY", CallbackIDArgs, Void, acl="connect:read", read_only=True
)
