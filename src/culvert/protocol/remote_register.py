"""REMOTE procedures that register for events.

A server that answered feature EVENT_CALLBACK (14) with 1 sends only the forms that begin with ``callback_id``; a
client that did not ask for it registers with 105/106 or 167/168 and expects the old forms, which lack that
first member.

Source of every row: src/remote/remote_protocol.x of libvirt 9.0, ``REMOTE_PROC_`` and the row's name.
"""

from __future__ import annotations

from typing import Annotated

from culvert.protocol import types
from culvert.protocol.procedure import Procedure
from culvert.protocol.shapes import (
    CallbackIDArgs,
    CallbackIDRet,
    CallbackRegisteredRet,
    DomainEventIDArgs,
    EventIDArgs,
)
from culvert.protocol.types import Int, OptNetwork, maybe, struct
from culvert.xdr.struct import Void


@struct
class NetworkEventRegisterArgs:
    event_id: Int
    net: OptNetwork


@struct
class StoragePoolEventRegisterArgs:
    event_id: Int
    pool: Annotated[types.StoragePool | None, maybe(types.StoragePool)]


@struct
class NodeDeviceEventRegisterArgs:
    event_id: Int
    dev: Annotated[types.NodeDevice | None, maybe(types.NodeDevice)]


CONNECT_DOMAIN_EVENT_CALLBACK_REGISTER_ANY = Procedure(
    316,
    "CONNECT_DOMAIN_EVENT_CALLBACK_REGISTER_ANY",
    DomainEventIDArgs,
    CallbackIDRet,
    acl="connect:search_domains",
    acl_filter="domain:getattr",
    read_only=True,
)
CONNECT_DOMAIN_EVENT_CALLBACK_DEREGISTER_ANY = Procedure(
    317, "CONNECT_DOMAIN_EVENT_CALLBACK_DEREGISTER_ANY", CallbackIDArgs, Void, acl="connect:read", read_only=True
)
CONNECT_DOMAIN_EVENT_REGISTER = Procedure(
    105,
    "CONNECT_DOMAIN_EVENT_REGISTER",
    Void,
    CallbackRegisteredRet,
    acl="connect:search_domains",
    acl_filter="domain:getattr",
    read_only=True,
)
CONNECT_DOMAIN_EVENT_DEREGISTER = Procedure(
    106, "CONNECT_DOMAIN_EVENT_DEREGISTER", Void, CallbackRegisteredRet, acl="connect:read", read_only=True
)
CONNECT_DOMAIN_EVENT_REGISTER_ANY = Procedure(
    167,
    "CONNECT_DOMAIN_EVENT_REGISTER_ANY",
    EventIDArgs,
    Void,
    acl="connect:search_domains",
    acl_filter="domain:getattr",
    read_only=True,
)
CONNECT_DOMAIN_EVENT_DEREGISTER_ANY = Procedure(
    168, "CONNECT_DOMAIN_EVENT_DEREGISTER_ANY", EventIDArgs, Void, acl="connect:read", read_only=True
)
CONNECT_NETWORK_EVENT_REGISTER_ANY = Procedure(
    313,
    "CONNECT_NETWORK_EVENT_REGISTER_ANY",
    NetworkEventRegisterArgs,
    CallbackIDRet,
    acl="connect:search_networks",
    acl_filter="network:getattr",
    read_only=True,
)
CONNECT_NETWORK_EVENT_DEREGISTER_ANY = Procedure(
    314, "CONNECT_NETWORK_EVENT_DEREGISTER_ANY", CallbackIDArgs, Void, acl="connect:read", read_only=True
)
CONNECT_STORAGE_POOL_EVENT_REGISTER_ANY = Procedure(
    368,
    "CONNECT_STORAGE_POOL_EVENT_REGISTER_ANY",
    StoragePoolEventRegisterArgs,
    CallbackIDRet,
    acl="connect:search_storage_pools",
    acl_filter="storage_pool:getattr",
    read_only=True,
)
CONNECT_STORAGE_POOL_EVENT_DEREGISTER_ANY = Procedure(
    369, "CONNECT_STORAGE_POOL_EVENT_DEREGISTER_ANY", CallbackIDArgs, Void, acl="connect:read", read_only=True
)
CONNECT_NODE_DEVICE_EVENT_REGISTER_ANY = Procedure(
    374,
    "CONNECT_NODE_DEVICE_EVENT_REGISTER_ANY",
    NodeDeviceEventRegisterArgs,
    CallbackIDRet,
    acl="connect:search_node_devices",
    acl_filter="node_device:getattr",
    read_only=True,
)
CONNECT_NODE_DEVICE_EVENT_DEREGISTER_ANY = Procedure(
    375, "CONNECT_NODE_DEVICE_EVENT_DEREGISTER_ANY", CallbackIDArgs, Void, acl="connect:read", read_only=True
)
