"""REMOTE messages: the events of domains and of the connection.

All have the form that begins with ``callback_id``, the number the registration was answered with. In 318–333 the
protocol file has a second member ``msg`` that holds the old struct of the same event; on the wire that is its fields
in order.

Source of every row: src/remote/remote_protocol.x of libvirt 9.0, ``REMOTE_PROC_`` and the row's name; of those from
446 on, the tables of the Wireshark dissector that comes with libvirt 12.9.
"""

from __future__ import annotations

from typing import Annotated, Any

from culvert.protocol import types
from culvert.protocol.constants_state import EventID
from culvert.protocol.procedure import Message
from culvert.protocol.types import Domain, Hyper, Int, Network, OptStr, Str, UHyper, UInt, listed, struct


@struct
class LifecycleEvent:
    """``event`` a ``constants_state.DomainEvent``, ``detail`` a member of the detail that goes with it."""

    callback_id: Int
    dom: Domain
    event: Int
    detail: Int


@struct
class PlainEvent:
    """That it happened is all there is to say: reboot, control error."""

    callback_id: Int
    dom: Domain


@struct
class RTCChangeEvent:
    """``offset`` in seconds from UTC."""

    callback_id: Int
    dom: Domain
    offset: Hyper


@struct
class WatchdogEvent:
    callback_id: Int
    dom: Domain
    action: Int


@struct
class IOErrorEvent:
    callback_id: Int
    dom: Domain
    src_path: Str
    dev_alias: Str
    action: Int


@struct
class IOErrorReasonEvent:
    callback_id: Int
    dom: Domain
    src_path: Str
    dev_alias: Str
    action: Int
    reason: Str


@struct
class GraphicsAddress:
    """``remote_domain_event_graphics_address``."""

    family: Int
    node: Str
    service: Str


@struct
class GraphicsIdentity:
    """``remote_domain_event_graphics_identity``."""

    type: Str
    name: Str


@struct
class GraphicsEvent:
    callback_id: Int
    dom: Domain
    phase: Int
    local: GraphicsAddress
    remote: GraphicsAddress
    auth_scheme: Str
    subject: Annotated[list[GraphicsIdentity], listed(GraphicsIdentity, 20)]


@struct
class BlockJobEvent:
    """``path``: the disk's source."""

    callback_id: Int
    dom: Domain
    path: Str
    type: Int
    status: Int


@struct
class BlockJob2Event:
    """``dst``: the name of the disk's target."""

    callback_id: Int
    dom: Domain
    dst: Str
    type: Int
    status: Int


@struct
class DiskChangeEvent:
    callback_id: Int
    dom: Domain
    old_src_path: OptStr
    new_src_path: OptStr
    dev_alias: Str
    reason: Int


@struct
class TrayChangeEvent:
    callback_id: Int
    dom: Domain
    dev_alias: Str
    reason: Int


@struct
class PMEvent:
    """Wake-up and suspends: the reason stands before the domain here."""

    callback_id: Int
    reason: Int
    dom: Domain


@struct
class BalloonChangeEvent:
    """``actual`` in KiB."""

    callback_id: Int
    dom: Domain
    actual: UHyper


@struct
class DeviceEvent:
    """A device was added or removed, or its removal failed."""

    callback_id: Int
    dom: Domain
    dev_alias: Str


@struct
class TunableEvent:
    callback_id: Int
    dom: Domain
    params: Annotated[list[types.TypedParam], listed(types.TypedParam, 2048)]


@struct
class AgentLifecycleEvent:
    callback_id: Int
    dom: Domain
    state: Int
    reason: Int


@struct
class MigrationIterationEvent:
    callback_id: Int
    dom: Domain
    iteration: Int


@struct
class JobCompletedEvent:
    """``params`` as GET_JOB_STATS answers them."""

    callback_id: Int
    dom: Domain
    params: types.JobStatsParams


@struct
class MetadataChangeEvent:
    callback_id: Int
    dom: Domain
    type: Int
    nsuri: OptStr


@struct
class BlockThresholdEvent:
    """``threshold`` and ``excess`` in bytes."""

    callback_id: Int
    dom: Domain
    dev: Str
    path: OptStr
    threshold: UHyper
    excess: UHyper


@struct
class MemoryFailureEvent:
    callback_id: Int
    dom: Domain
    recipient: Int
    action: Int
    flags: UInt


@struct
class MemoryDeviceSizeChangeEvent:
    """``size`` in KiB."""

    callback_id: Int
    dom: Domain
    alias: Str
    size: UHyper


@struct
class NICMACChangeEvent:
    """The guest has given one of its cards another address."""

    callback_id: Int
    dom: Domain
    alias: Str
    old_mac: Str
    new_mac: Str


@struct
class VcpuRemovedEvent:
    """``vcpuid``: as ``<vcpus>`` numbers them."""

    callback_id: Int
    dom: Domain
    vcpuid: UInt


@struct
class ChannelLifecycleEvent:
    """``channel_name``: the target's name; state and reason have the numbers of an agent's."""

    callback_id: Int
    dom: Domain
    channel_name: Str
    state: Int
    reason: Int


@struct
class ConnectionClosedEvent:
    """``reason`` a ``constants_state.CloseReason``: of the server's connection to its hypervisor."""

    reason: Int


@struct
class NetworkLifecycleEvent:
    callback_id: Int
    net: Network
    event: Int
    detail: Int


@struct
class NetworkMetadataChangeEvent:
    callback_id: Int
    net: Network
    type: UInt
    nsuri: OptStr


@struct
class StoragePoolLifecycleEvent:
    callback_id: Int
    pool: types.StoragePool
    event: Int
    detail: Int


@struct
class NodeDeviceLifecycleEvent:
    callback_id: Int
    dev: types.NodeDevice
    event: Int
    detail: Int


DOMAIN_EVENT_CALLBACK_LIFECYCLE = Message(318, "DOMAIN_EVENT_CALLBACK_LIFECYCLE", LifecycleEvent)
DOMAIN_EVENT_CALLBACK_REBOOT = Message(319, "DOMAIN_EVENT_CALLBACK_REBOOT", PlainEvent)
DOMAIN_EVENT_CALLBACK_RTC_CHANGE = Message(320, "DOMAIN_EVENT_CALLBACK_RTC_CHANGE", RTCChangeEvent)
DOMAIN_EVENT_CALLBACK_WATCHDOG = Message(321, "DOMAIN_EVENT_CALLBACK_WATCHDOG", WatchdogEvent)
DOMAIN_EVENT_CALLBACK_IO_ERROR = Message(322, "DOMAIN_EVENT_CALLBACK_IO_ERROR", IOErrorEvent)
DOMAIN_EVENT_CALLBACK_GRAPHICS = Message(323, "DOMAIN_EVENT_CALLBACK_GRAPHICS", GraphicsEvent)
DOMAIN_EVENT_CALLBACK_IO_ERROR_REASON = Message(324, "DOMAIN_EVENT_CALLBACK_IO_ERROR_REASON", IOErrorReasonEvent)
DOMAIN_EVENT_CALLBACK_CONTROL_ERROR = Message(325, "DOMAIN_EVENT_CALLBACK_CONTROL_ERROR", PlainEvent)
DOMAIN_EVENT_CALLBACK_BLOCK_JOB = Message(326, "DOMAIN_EVENT_CALLBACK_BLOCK_JOB", BlockJobEvent)
DOMAIN_EVENT_CALLBACK_DISK_CHANGE = Message(327, "DOMAIN_EVENT_CALLBACK_DISK_CHANGE", DiskChangeEvent)
DOMAIN_EVENT_CALLBACK_TRAY_CHANGE = Message(328, "DOMAIN_EVENT_CALLBACK_TRAY_CHANGE", TrayChangeEvent)
DOMAIN_EVENT_CALLBACK_PMWAKEUP = Message(329, "DOMAIN_EVENT_CALLBACK_PMWAKEUP", PMEvent)
DOMAIN_EVENT_CALLBACK_PMSUSPEND = Message(330, "DOMAIN_EVENT_CALLBACK_PMSUSPEND", PMEvent)
DOMAIN_EVENT_CALLBACK_BALLOON_CHANGE = Message(331, "DOMAIN_EVENT_CALLBACK_BALLOON_CHANGE", BalloonChangeEvent)
DOMAIN_EVENT_CALLBACK_PMSUSPEND_DISK = Message(332, "DOMAIN_EVENT_CALLBACK_PMSUSPEND_DISK", PMEvent)
DOMAIN_EVENT_CALLBACK_DEVICE_REMOVED = Message(333, "DOMAIN_EVENT_CALLBACK_DEVICE_REMOVED", DeviceEvent)
DOMAIN_EVENT_BLOCK_JOB_2 = Message(339, "DOMAIN_EVENT_BLOCK_JOB_2", BlockJob2Event)
DOMAIN_EVENT_CALLBACK_TUNABLE = Message(346, "DOMAIN_EVENT_CALLBACK_TUNABLE", TunableEvent)
DOMAIN_EVENT_CALLBACK_AGENT_LIFECYCLE = Message(348, "DOMAIN_EVENT_CALLBACK_AGENT_LIFECYCLE", AgentLifecycleEvent)
DOMAIN_EVENT_CALLBACK_DEVICE_ADDED = Message(354, "DOMAIN_EVENT_CALLBACK_DEVICE_ADDED", DeviceEvent)
DOMAIN_EVENT_CALLBACK_MIGRATION_ITERATION = Message(
    359, "DOMAIN_EVENT_CALLBACK_MIGRATION_ITERATION", MigrationIterationEvent
)
DOMAIN_EVENT_CALLBACK_JOB_COMPLETED = Message(363, "DOMAIN_EVENT_CALLBACK_JOB_COMPLETED", JobCompletedEvent)
DOMAIN_EVENT_CALLBACK_DEVICE_REMOVAL_FAILED = Message(367, "DOMAIN_EVENT_CALLBACK_DEVICE_REMOVAL_FAILED", DeviceEvent)
DOMAIN_EVENT_CALLBACK_METADATA_CHANGE = Message(379, "DOMAIN_EVENT_CALLBACK_METADATA_CHANGE", MetadataChangeEvent)
DOMAIN_EVENT_BLOCK_THRESHOLD = Message(385, "DOMAIN_EVENT_BLOCK_THRESHOLD", BlockThresholdEvent)
DOMAIN_EVENT_MEMORY_FAILURE = Message(423, "DOMAIN_EVENT_MEMORY_FAILURE", MemoryFailureEvent)
DOMAIN_EVENT_MEMORY_DEVICE_SIZE_CHANGE = Message(
    438, "DOMAIN_EVENT_MEMORY_DEVICE_SIZE_CHANGE", MemoryDeviceSizeChangeEvent
)
DOMAIN_EVENT_NIC_MAC_CHANGE = Message(453, "DOMAIN_EVENT_NIC_MAC_CHANGE", NICMACChangeEvent)
DOMAIN_EVENT_VCPU_REMOVED = Message(454, "DOMAIN_EVENT_VCPU_REMOVED", VcpuRemovedEvent)
DOMAIN_EVENT_CALLBACK_CHANNEL_LIFECYCLE = Message(
    455, "DOMAIN_EVENT_CALLBACK_CHANNEL_LIFECYCLE", ChannelLifecycleEvent
)
CONNECT_EVENT_CONNECTION_CLOSED = Message(362, "CONNECT_EVENT_CONNECTION_CLOSED", ConnectionClosedEvent)
NETWORK_EVENT_LIFECYCLE = Message(315, "NETWORK_EVENT_LIFECYCLE", NetworkLifecycleEvent)
NETWORK_EVENT_CALLBACK_METADATA_CHANGE = Message(
    446, "NETWORK_EVENT_CALLBACK_METADATA_CHANGE", NetworkMetadataChangeEvent
)
STORAGE_POOL_EVENT_LIFECYCLE = Message(370, "STORAGE_POOL_EVENT_LIFECYCLE", StoragePoolLifecycleEvent)
NODE_DEVICE_EVENT_LIFECYCLE = Message(376, "NODE_DEVICE_EVENT_LIFECYCLE", NodeDeviceLifecycleEvent)

DOMAIN_EVENTS: dict[EventID, Message[Any]] = {
    EventID.LIFECYCLE: DOMAIN_EVENT_CALLBACK_LIFECYCLE,
    EventID.REBOOT: DOMAIN_EVENT_CALLBACK_REBOOT,
    EventID.RTC_CHANGE: DOMAIN_EVENT_CALLBACK_RTC_CHANGE,
    EventID.WATCHDOG: DOMAIN_EVENT_CALLBACK_WATCHDOG,
    EventID.IO_ERROR: DOMAIN_EVENT_CALLBACK_IO_ERROR,
    EventID.GRAPHICS: DOMAIN_EVENT_CALLBACK_GRAPHICS,
    EventID.IO_ERROR_REASON: DOMAIN_EVENT_CALLBACK_IO_ERROR_REASON,
    EventID.CONTROL_ERROR: DOMAIN_EVENT_CALLBACK_CONTROL_ERROR,
    EventID.BLOCK_JOB: DOMAIN_EVENT_CALLBACK_BLOCK_JOB,
    EventID.DISK_CHANGE: DOMAIN_EVENT_CALLBACK_DISK_CHANGE,
    EventID.TRAY_CHANGE: DOMAIN_EVENT_CALLBACK_TRAY_CHANGE,
    EventID.PMWAKEUP: DOMAIN_EVENT_CALLBACK_PMWAKEUP,
    EventID.PMSUSPEND: DOMAIN_EVENT_CALLBACK_PMSUSPEND,
    EventID.BALLOON_CHANGE: DOMAIN_EVENT_CALLBACK_BALLOON_CHANGE,
    EventID.PMSUSPEND_DISK: DOMAIN_EVENT_CALLBACK_PMSUSPEND_DISK,
    EventID.DEVICE_REMOVED: DOMAIN_EVENT_CALLBACK_DEVICE_REMOVED,
    EventID.BLOCK_JOB_2: DOMAIN_EVENT_BLOCK_JOB_2,
    EventID.TUNABLE: DOMAIN_EVENT_CALLBACK_TUNABLE,
    EventID.AGENT_LIFECYCLE: DOMAIN_EVENT_CALLBACK_AGENT_LIFECYCLE,
    EventID.DEVICE_ADDED: DOMAIN_EVENT_CALLBACK_DEVICE_ADDED,
    EventID.MIGRATION_ITERATION: DOMAIN_EVENT_CALLBACK_MIGRATION_ITERATION,
    EventID.JOB_COMPLETED: DOMAIN_EVENT_CALLBACK_JOB_COMPLETED,
    EventID.DEVICE_REMOVAL_FAILED: DOMAIN_EVENT_CALLBACK_DEVICE_REMOVAL_FAILED,
    EventID.METADATA_CHANGE: DOMAIN_EVENT_CALLBACK_METADATA_CHANGE,
    EventID.BLOCK_THRESHOLD: DOMAIN_EVENT_BLOCK_THRESHOLD,
    EventID.MEMORY_FAILURE: DOMAIN_EVENT_MEMORY_FAILURE,
    EventID.MEMORY_DEVICE_SIZE_CHANGE: DOMAIN_EVENT_MEMORY_DEVICE_SIZE_CHANGE,
    EventID.NIC_MAC_CHANGE: DOMAIN_EVENT_NIC_MAC_CHANGE,
    EventID.VCPU_REMOVED: DOMAIN_EVENT_VCPU_REMOVED,
    EventID.CHANNEL_LIFECYCLE: DOMAIN_EVENT_CALLBACK_CHANNEL_LIFECYCLE,
}
"""Which message a registration for an event brings."""
