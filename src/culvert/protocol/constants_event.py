"""What events hold beside the domain: actions, phases, reasons.

Members have libvirt's names without the prefix given with each class, in libvirt's order
(include/libvirt/libvirt-domain.h of libvirt 9.0).
"""

from __future__ import annotations

from enum import IntEnum


class WatchdogAction(IntEnum):
    """``virDomainEventWatchdogAction``: VIR_DOMAIN_EVENT_WATCHDOG_*."""

    NONE = 0
    PAUSE = 1
    RESET = 2
    POWEROFF = 3
    SHUTDOWN = 4
    DEBUG = 5
    INJECTNMI = 6


class IOErrorAction(IntEnum):
    """``virDomainEventIOErrorAction``: VIR_DOMAIN_EVENT_IO_ERROR_*."""

    NONE = 0
    PAUSE = 1
    REPORT = 2


class GraphicsPhase(IntEnum):
    """``virDomainEventGraphicsPhase``: VIR_DOMAIN_EVENT_GRAPHICS_*."""

    CONNECT = 0
    INITIALIZE = 1
    DISCONNECT = 2


class GraphicsFamily(IntEnum):
    """``virDomainEventGraphicsAddressType``: VIR_DOMAIN_EVENT_GRAPHICS_ADDRESS_*."""

    IPV4 = 0
    IPV6 = 1
    UNIX = 2


class TrayReason(IntEnum):
    """``virDomainEventTrayChangeReason``: VIR_DOMAIN_EVENT_TRAY_CHANGE_*."""

    OPEN = 0
    CLOSE = 1


class AgentState(IntEnum):
    """``virConnectDomainEventAgentLifecycleState``: VIR_CONNECT_DOMAIN_EVENT_AGENT_LIFECYCLE_STATE_*."""

    CONNECTED = 1
    DISCONNECTED = 2


class AgentReason(IntEnum):
    """``virConnectDomainEventAgentLifecycleReason``: VIR_CONNECT_DOMAIN_EVENT_AGENT_LIFECYCLE_REASON_*."""

    UNKNOWN = 0
    DOMAIN_STARTED = 1
    CHANNEL = 2
