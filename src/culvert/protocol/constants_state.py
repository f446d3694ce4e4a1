"""States of a domain, the reasons for them, and the events that tell of their changes.

Members have libvirt's names without the prefix given with each class, in libvirt's order
(include/libvirt/libvirt-domain.h, libvirt-common.h, libvirt-host.h of libvirt 12.9).
"""

from __future__ import annotations

from enum import IntEnum


class DomainState(IntEnum):
    """``virDomainState``: VIR_DOMAIN_*."""

    NOSTATE = 0
    RUNNING = 1
    BLOCKED = 2
    PAUSED = 3
    SHUTDOWN = 4  # being shut down
    SHUTOFF = 5
    CRASHED = 6
    PMSUSPENDED = 7


class NostateReason(IntEnum):
    """``virDomainNostateReason``: VIR_DOMAIN_NOSTATE_*."""

    UNKNOWN = 0


class RunningReason(IntEnum):
    """``virDomainRunningReason``: VIR_DOMAIN_RUNNING_*."""

    UNKNOWN = 0
    BOOTED = 1
    MIGRATED = 2
    RESTORED = 3
    FROM_SNAPSHOT = 4
    UNPAUSED = 5
    MIGRATION_CANCELED = 6
    SAVE_CANCELED = 7
    WAKEUP = 8
    CRASHED = 9
    POSTCOPY = 10
    POSTCOPY_FAILED = 11


class BlockedReason(IntEnum):
    """``virDomainBlockedReason``: VIR_DOMAIN_BLOCKED_*."""

    UNKNOWN = 0


class PausedReason(IntEnum):
    """``virDomainPausedReason``: VIR_DOMAIN_PAUSED_*."""

    UNKNOWN = 0
    USER = 1
    MIGRATION = 2
    SAVE = 3
    DUMP = 4
    IOERROR = 5
    WATCHDOG = 6
    FROM_SNAPSHOT = 7
    SHUTTING_DOWN = 8
    SNAPSHOT = 9
    CRASHED = 10
    STARTING_UP = 11
    POSTCOPY = 12
    POSTCOPY_FAILED = 13
    API_ERROR = 14  # libvirt 9.2's


class ShutdownReason(IntEnum):
    """``virDomainShutdownReason``: VIR_DOMAIN_SHUTDOWN_*."""

    UNKNOWN = 0
    USER = 1


class ShutoffReason(IntEnum):
    """``virDomainShutoffReason``: VIR_DOMAIN_SHUTOFF_*."""

    UNKNOWN = 0
    SHUTDOWN = 1
    DESTROYED = 2
    CRASHED = 3
    MIGRATED = 4
    SAVED = 5
    FAILED = 6
    FROM_SNAPSHOT = 7
    DAEMON = 8


class CrashedReason(IntEnum):
    """``virDomainCrashedReason``: VIR_DOMAIN_CRASHED_*."""

    UNKNOWN = 0
    PANICKED = 1


class PMSuspendedReason(IntEnum):
    """``virDomainPMSuspendedReason``: VIR_DOMAIN_PMSUSPENDED_*."""

    UNKNOWN = 0


REASONS: dict[DomainState, type[IntEnum]] = {
    DomainState.NOSTATE: NostateReason,
    DomainState.RUNNING: RunningReason,
    DomainState.BLOCKED: BlockedReason,
    DomainState.PAUSED: PausedReason,
    DomainState.SHUTDOWN: ShutdownReason,
    DomainState.SHUTOFF: ShutoffReason,
    DomainState.CRASHED: CrashedReason,
    DomainState.PMSUSPENDED: PMSuspendedReason,
}
"""Which reasons a state may have."""


class DomainEvent(IntEnum):
    """``virDomainEventType``: VIR_DOMAIN_EVENT_*."""

    DEFINED = 0
    UNDEFINED = 1
    STARTED = 2
    SUSPENDED = 3
    RESUMED = 4
    STOPPED = 5
    SHUTDOWN = 6
    PMSUSPENDED = 7
    CRASHED = 8


class DefinedDetail(IntEnum):
    """``virDomainEventDefinedDetailType``: VIR_DOMAIN_EVENT_DEFINED_*."""

    ADDED = 0
    UPDATED = 1
    RENAMED = 2
    FROM_SNAPSHOT = 3


class UndefinedDetail(IntEnum):
    """``virDomainEventUndefinedDetailType``: VIR_DOMAIN_EVENT_UNDEFINED_*."""

    REMOVED = 0
    RENAMED = 1
    MIGRATED = 2  # libvirt 12.9's: by VIR_MIGRATE_UNDEFINE_SOURCE


class StartedDetail(IntEnum):
    """``virDomainEventStartedDetailType``: VIR_DOMAIN_EVENT_STARTED_*."""

    BOOTED = 0
    MIGRATED = 1
    RESTORED = 2
    FROM_SNAPSHOT = 3
    WAKEUP = 4
    RECREATED = 5  # libvirt 11.6's


class SuspendedDetail(IntEnum):
    """``virDomainEventSuspendedDetailType``: VIR_DOMAIN_EVENT_SUSPENDED_*."""

    PAUSED = 0
    MIGRATED = 1
    IOERROR = 2
    WATCHDOG = 3
    RESTORED = 4
    FROM_SNAPSHOT = 5
    API_ERROR = 6
    POSTCOPY = 7
    POSTCOPY_FAILED = 8
    GUEST_SHUTDOWN = 9  # libvirt 11.10's


class ResumedDetail(IntEnum):
    """``virDomainEventResumedDetailType``: VIR_DOMAIN_EVENT_RESUMED_*."""

    UNPAUSED = 0
    MIGRATED = 1  # also at the source, when the guest resumes after a failed migration
    FROM_SNAPSHOT = 2
    POSTCOPY = 3
    POSTCOPY_FAILED = 4


class StoppedDetail(IntEnum):
    """``virDomainEventStoppedDetailType``: VIR_DOMAIN_EVENT_STOPPED_*."""

    SHUTDOWN = 0
    DESTROYED = 1
    CRASHED = 2
    MIGRATED = 3
    SAVED = 4
    FAILED = 5
    FROM_SNAPSHOT = 6
    RECREATED = 7  # libvirt 11.6's


class ShutdownDetail(IntEnum):
    """``virDomainEventShutdownDetailType``: VIR_DOMAIN_EVENT_SHUTDOWN_*."""

    FINISHED = 0
    GUEST = 1
    HOST = 2


class PMSuspendedDetail(IntEnum):
    """``virDomainEventPMSuspendedDetailType``: VIR_DOMAIN_EVENT_PMSUSPENDED_*."""

    MEMORY = 0
    DISK = 1


class CrashedDetail(IntEnum):
    """``virDomainEventCrashedDetailType``: VIR_DOMAIN_EVENT_CRASHED_*."""

    PANICKED = 0
    CRASHLOADED = 1


DETAILS: dict[DomainEvent, type[IntEnum]] = {
    DomainEvent.DEFINED: DefinedDetail,
    DomainEvent.UNDEFINED: UndefinedDetail,
    DomainEvent.STARTED: StartedDetail,
    DomainEvent.SUSPENDED: SuspendedDetail,
    DomainEvent.RESUMED: ResumedDetail,
    DomainEvent.STOPPED: StoppedDetail,
    DomainEvent.SHUTDOWN: ShutdownDetail,
    DomainEvent.PMSUSPENDED: PMSuspendedDetail,
    DomainEvent.CRASHED: CrashedDetail,
}
"""Which details a lifecycle event may have."""


class EventID(IntEnum):
    """``virDomainEventID``: VIR_DOMAIN_EVENT_ID_*."""

    LIFECYCLE = 0
    REBOOT = 1
    RTC_CHANGE = 2
    WATCHDOG = 3
    IO_ERROR = 4
    GRAPHICS = 5
    IO_ERROR_REASON = 6
    CONTROL_ERROR = 7
    BLOCK_JOB = 8
    DISK_CHANGE = 9
    TRAY_CHANGE = 10
    PMWAKEUP = 11
    PMSUSPEND = 12
    BALLOON_CHANGE = 13
    PMSUSPEND_DISK = 14
    DEVICE_REMOVED = 15
    BLOCK_JOB_2 = 16
    TUNABLE = 17
    AGENT_LIFECYCLE = 18
    DEVICE_ADDED = 19
    MIGRATION_ITERATION = 20
    JOB_COMPLETED = 21
    DEVICE_REMOVAL_FAILED = 22
    METADATA_CHANGE = 23
    BLOCK_THRESHOLD = 24
    MEMORY_FAILURE = 25
    MEMORY_DEVICE_SIZE_CHANGE = 26
    NIC_MAC_CHANGE = 27  # libvirt 11.2's
    VCPU_REMOVED = 28  # this one and the next: libvirt 12.4's
    CHANNEL_LIFECYCLE = 29


class Feature(IntEnum):
    """``virDrvFeature``: VIR_DRV_FEATURE_* (src/libvirt_internal.h); asked with CONNECT_SUPPORTS_FEATURE.

    Any other number is answered 0, without an error.
    """

    MIGRATION_V1 = 1
    REMOTE = 2  # answered 0 by every server: it is the client driver's own
    MIGRATION_V2 = 3
    MIGRATION_P2P = 4
    MIGRATION_DIRECT = 5
    MIGRATION_V3 = 6
    MIGRATE_CHANGE_PROTECTION = 7
    FD_PASSING = 8
    TYPED_PARAM_STRING = 9
    PROGRAM_KEEPALIVE = 10
    XML_MIGRATABLE = 11
    MIGRATION_OFFLINE = 12
    MIGRATION_PARAMS = 13
    REMOTE_EVENT_CALLBACK = 14
    REMOTE_CLOSE_CALLBACK = 15
    NETWORK_UPDATE_HAS_CORRECT_ORDER = 16


class CloseReason(IntEnum):
    """``virConnectCloseReason``: VIR_CONNECT_CLOSE_REASON_*."""

    ERROR = 0
    EOF = 1
    KEEPALIVE = 2
    CLIENT = 3


class CPUCompare(IntEnum):
    """``virCPUCompareResult``: VIR_CPU_COMPARE_*; how the host's processor stands to the one asked about."""

    INCOMPATIBLE = 0
    IDENTICAL = 1
    SUPERSET = 2


class DiskErrorCode(IntEnum):
    """``virDomainDiskErrorCode``: VIR_DOMAIN_DISK_ERROR_*."""

    NONE = 0
    UNSPEC = 1
    NO_SPACE = 2


class VcpuState(IntEnum):
    """``virVcpuState``: VIR_VCPU_*."""

    OFFLINE = 0
    RUNNING = 1
    BLOCKED = 2


class MetadataType(IntEnum):
    """``virDomainMetadataType``: VIR_DOMAIN_METADATA_*."""

    DESCRIPTION = 0
    TITLE = 1
    ELEMENT = 2
