"""The QEMU program: the monitor and the guest agent, for whoever knows what he does.

Source of every row: src/remote/qemu_protocol.x of libvirt 9.0, ``QEMU_PROC_`` and the row's name. Two rows
are left out: DOMAIN_ATTACH (2) is gone from the drivers, and DOMAIN_MONITOR_COMMAND_WITH_FILES (7) carries
descriptors, which culvert's connections do not.
"""

from __future__ import annotations

import sys
from enum import IntFlag

from culvert.protocol.procedure import Message, Procedure, Program, Wait
from culvert.protocol.shapes import CallbackIDArgs, CallbackIDRet
from culvert.protocol.types import Domain, Hyper, Int, OptDomain, OptStr, Str, UInt, struct
from culvert.xdr.struct import Void


class MonitorCommandFlag(IntFlag):
    """``virDomainQemuMonitorCommandFlags``."""

    DEFAULT = 0  # VIR_DOMAIN_QEMU_MONITOR_COMMAND_DEFAULT: cmd is JSON, or a command's bare name
    HMP = 1  # VIR_DOMAIN_QEMU_MONITOR_COMMAND_HMP: cmd is for the human monitor


@struct
class MonitorCommandArgs:
    """``flags`` a ``MonitorCommandFlag``."""

    dom: Domain
    cmd: Str
    flags: UInt


@struct
class MonitorCommandRet:
    """QEMU's answer: JSON, or the human monitor's text."""

    result: Str


@struct
class AgentCommandArgs:
    """``timeout`` in seconds; -2 block, -1 default, 0 do not wait."""

    dom: Domain
    cmd: Str
    timeout: Int
    flags: UInt


@struct
class AgentCommandRet:
    result: OptStr


@struct
class MonitorEventRegisterArgs:
    """``event``: a name, or absent for all; ``flags``: 1 it is a regular expression, 2 without regard to case."""

    dom: OptDomain
    event: OptStr
    flags: UInt


@struct
class MonitorEvent:
    """``seconds`` and ``micros`` since the epoch, by QEMU's clock; ``details``: the event's data as JSON."""

    callback_id: Int
    dom: Domain
    event: Str
    seconds: Hyper
    micros: UInt
    details: OptStr


DOMAIN_MONITOR_COMMAND = Procedure(
    1, "DOMAIN_MONITOR_COMMAND", MonitorCommandArgs, MonitorCommandRet, wait=Wait.NORMAL, acl="domain:write"
)
DOMAIN_AGENT_COMMAND = Procedure(
    3, "DOMAIN_AGENT_COMMAND", AgentCommandArgs, AgentCommandRet, wait=Wait.NORMAL, acl="domain:write"
)
CONNECT_DOMAIN_MONITOR_EVENT_REGISTER = Procedure(
    4,
    "CONNECT_DOMAIN_MONITOR_EVENT_REGISTER",
    MonitorEventRegisterArgs,
    CallbackIDRet,
    acl="connect:search_domains connect:write",
    acl_filter="domain:getattr",
)
CONNECT_DOMAIN_MONITOR_EVENT_DEREGISTER = Procedure(
    5, "CONNECT_DOMAIN_MONITOR_EVENT_DEREGISTER", CallbackIDArgs, Void, acl="connect:write"
)
DOMAIN_MONITOR_EVENT = Message(6, "DOMAIN_MONITOR_EVENT", MonitorEvent)

PROGRAM = Program.of_modules(
    "QEMU",
    0x20008087,  # QEMU_PROGRAM
    1,  # QEMU_PROTOCOL_VERSION
    sys.modules[__name__],
)
