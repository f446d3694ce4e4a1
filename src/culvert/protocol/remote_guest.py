"""REMOTE procedures that the guest itself answers, by its agent.

Source of every row: src/remote/remote_protocol.x of libvirt 9.0, ``REMOTE_PROC_`` and the row's name.
"""

from __future__ import annotations

from typing import Annotated

from culvert.protocol import types
from culvert.protocol.procedure import Procedure
from culvert.protocol.shapes import DomainFlagsArgs
from culvert.protocol.types import Domain, Hyper, Int, OptStr, Str, UHyper, UInt, listed, struct
from culvert.xdr.struct import Void


@struct
class GuestHostnameRet:
    hostname: Str


@struct
class IPAddress:
    """``remote_domain_ip_addr``: ``type`` 0 IPv4, 1 IPv6."""

    type: Int
    addr: Str
    prefix: UInt


@struct
class GuestInterface:
    """``remote_domain_interface``: a network card as the guest calls it."""

    name: Str
    hwaddr: OptStr
    addrs: Annotated[list[IPAddress], listed(IPAddress, 2048)]  # REMOTE_DOMAIN_IP_ADDR_MAX


@struct
class DomainInterfaceAddressesArgs:
    """``source`` 0 leases of libvirt's networks, 1 the agent, 2 the host's ARP table."""

    dom: Domain
    source: UInt
    flags: UInt


@struct
class GuestInterfacesRet:
    ifaces: Annotated[list[GuestInterface], listed(GuestInterface, 2048)]  # REMOTE_DOMAIN_INTERFACE_MAX


@struct
class TimeRet:
    """Since the epoch."""

    seconds: Hyper
    nseconds: UInt


@struct
class DomainSetTimeArgs:
    dom: Domain
    seconds: Hyper
    nseconds: UInt
    flags: UInt


@struct
class DomainMountpointsArgs:
    """``mountpoints``: none for all file systems."""

    dom: Domain
    mountpoints: Annotated[list[str], listed(Str, 256)]  # REMOTE_DOMAIN_FSFREEZE_MOUNTPOINTS_MAX
    flags: UInt


@struct
class FilesystemsRet:
    """How many file systems."""

    filesystems: Int


@struct
class FSInfo:
    """``remote_domain_fsinfo``: ``dev_aliases`` the targets (``vda``) of the disks below it."""

    mountpoint: Str
    name: Str
    fstype: Str
    dev_aliases: Annotated[list[str], listed(Str, 256)]  # REMOTE_DOMAIN_FSINFO_DISKS_MAX


@struct
class FSInfoRet:
    info: Annotated[list[FSInfo], listed(FSInfo, 256)]  # REMOTE_DOMAIN_FSINFO_MAX
    ret: UInt


@struct
class DomainFSTrimArgs:
    """``minimum``: bytes of free space in one piece that are worth it."""

    dom: Domain
    mount_point: OptStr
    minimum: UHyper
    flags: UInt


@struct
class DomainGuestInfoArgs:
    """``types``: bits of VIR_DOMAIN_GUEST_INFO_*, 0 for all."""

    dom: Domain
    types: UInt
    flags: UInt


@struct
class GuestInfoRet:
    params: Annotated[list[types.TypedParam], listed(types.TypedParam, 2048)]  # REMOTE_DOMAIN_GUEST_INFO_PARAMS_MAX


DOMAIN_GET_HOSTNAME = Procedure(277, "DOMAIN_GET_HOSTNAME", DomainFlagsArgs, GuestHostnameRet, acl="domain:write")
DOMAIN_INTERFACE_ADDRESSES = Procedure(
    353,
    "DOMAIN_INTERFACE_ADDRESSES",
    DomainInterfaceAddressesArgs,
    GuestInterfacesRet,
    acl="domain:read domain:write::source:VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_AGENT",
    read_only=True,
)
DOMAIN_GET_TIME = Procedure(337, "DOMAIN_GET_TIME", DomainFlagsArgs, TimeRet, acl="domain:write")
DOMAIN_SET_TIME = Procedure(338, "DOMAIN_SET_TIME", DomainSetTimeArgs, Void, acl="domain:set_time")
DOMAIN_FSFREEZE = Procedure(335, "DOMAIN_FSFREEZE", DomainMountpointsArgs, FilesystemsRet, acl="domain:fs_freeze")
DOMAIN_FSTHAW = Procedure(336, "DOMAIN_FSTHAW", DomainMountpointsArgs, FilesystemsRet, acl="domain:fs_freeze")
DOMAIN_GET_FSINFO = Procedure(349, "DOMAIN_GET_FSINFO", DomainFlagsArgs, FSInfoRet, acl="domain:fs_freeze")
DOMAIN_FSTRIM = Procedure(294, "DOMAIN_FSTRIM", DomainFSTrimArgs, Void, acl="domain:fs_trim")
DOMAIN_GET_GUEST_INFO = Procedure(418, "DOMAIN_GET_GUEST_INFO", DomainGuestInfoArgs, GuestInfoRet, acl="domain:write")
