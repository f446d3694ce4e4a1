"""Flags of the calls, except those of migration.

Members have libvirt's names without the prefix given with each class (include/libvirt/libvirt-domain.h and
libvirt-host.h of libvirt 9.0). A flag culvert does not serve is listed all the same, so that a refusal can name it.
"""

from __future__ import annotations

from enum import IntEnum, IntFlag


class ConnectFlag(IntFlag):
    """``virConnectFlags``: VIR_CONNECT_*."""

    RO = 1
    NO_ALIASES = 2


class ListFlag(IntFlag):
    """``virConnectListAllDomainsFlags``: VIR_CONNECT_LIST_DOMAINS_*. Flags of one pair are alternatives."""

    ACTIVE = 1
    INACTIVE = 2
    PERSISTENT = 4
    TRANSIENT = 8
    RUNNING = 16
    PAUSED = 32
    SHUTOFF = 64
    OTHER = 128
    MANAGEDSAVE = 256
    NO_MANAGEDSAVE = 512
    AUTOSTART = 1024
    NO_AUTOSTART = 2048
    HAS_SNAPSHOT = 4096
    NO_SNAPSHOT = 8192
    HAS_CHECKPOINT = 16384
    NO_CHECKPOINT = 32768


class XMLFlag(IntFlag):
    """``virDomainXMLFlags``: VIR_DOMAIN_XML_*."""

    SECURE = 1
    INACTIVE = 2
    UPDATE_CPU = 4
    MIGRATABLE = 8


class CreateFlag(IntFlag):
    """``virDomainCreateFlags``: VIR_DOMAIN_START_*."""

    PAUSED = 1
    AUTODESTROY = 2
    BYPASS_CACHE = 4
    FORCE_BOOT = 8
    VALIDATE = 16
    RESET_NVRAM = 32


class DestroyFlag(IntFlag):
    """``virDomainDestroyFlagsValues``: VIR_DOMAIN_DESTROY_*."""

    GRACEFUL = 1


class ShutdownFlag(IntFlag):
    """``virDomainShutdownFlagValues``: VIR_DOMAIN_SHUTDOWN_*; the same bits for reboot."""

    ACPI_POWER_BTN = 1
    GUEST_AGENT = 2
    INITCTL = 4
    SIGNAL = 8
    PARAVIRT = 16


class UndefineFlag(IntFlag):
    """``virDomainUndefineFlagsValues``: VIR_DOMAIN_UNDEFINE_*."""

    MANAGED_SAVE = 1
    SNAPSHOTS_METADATA = 2
    NVRAM = 4
    KEEP_NVRAM = 8
    CHECKPOINTS_METADATA = 16
    TPM = 32
    KEEP_TPM = 64


class DefineFlag(IntFlag):
    """``virDomainDefineFlags``: VIR_DOMAIN_DEFINE_*."""

    VALIDATE = 1


class AffectFlag(IntFlag):
    """``virDomainModificationImpact``: VIR_DOMAIN_AFFECT_*."""

    CURRENT = 0
    LIVE = 1
    CONFIG = 2


class MemoryFlag(IntFlag):
    """``virDomainMemoryModFlags``: VIR_DOMAIN_MEM_*; beside the bits of ``AffectFlag``."""

    MAXIMUM = 4


class SaveFlag(IntFlag):
    """``virDomainSaveRestoreFlags``: VIR_DOMAIN_SAVE_*."""

    BYPASS_CACHE = 1
    RUNNING = 2
    PAUSED = 4
    RESET_NVRAM = 8


class AllStatsFlag(IntFlag):
    """``virConnectGetAllDomainStatsFlags``: VIR_CONNECT_GET_ALL_DOMAINS_STATS_*; beside filters of ``ListFlag``."""

    NOWAIT = 1 << 29
    BACKING = 1 << 30
    ENFORCE_STATS = 1 << 31


class VcpuFlag(IntFlag):
    """``virDomainVcpuFlags``: VIR_DOMAIN_VCPU_*; beside the bits of ``AffectFlag``."""

    MAXIMUM = 4
    GUEST = 8
    HOTPLUGGABLE = 16
    ASYNC_UNPLUG = 32  # libvirt 12.4's


class TypedParamFlag(IntFlag):
    """``virTypedParameterFlags``: VIR_TYPED_PARAM_*; beside a call's own flags."""

    STRING_OKAY = 4


class ConsoleFlag(IntFlag):
    """``virDomainConsoleFlags``: VIR_DOMAIN_CONSOLE_*."""

    FORCE = 1
    SAFE = 2


class JobStatsFlag(IntFlag):
    """``virDomainGetJobStatsFlags``: VIR_DOMAIN_JOB_STATS_*."""

    COMPLETED = 1
    KEEP_COMPLETED = 2


class AbortFlag(IntFlag):
    """``virDomainAbortJobFlagsValues``: VIR_DOMAIN_ABORT_JOB_*."""

    POSTCOPY = 1


class MaxSpeedFlag(IntFlag):
    """``virDomainMigrateMaxSpeedFlags``: VIR_DOMAIN_MIGRATE_MAX_SPEED_*."""

    POSTCOPY = 1


class StatsGroup(IntFlag):
    """``virDomainStatsTypes``: VIR_DOMAIN_STATS_*."""

    STATE = 1
    CPU_TOTAL = 2
    BALLOON = 4
    VCPU = 8
    INTERFACE = 16
    BLOCK = 32
    PERF = 64
    IOTHREAD = 128
    MEMORY = 256
    DIRTYRATE = 512
    VM = 1024


class MemoryStatTag(IntEnum):
    """``virDomainMemoryStatTags``: VIR_DOMAIN_MEMORY_STAT_*. KiB, except the counts and LAST_UPDATE (seconds)."""

    SWAP_IN = 0
    SWAP_OUT = 1
    MAJOR_FAULT = 2
    MINOR_FAULT = 3
    UNUSED = 4
    AVAILABLE = 5
    ACTUAL_BALLOON = 6
    RSS = 7
    USABLE = 8
    LAST_UPDATE = 9
    DISK_CACHES = 10
    HUGETLB_PGALLOC = 11
    HUGETLB_PGFAIL = 12


class DumpFlag(IntFlag):
    """``virDomainCoreDumpFlags``: VIR_DUMP_*."""

    CRASH = 1
    LIVE = 2
    BYPASS_CACHE = 4
    RESET = 8
    MEMORY_ONLY = 16


class DumpFormat(IntEnum):
    """``virDomainCoreDumpFormat``: VIR_DOMAIN_CORE_DUMP_FORMAT_*."""

    RAW = 0
    KDUMP_ZLIB = 1
    KDUMP_LZO = 2
    KDUMP_SNAPPY = 3
    WIN_DMP = 4


class PeekFlag(IntFlag):
    """``virDomainMemoryFlags``: VIR_MEMORY_*: whose addresses are meant."""

    VIRTUAL = 1
    PHYSICAL = 2
