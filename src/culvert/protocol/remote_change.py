"""REMOTE procedures that change a domain: memory, processors, devices, what is said of it; keys pressed in it.

Source of every row: src/remote/remote_protocol.x of libvirt 9.0, ``REMOTE_PROC_`` and the row's name; of those from
448 on, what virsh 12.9 sends.
"""

from __future__ import annotations

from typing import Annotated

from culvert.protocol import types
from culvert.protocol.procedure import WRITE, Procedure, Wait
from culvert.protocol.shapes import DomainFlagsArgs
from culvert.protocol.types import Domain, Int, OptStr, Str, UHyper, UInt, listed, struct
from culvert.xdr.struct import Void


@struct
class DomainMemoryArgs:
    """``memory`` in KiB."""

    dom: Domain
    memory: UHyper


@struct
class DomainMemoryFlagsArgs:
    """``memory`` in KiB."""

    dom: Domain
    memory: UHyper
    flags: UInt


@struct
class DomainMemoryStatsPeriodArgs:
    """``period``: seconds between two looks at the balloon's statistics, 0 for none."""

    dom: Domain
    period: Int
    flags: UInt


@struct
class DomainSetVcpusArgs:
    dom: Domain
    nvcpus: UInt


@struct
class DomainSetVcpusFlagsArgs:
    dom: Domain
    nvcpus: UInt
    flags: UInt


@struct
class DomainDeviceArgs:
    """``xml``: one device."""

    dom: Domain
    xml: Str


@struct
class DomainDeviceFlagsArgs:
    """``xml``: one device."""

    dom: Domain
    xml: Str
    flags: UInt


@struct
class DomainDeviceAliasArgs:
    dom: Domain
    alias: Str
    flags: UInt


@struct
class DomainSetMetadataArgs:
    """``type`` 0 description, 1 title, 2 the element of namespace ``uri``, with prefix ``key``."""

    dom: Domain
    type: Int
    metadata: OptStr
    key: OptStr
    uri: OptStr
    flags: UInt


@struct
class DomainMetadataArgs:
    """``type`` 0 description, 1 title, 2 element; ``uri`` names the element."""

    dom: Domain
    type: Int
    uri: OptStr
    flags: UInt


@struct
class MetadataRet:
    metadata: Str


@struct
class DomainSendKeyArgs:
    """``holdtime`` in milliseconds; ``keycodes`` are pressed together."""

    dom: Domain
    codeset: UInt
    holdtime: UInt
    keycodes: Annotated[list[int], listed(UInt, 16)]  # REMOTE_DOMAIN_SEND_KEY_MAX
    flags: UInt


@struct
class DomainRenameArgs:
    dom: Domain
    new_name: OptStr
    flags: UInt


@struct
class RenameRet:
    retcode: Int


@struct
class DomainAnnounceInterfaceArgs:
    """``device``: a card's MAC address, or its device on the host; absent for all. ``params``: ``initial``, ``max``
    and ``step`` in milliseconds, and the number of ``rounds``."""

    dom: Domain
    device: OptStr
    params: Annotated[list[types.TypedParam], listed(types.TypedParam, 16)]
    flags: UInt


@struct
class DomainGraphicsReloadArgs:
    """``type`` 0 any, 1 VNC."""

    dom: Domain
    type: UInt
    flags: UInt


DOMAIN_SET_MEMORY = Procedure(31, "DOMAIN_SET_MEMORY", DomainMemoryArgs, Void, acl="domain:write")
DOMAIN_SET_MEMORY_FLAGS = Procedure(204, "DOMAIN_SET_MEMORY_FLAGS", DomainMemoryFlagsArgs, Void, acl=WRITE)
DOMAIN_SET_MAX_MEMORY = Procedure(30, "DOMAIN_SET_MAX_MEMORY", DomainMemoryArgs, Void, acl="domain:write")
DOMAIN_SET_MEMORY_STATS_PERIOD = Procedure(
    308, "DOMAIN_SET_MEMORY_STATS_PERIOD", DomainMemoryStatsPeriodArgs, Void, acl=WRITE
)
DOMAIN_SET_VCPUS = Procedure(32, "DOMAIN_SET_VCPUS", DomainSetVcpusArgs, Void, acl="domain:write")
DOMAIN_SET_VCPUS_FLAGS = Procedure(
    199, "DOMAIN_SET_VCPUS_FLAGS", DomainSetVcpusFlagsArgs, Void, acl=f"{WRITE} domain:write:VIR_DOMAIN_VCPU_GUEST"
)

DOMAIN_ATTACH_DEVICE = Procedure(
    8, "DOMAIN_ATTACH_DEVICE", DomainDeviceArgs, Void, wait=Wait.NORMAL, acl="domain:write"
)
DOMAIN_ATTACH_DEVICE_FLAGS = Procedure(
    160, "DOMAIN_ATTACH_DEVICE_FLAGS", DomainDeviceFlagsArgs, Void, wait=Wait.NORMAL, acl=WRITE
)
DOMAIN_DETACH_DEVICE = Procedure(
    13, "DOMAIN_DETACH_DEVICE", DomainDeviceArgs, Void, wait=Wait.NORMAL, acl="domain:write"
)
DOMAIN_DETACH_DEVICE_FLAGS = Procedure(
    161, "DOMAIN_DETACH_DEVICE_FLAGS", DomainDeviceFlagsArgs, Void, wait=Wait.NORMAL, acl=WRITE
)
DOMAIN_DETACH_DEVICE_ALIAS = Procedure(
    392, "DOMAIN_DETACH_DEVICE_ALIAS", DomainDeviceAliasArgs, Void, wait=Wait.NORMAL, acl=WRITE
)
DOMAIN_UPDATE_DEVICE_FLAGS = Procedure(
    174, "DOMAIN_UPDATE_DEVICE_FLAGS", DomainDeviceFlagsArgs, Void, wait=Wait.NORMAL, acl=WRITE
)

DOMAIN_SET_METADATA = Procedure(264, "DOMAIN_SET_METADATA", DomainSetMetadataArgs, Void, acl=WRITE)
DOMAIN_GET_METADATA = Procedure(
    265, "DOMAIN_GET_METADATA", DomainMetadataArgs, MetadataRet, acl="domain:read", read_only=True
)
DOMAIN_RENAME = Procedure(358, "DOMAIN_RENAME", DomainRenameArgs, RenameRet, acl="domain:write domain:save")

DOMAIN_SEND_KEY = Procedure(226, "DOMAIN_SEND_KEY", DomainSendKeyArgs, Void, acl="domain:send_input")
DOMAIN_INJECT_NMI = Procedure(210, "DOMAIN_INJECT_NMI", DomainFlagsArgs, Void, acl="domain:inject_nmi")
DOMAIN_PM_WAKEUP = Procedure(267, "DOMAIN_PM_WAKEUP", DomainFlagsArgs, Void, acl="domain:pm_control")
DOMAIN_GRAPHICS_RELOAD = Procedure(448, "DOMAIN_GRAPHICS_RELOAD", DomainGraphicsReloadArgs, Void, acl="domain:write")
DOMAIN_ANNOUNCE_INTERFACE = Procedure(
    456, "DOMAIN_ANNOUNCE_INTERFACE", DomainAnnounceInterfaceArgs, Void, acl="domain:write"
)
