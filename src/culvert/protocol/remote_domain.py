"""REMOTE procedures of a domain's life, and questions about it.

Source of every row: src/remote/remote_protocol.x of libvirt 9.0, ``REMOTE_PROC_`` and the row's name. Which rows a
read-only connection may call: the checks at the head of the public functions (src/libvirt-domain.c).
"""

from __future__ import annotations

from typing import Annotated

from culvert.protocol.procedure import Procedure, StreamDirection, Wait
from culvert.protocol.shapes import (
    DomainArgs,
    DomainFlagsArgs,
    DomainRet,
    MemoryRet,
    NumRet,
    TypeRet,
    XMLArgs,
    XMLFlagsArgs,
    XMLRet,
)
from culvert.protocol.types import Domain, Int, OptStr, Str, UHyper, UInt, listed, struct
from culvert.xdr import codec
from culvert.xdr.struct import Void


@struct
class DomainCreateXMLArgs:
    xml_desc: Str
    flags: UInt


@struct
class DomainGetInfoRet:
    """``state`` a ``constants_state.DomainState``; memory in KiB; ``cpu_time`` in nanoseconds.

    The protocol file says unsigned char and unsigned short for the two small ones; both take four bytes.
    """

    state: UInt
    max_mem: UHyper
    memory: UHyper
    nr_virt_cpu: UInt
    cpu_time: UHyper


@struct
class DomainGetStateRet:
    """``constants_state.DomainState`` and the reason that goes with it."""

    state: Int
    reason: Int


@struct
class DomainControlInfoRet:
    """``state`` 0 = ready for a monitor command, 1 a job runs, 2 busy, 3 error; ``state_time`` in milliseconds."""

    state: UInt
    details: UInt
    state_time: UHyper


@struct
class AutostartRet:
    autostart: Int


@struct
class DomainSetAutostartArgs:
    dom: Domain
    autostart: Int


@struct
class ActiveRet:
    active: Int


@struct
class PersistentRet:
    persistent: Int


@struct
class UpdatedRet:
    """Whether the persistent definition differs from what runs because it was changed meanwhile."""

    updated: Int


@struct
class SecurityLabelRet:
    label: Annotated[str, codec.Chars(4097, fixed=False)]  # VIR_SECURITY_LABEL_BUFLEN
    enforcing: Int


@struct
class SecurityLabelListRet:
    """``ret``: how many there are."""

    labels: Annotated[list[SecurityLabelRet], listed(SecurityLabelRet, 64)]  # REMOTE_SECURITY_LABEL_LIST_MAX
    ret: Int


@struct
class MessagesRet:
    msgs: Annotated[list[str], listed(Str, 2048)]  # REMOTE_DOMAIN_MESSAGES_MAX


@struct
class DomainOpenConsoleArgs:
    """``dev_name``: the alias of a console, serial or parallel device; absent for the first console."""

    dom: Domain
    dev_name: OptStr
    flags: UInt


@struct
class DomainOpenChannelArgs:
    """``name``: the target name or the alias of a channel; absent for the first."""

    dom: Domain
    name: OptStr
    flags: UInt


@struct
class DomainOpenGraphicsFDArgs:
    dom: Domain
    idx: UInt
    flags: UInt = 0


@struct
class DomainScreenshotArgs:
    dom: Domain
    screen: UInt
    flags: UInt


@struct
class ScreenshotRet:
    """``mime``: what the stream carries."""

    mime: OptStr


@struct
class XMLToNativeArgs:
    native_format: Str
    domain_xml: Str
    flags: UInt


@struct
class NativeConfigRet:
    native_config: Str


DOMAIN_CREATE_XML = Procedure(
    10, "DOMAIN_CREATE_XML", DomainCreateXMLArgs, DomainRet, wait=Wait.NORMAL, acl="domain:write domain:start"
)
DOMAIN_DEFINE_XML = Procedure(11, "DOMAIN_DEFINE_XML", XMLArgs, DomainRet, acl="domain:write domain:save")
DOMAIN_DEFINE_XML_FLAGS = Procedure(
    350, "DOMAIN_DEFINE_XML_FLAGS", XMLFlagsArgs, DomainRet, acl="domain:write domain:save"
)
DOMAIN_CREATE = Procedure(9, "DOMAIN_CREATE", DomainArgs, Void, wait=Wait.NORMAL, acl="domain:start")
DOMAIN_CREATE_WITH_FLAGS = Procedure(
    196, "DOMAIN_CREATE_WITH_FLAGS", DomainFlagsArgs, DomainRet, wait=Wait.NORMAL, acl="domain:start"
)
DOMAIN_DESTROY = Procedure(12, "DOMAIN_DESTROY", DomainArgs, Void, wait=Wait.NORMAL, acl="domain:stop")
DOMAIN_DESTROY_FLAGS = Procedure(
    234, "DOMAIN_DESTROY_FLAGS", DomainFlagsArgs, Void, wait=Wait.NORMAL, acl="domain:stop"
)
DOMAIN_SHUTDOWN = Procedure(33, "DOMAIN_SHUTDOWN", DomainArgs, Void, acl="domain:init_control")
DOMAIN_SHUTDOWN_FLAGS = Procedure(
    258,
    "DOMAIN_SHUTDOWN_FLAGS",
    DomainFlagsArgs,
    Void,
    acl="domain:init_control domain:write:VIR_DOMAIN_SHUTDOWN_GUEST_AGENT",
)
DOMAIN_REBOOT = Procedure(
    27, "DOMAIN_REBOOT", DomainFlagsArgs, Void, acl="domain:init_control domain:write:VIR_DOMAIN_REBOOT_GUEST_AGENT"
)
DOMAIN_RESET = Procedure(245, "DOMAIN_RESET", DomainFlagsArgs, Void, acl="domain:reset")
DOMAIN_SUSPEND = Procedure(34, "DOMAIN_SUSPEND", DomainArgs, Void, acl="domain:suspend")
DOMAIN_RESUME = Procedure(28, "DOMAIN_RESUME", DomainArgs, Void, acl="domain:suspend")
DOMAIN_UNDEFINE = Procedure(35, "DOMAIN_UNDEFINE", DomainArgs, Void, acl="domain:delete")
DOMAIN_UNDEFINE_FLAGS = Procedure(231, "DOMAIN_UNDEFINE_FLAGS", DomainFlagsArgs, Void, acl="domain:delete")

# Its flags SECURE and MIGRATABLE show secrets and are refused on a read-only connection by the handler.
DOMAIN_GET_XML_DESC = Procedure(
    14,
    "DOMAIN_GET_XML_DESC",
    DomainFlagsArgs,
    XMLRet,
    acl="domain:read domain:read_secure:VIR_DOMAIN_XML_SECURE domain:read_secure:VIR_DOMAIN_XML_MIGRATABLE",
    read_only=True,
)
DOMAIN_GET_INFO = Procedure(16, "DOMAIN_GET_INFO", DomainArgs, DomainGetInfoRet, acl="domain:read", read_only=True)
DOMAIN_GET_STATE = Procedure(
    212, "DOMAIN_GET_STATE", DomainFlagsArgs, DomainGetStateRet, acl="domain:read", read_only=True
)
DOMAIN_GET_CONTROL_INFO = Procedure(
    229, "DOMAIN_GET_CONTROL_INFO", DomainFlagsArgs, DomainControlInfoRet, acl="domain:read", read_only=True
)
DOMAIN_GET_OS_TYPE = Procedure(19, "DOMAIN_GET_OS_TYPE", DomainArgs, TypeRet, acl="domain:read", read_only=True)
DOMAIN_GET_MAX_MEMORY = Procedure(
    17, "DOMAIN_GET_MAX_MEMORY", DomainArgs, MemoryRet, acl="domain:read", read_only=True
)
DOMAIN_GET_MAX_VCPUS = Procedure(18, "DOMAIN_GET_MAX_VCPUS", DomainArgs, NumRet, acl="domain:read", read_only=True)
DOMAIN_GET_VCPUS_FLAGS = Procedure(
    200,
    "DOMAIN_GET_VCPUS_FLAGS",
    DomainFlagsArgs,
    NumRet,
    acl="domain:read domain:write:VIR_DOMAIN_VCPU_GUEST",
    read_only=True,
)
DOMAIN_GET_AUTOSTART = Procedure(
    15, "DOMAIN_GET_AUTOSTART", DomainArgs, AutostartRet, acl="domain:read", read_only=True
)
DOMAIN_SET_AUTOSTART = Procedure(29, "DOMAIN_SET_AUTOSTART", DomainSetAutostartArgs, Void, acl="domain:write")
DOMAIN_GET_AUTOSTART_ONCE = Procedure(
    449, "DOMAIN_GET_AUTOSTART_ONCE", DomainArgs, AutostartRet, acl="domain:read", read_only=True
)
DOMAIN_SET_AUTOSTART_ONCE = Procedure(
    450, "DOMAIN_SET_AUTOSTART_ONCE", DomainSetAutostartArgs, Void, acl="domain:write"
)
DOMAIN_IS_ACTIVE = Procedure(150, "DOMAIN_IS_ACTIVE", DomainArgs, ActiveRet, acl="domain:read", read_only=True)
DOMAIN_IS_UPDATED = Procedure(202, "DOMAIN_IS_UPDATED", DomainArgs, UpdatedRet, acl="domain:read", read_only=True)
DOMAIN_IS_PERSISTENT = Procedure(
    151, "DOMAIN_IS_PERSISTENT", DomainArgs, PersistentRet, acl="domain:read", read_only=True
)
DOMAIN_GET_SECURITY_LABEL = Procedure(
    121, "DOMAIN_GET_SECURITY_LABEL", DomainArgs, SecurityLabelRet, acl="domain:read", read_only=True
)
DOMAIN_GET_SECURITY_LABEL_LIST = Procedure(
    278, "DOMAIN_GET_SECURITY_LABEL_LIST", DomainArgs, SecurityLabelListRet, acl="domain:read", read_only=True
)
DOMAIN_GET_MESSAGES = Procedure(
    426, "DOMAIN_GET_MESSAGES", DomainFlagsArgs, MessagesRet, acl="domain:read", read_only=True
)

DOMAIN_OPEN_CONSOLE = Procedure(
    201, "DOMAIN_OPEN_CONSOLE", DomainOpenConsoleArgs, Void, stream=StreamDirection.BOTH, acl="domain:open_device"
)
DOMAIN_OPEN_CHANNEL = Procedure(
    296, "DOMAIN_OPEN_CHANNEL", DomainOpenChannelArgs, Void, stream=StreamDirection.BOTH, acl="domain:open_device"
)
DOMAIN_SCREENSHOT = Procedure(
    211,
    "DOMAIN_SCREENSHOT",
    DomainScreenshotArgs,
    ScreenshotRet,
    stream=StreamDirection.READ,
    acl="domain:screenshot",
)
DOMAIN_OPEN_GRAPHICS_FD = Procedure(
    343, "DOMAIN_OPEN_GRAPHICS_FD", DomainOpenGraphicsFDArgs, Void, passes=True, acl="domain:open_graphics"
)
CONNECT_DOMAIN_XML_TO_NATIVE = Procedure(
    136, "CONNECT_DOMAIN_XML_TO_NATIVE", XMLToNativeArgs, NativeConfigRet, acl="connect:write"
)
