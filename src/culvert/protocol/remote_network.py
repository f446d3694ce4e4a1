"""REMOTE procedures of virtual networks, their ports and their leases.

Source of every row: src/remote/remote_protocol.x of libvirt 9.0, ``REMOTE_PROC_`` and the row's name.
"""

from __future__ import annotations

from typing import Annotated

from culvert.protocol.procedure import Procedure
from culvert.protocol.remote_domain import ActiveRet, AutostartRet, PersistentRet
from culvert.protocol.remote_object import NetworkRet
from culvert.protocol.shapes import XMLArgs, XMLFlagsArgs, XMLRet
from culvert.protocol.types import (
    DOMAIN_LIST_MAX,
    Hyper,
    Int,
    Network,
    OptStr,
    Str,
    TypedParam,
    UInt,
    UUIDBytes,
    listed,
    struct,
)
from culvert.xdr.struct import Void

LEASES_MAX = 65536  # REMOTE_NETWORK_DHCP_LEASES_MAX
PORT_PARAMETERS_MAX = 16  # REMOTE_NETWORK_PORT_PARAMETERS_MAX


@struct
class NetworkArgs:
    net: Network


@struct
class NetworkFlagsArgs:
    net: Network
    flags: UInt


@struct
class NetworkSetAutostartArgs:
    net: Network
    autostart: Int


@struct
class NetworkUpdateArgs:
    """``command`` and ``section`` as ``domain.network.update`` has them; older clients have them the other way round,
    unless the server has the feature NETWORK_UPDATE_HAS_CORRECT_ORDER."""

    net: Network
    command: UInt
    section: UInt
    parent_index: Int
    xml: Str
    flags: UInt


@struct
class BridgeNameRet:
    name: Str


@struct
class DHCPLease:
    """``expirytime`` in seconds since the epoch; ``type`` 0 IPv4, 1 IPv6."""

    iface: Str
    expirytime: Hyper
    type: Int
    mac: OptStr
    iaid: OptStr
    ipaddr: Str
    prefix: UInt
    hostname: OptStr
    clientid: OptStr


@struct
class GetDHCPLeasesArgs:
    net: Network
    mac: OptStr
    need_results: Int
    flags: UInt


@struct
class GetDHCPLeasesRet:
    leases: Annotated[list[DHCPLease], listed(DHCPLease, LEASES_MAX)]
    ret: UInt


@struct
class NetworkPort:
    """``remote_nonnull_network_port``."""

    net: Network
    uuid: UUIDBytes


@struct
class ListAllPortsArgs:
    network: Network
    need_results: Int
    flags: UInt


@struct
class ListAllPortsRet:
    ports: Annotated[list[NetworkPort], listed(NetworkPort, DOMAIN_LIST_MAX)]
    ret: UInt


@struct
class PortLookupByUUIDArgs:
    network: Network
    uuid: UUIDBytes


@struct
class NetworkPortRet:
    port: NetworkPort


@struct
class PortFlagsArgs:
    port: NetworkPort
    flags: UInt


@struct
class PortGetParametersArgs:
    port: NetworkPort
    nparams: Int
    flags: UInt


@struct
class PortGetParametersRet:
    params: Annotated[list[TypedParam], listed(TypedParam, PORT_PARAMETERS_MAX)]
    nparams: Int


NETWORK_CREATE = Procedure(39, "NETWORK_CREATE", NetworkArgs, Void, acl="network:start")
NETWORK_CREATE_XML = Procedure(40, "NETWORK_CREATE_XML", XMLArgs, NetworkRet, acl="network:write network:start")
NETWORK_DEFINE_XML = Procedure(41, "NETWORK_DEFINE_XML", XMLArgs, NetworkRet, acl="network:write network:save")
NETWORK_DESTROY = Procedure(42, "NETWORK_DESTROY", NetworkArgs, Void, acl="network:stop")
NETWORK_GET_XML_DESC = Procedure(
    43, "NETWORK_GET_XML_DESC", NetworkFlagsArgs, XMLRet, acl="network:read", read_only=True
)
NETWORK_GET_AUTOSTART = Procedure(
    44, "NETWORK_GET_AUTOSTART", NetworkArgs, AutostartRet, acl="network:read", read_only=True
)
NETWORK_GET_BRIDGE_NAME = Procedure(
    45, "NETWORK_GET_BRIDGE_NAME", NetworkArgs, BridgeNameRet, acl="network:read", read_only=True
)
NETWORK_SET_AUTOSTART = Procedure(48, "NETWORK_SET_AUTOSTART", NetworkSetAutostartArgs, Void, acl="network:write")
NETWORK_UNDEFINE = Procedure(49, "NETWORK_UNDEFINE", NetworkArgs, Void, acl="network:delete")
NETWORK_IS_ACTIVE = Procedure(152, "NETWORK_IS_ACTIVE", NetworkArgs, ActiveRet, acl="network:read", read_only=True)
NETWORK_IS_PERSISTENT = Procedure(
    153, "NETWORK_IS_PERSISTENT", NetworkArgs, PersistentRet, acl="network:read", read_only=True
)
NETWORK_UPDATE = Procedure(
    291,
    "NETWORK_UPDATE",
    NetworkUpdateArgs,
    Void,
    acl=(
        "network:write "
        "network:save:!VIR_NETWORK_UPDATE_AFFECT_CONFIG|VIR_NETWORK_UPDATE_AFFECT_LIVE "
        "network:save:VIR_NETWORK_UPDATE_AFFECT_CONFIG"
    ),
)
NETWORK_GET_DHCP_LEASES = Procedure(
    341, "NETWORK_GET_DHCP_LEASES", GetDHCPLeasesArgs, GetDHCPLeasesRet, acl="network:read", read_only=True
)
NETWORK_LIST_ALL_PORTS = Procedure(
    404,
    "NETWORK_LIST_ALL_PORTS",
    ListAllPortsArgs,
    ListAllPortsRet,
    acl="network:search_ports",
    acl_filter="network_port:getattr",
    read_only=True,
)
NETWORK_PORT_LOOKUP_BY_UUID = Procedure(
    405,
    "NETWORK_PORT_LOOKUP_BY_UUID",
    PortLookupByUUIDArgs,
    NetworkPortRet,
    acl="network_port:getattr",
    read_only=True,
)
NETWORK_PORT_GET_PARAMETERS = Procedure(
    407,
    "NETWORK_PORT_GET_PARAMETERS",
    PortGetParametersArgs,
    PortGetParametersRet,
    acl="network_port:read",
    read_only=True,
)
NETWORK_PORT_GET_XML_DESC = Procedure(
    409, "NETWORK_PORT_GET_XML_DESC", PortFlagsArgs, XMLRet, acl="network_port:read", read_only=True
)
NETWORK_DEFINE_XML_FLAGS = Procedure(
    432, "NETWORK_DEFINE_XML_FLAGS", XMLFlagsArgs, NetworkRet, acl="network:write network:save"
)
NETWORK_CREATE_XML_FLAGS = Procedure(
    437, "NETWORK_CREATE_XML_FLAGS", XMLFlagsArgs, NetworkRet, acl="network:write network:start"
)
