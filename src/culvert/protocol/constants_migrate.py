"""Jobs and migration: flags, names and types of parameters and of what a job reports.

Members have libvirt's names without the prefix given with each class (include/libvirt/libvirt-domain.h of libvirt
9.0).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, IntFlag

from culvert.protocol.types import TypedParamType


class MigrateFlag(IntFlag):
    """``virDomainMigrateFlags``: VIR_MIGRATE_*."""

    LIVE = 1
    PEER2PEER = 2
    TUNNELLED = 4
    PERSIST_DEST = 8
    UNDEFINE_SOURCE = 16
    PAUSED = 32
    NON_SHARED_DISK = 64
    NON_SHARED_INC = 128
    CHANGE_PROTECTION = 256
    UNSAFE = 512
    OFFLINE = 1024
    COMPRESSED = 2048
    ABORT_ON_ERROR = 4096
    AUTO_CONVERGE = 8192
    RDMA_PIN_ALL = 16384
    POSTCOPY = 32768
    TLS = 65536
    PARALLEL = 131072
    NON_SHARED_SYNCHRONOUS_WRITES = 262144
    POSTCOPY_RESUME = 524288
    ZEROCOPY = 1048576


MIGRATE_FLAG_OPTIONS: dict[MigrateFlag, str] = {
    MigrateFlag.LIVE: "live",
    MigrateFlag.PEER2PEER: "p2p",
    MigrateFlag.TUNNELLED: "tunnelled",
    MigrateFlag.PERSIST_DEST: "persistent",
    MigrateFlag.UNDEFINE_SOURCE: "undefinesource",
    MigrateFlag.PAUSED: "suspend",
    MigrateFlag.NON_SHARED_DISK: "copy-storage-all",
    MigrateFlag.NON_SHARED_INC: "copy-storage-inc",
    MigrateFlag.CHANGE_PROTECTION: "change-protection",
    MigrateFlag.UNSAFE: "unsafe",
    MigrateFlag.OFFLINE: "offline",
    MigrateFlag.COMPRESSED: "compressed",
    MigrateFlag.ABORT_ON_ERROR: "abort-on-error",
    MigrateFlag.AUTO_CONVERGE: "auto-converge",
    MigrateFlag.RDMA_PIN_ALL: "rdma-pin-all",
    MigrateFlag.POSTCOPY: "postcopy",
    MigrateFlag.TLS: "tls",
    MigrateFlag.PARALLEL: "parallel",
    MigrateFlag.NON_SHARED_SYNCHRONOUS_WRITES: "copy-storage-synchronous-writes",
    MigrateFlag.POSTCOPY_RESUME: "postcopy-resume",
    MigrateFlag.ZEROCOPY: "zerocopy",
}
"""What virsh calls each flag: a refusal names the option that the person typed."""


class JobType(IntEnum):
    """``virDomainJobType``: VIR_DOMAIN_JOB_*."""

    NONE = 0
    BOUNDED = 1
    UNBOUNDED = 2  # what a migration under way reports
    COMPLETED = 3
    FAILED = 4
    CANCELLED = 5


class JobOperation(IntEnum):
    """``virDomainJobOperation``: VIR_DOMAIN_JOB_OPERATION_*."""

    UNKNOWN = 0
    START = 1
    SAVE = 2
    RESTORE = 3
    MIGRATION_IN = 4
    MIGRATION_OUT = 5
    SNAPSHOT = 6
    SNAPSHOT_REVERT = 7
    DUMP = 8
    BACKUP = 9
    SNAPSHOT_DELETE = 10


class MigrateParam:
    """Names of migration parameters: VIR_MIGRATE_PARAM_*."""

    URI = "migrate_uri"
    DEST_NAME = "destination_name"
    DEST_XML = "destination_xml"
    PERSIST_XML = "persistent_xml"
    BANDWIDTH = "bandwidth"
    BANDWIDTH_POSTCOPY = "bandwidth.postcopy"
    BANDWIDTH_AVAIL_SWITCHOVER = "bandwidth.avail.switchover"  # libvirt 11.1's
    GRAPHICS_URI = "graphics_uri"
    LISTEN_ADDRESS = "listen_address"
    MIGRATE_DISKS = "migrate_disks"
    DISKS_PORT = "disks_port"
    DISKS_URI = "disks_uri"
    COMPRESSION = "compression"
    COMPRESSION_MT_LEVEL = "compression.mt.level"
    COMPRESSION_MT_THREADS = "compression.mt.threads"
    COMPRESSION_MT_DTHREADS = "compression.mt.dthreads"
    COMPRESSION_XBZRLE_CACHE = "compression.xbzrle.cache"
    AUTO_CONVERGE_INITIAL = "auto_converge.initial"
    AUTO_CONVERGE_INCREMENT = "auto_converge.increment"
    PARALLEL_CONNECTIONS = "parallel.connections"
    TLS_DESTINATION = "tls.destination"
    COMPRESSION_ZLIB_LEVEL = "compression.zlib.level"  # this one and the next: libvirt 9.4's
    COMPRESSION_ZSTD_LEVEL = "compression.zstd.level"
    MIGRATE_DISKS_DETECT_ZEROES = "migrate_disks_detect_zeroes"  # libvirt 10.9's
    MIGRATE_DISKS_TARGET_ZERO = "migrate_disks_target_zero"  # libvirt 12.2's
    CULVERT_PREEMPT = "culvert.preempt"  # between two culverts: QEMU's post-copy has a channel for urgent pages
    CULVERT_OPTIONAL = "culvert.postcopy.optional"  # between two culverts: without post-copy where it cannot be had
    CULVERT_INSTEAD = "culvert.parallel.instead"  # and with so many connections then


@dataclass(frozen=True, slots=True)
class ParamSpec:
    """What a parameter may be: its type, and whether it may come more than once."""

    type: TypedParamType
    repeated: bool = False


# src/qemu/qemu_migration.h, QEMU_MIGRATION_PARAMETERS, in its order; bandwidths in MiB/s, the cache in bytes. Then
# those of later ones, and culvert's own, which only a culvert is sent.
MIGRATE_PARAMS: dict[str, ParamSpec] = {
    MigrateParam.URI: ParamSpec(TypedParamType.STRING),
    MigrateParam.DEST_NAME: ParamSpec(TypedParamType.STRING),
    MigrateParam.DEST_XML: ParamSpec(TypedParamType.STRING),
    MigrateParam.PERSIST_XML: ParamSpec(TypedParamType.STRING),
    MigrateParam.BANDWIDTH: ParamSpec(TypedParamType.ULLONG),
    MigrateParam.GRAPHICS_URI: ParamSpec(TypedParamType.STRING),
    MigrateParam.LISTEN_ADDRESS: ParamSpec(TypedParamType.STRING),
    MigrateParam.MIGRATE_DISKS: ParamSpec(TypedParamType.STRING, repeated=True),
    MigrateParam.DISKS_PORT: ParamSpec(TypedParamType.INT),
    MigrateParam.COMPRESSION: ParamSpec(TypedParamType.STRING, repeated=True),
    MigrateParam.COMPRESSION_MT_LEVEL: ParamSpec(TypedParamType.INT),
    MigrateParam.COMPRESSION_MT_THREADS: ParamSpec(TypedParamType.INT),
    MigrateParam.COMPRESSION_MT_DTHREADS: ParamSpec(TypedParamType.INT),
    MigrateParam.COMPRESSION_XBZRLE_CACHE: ParamSpec(TypedParamType.ULLONG),
    MigrateParam.AUTO_CONVERGE_INITIAL: ParamSpec(TypedParamType.INT),
    MigrateParam.AUTO_CONVERGE_INCREMENT: ParamSpec(TypedParamType.INT),
    MigrateParam.BANDWIDTH_POSTCOPY: ParamSpec(TypedParamType.ULLONG),
    MigrateParam.PARALLEL_CONNECTIONS: ParamSpec(TypedParamType.INT),
    MigrateParam.TLS_DESTINATION: ParamSpec(TypedParamType.STRING),
    MigrateParam.DISKS_URI: ParamSpec(TypedParamType.STRING),
    MigrateParam.COMPRESSION_ZLIB_LEVEL: ParamSpec(TypedParamType.INT),
    MigrateParam.COMPRESSION_ZSTD_LEVEL: ParamSpec(TypedParamType.INT),
    MigrateParam.MIGRATE_DISKS_DETECT_ZEROES: ParamSpec(TypedParamType.STRING, repeated=True),
    MigrateParam.BANDWIDTH_AVAIL_SWITCHOVER: ParamSpec(TypedParamType.ULLONG),
    MigrateParam.MIGRATE_DISKS_TARGET_ZERO: ParamSpec(TypedParamType.STRING, repeated=True),
    MigrateParam.CULVERT_PREEMPT: ParamSpec(TypedParamType.BOOLEAN),
    MigrateParam.CULVERT_OPTIONAL: ParamSpec(TypedParamType.BOOLEAN),
    MigrateParam.CULVERT_INSTEAD: ParamSpec(TypedParamType.INT),
}


class JobStat:
    """Names of what GET_JOB_STATS reports: VIR_DOMAIN_JOB_*; and culvert's own."""

    OPERATION = "operation"
    TIME_ELAPSED = "time_elapsed"
    TIME_ELAPSED_NET = "time_elapsed_net"
    TIME_REMAINING = "time_remaining"
    DOWNTIME = "downtime"
    DOWNTIME_NET = "downtime_net"
    SETUP_TIME = "setup_time"
    DATA_TOTAL = "data_total"
    DATA_PROCESSED = "data_processed"
    DATA_REMAINING = "data_remaining"
    MEMORY_TOTAL = "memory_total"
    MEMORY_PROCESSED = "memory_processed"
    MEMORY_REMAINING = "memory_remaining"
    MEMORY_BPS = "memory_bps"
    MEMORY_CONSTANT = "memory_constant"
    MEMORY_NORMAL = "memory_normal"
    MEMORY_NORMAL_BYTES = "memory_normal_bytes"
    MEMORY_DIRTY_RATE = "memory_dirty_rate"
    MEMORY_ITERATION = "memory_iteration"
    MEMORY_POSTCOPY_REQS = "memory_postcopy_requests"
    MEMORY_PAGE_SIZE = "memory_page_size"
    DISK_TOTAL = "disk_total"
    DISK_PROCESSED = "disk_processed"
    DISK_REMAINING = "disk_remaining"
    DISK_BPS = "disk_bps"
    COMPRESSION_CACHE = "compression_cache"
    COMPRESSION_BYTES = "compression_bytes"
    COMPRESSION_PAGES = "compression_pages"
    COMPRESSION_CACHE_MISSES = "compression_cache_misses"
    COMPRESSION_OVERFLOW = "compression_overflow"
    AUTO_CONVERGE_THROTTLE = "auto_converge_throttle"
    SUCCESS = "success"
    ERRMSG = "errmsg"
    DISK_TEMP_USED = "disk_temp_used"
    DISK_TEMP_TOTAL = "disk_temp_total"
    CULVERT_PHASE = "culvert.phase"  # begin, prepare, perform, finish, confirm
    CULVERT_ROUTE = "culvert.route"  # stream, direct, pump
    CULVERT_CHANNELS = "culvert.channels"
    CULVERT_INTERRUPTIONS = "culvert.interruptions"  # connections that were lost and opened anew
    CULVERT_EXPECTED_DOWNTIME = "culvert.expected_downtime"
    CULVERT_PERCENT = "culvert.percent"  # never less than it was
    CULVERT_REMAINING_LOW = "culvert.time_remaining.low"  # this and the next three in milliseconds
    CULVERT_REMAINING_HIGH = "culvert.time_remaining.high"
    CULVERT_PREDICTED_TOTAL = "culvert.predicted.total"
    CULVERT_PREDICTED_DOWNTIME = "culvert.predicted.downtime"
    CULVERT_DIRTY_RATE = "culvert.dirty_rate"  # bytes per second, only when it has been measured
    CULVERT_WHY_NOT = "culvert.will_not_converge"  # the reason in words
    CULVERT_AUTO = "culvert.auto"  # what was decided last without having been asked for, and why
    CULVERT_DOWNTIME_STOP = "culvert.downtime.stop"  # the parts of the downtime, in milliseconds
    CULVERT_DOWNTIME_LAST_ROUND = "culvert.downtime.last_round"
    CULVERT_DOWNTIME_DEVICE_STATE = "culvert.downtime.device_state"
    CULVERT_DOWNTIME_FINISH = "culvert.downtime.finish"
    CULVERT_DOWNTIME_START = "culvert.downtime.start"
    CULVERT_DOWNTIME_ANNOUNCE = "culvert.downtime.announce"


_CULVERT_FORECAST = [
    *(JobStat.CULVERT_REMAINING_LOW, JobStat.CULVERT_REMAINING_HIGH, JobStat.CULVERT_PREDICTED_TOTAL),
    *(JobStat.CULVERT_PREDICTED_DOWNTIME, JobStat.CULVERT_DIRTY_RATE),
]

CULVERT_DOWNTIMES = {
    "stop": JobStat.CULVERT_DOWNTIME_STOP,
    "last_round": JobStat.CULVERT_DOWNTIME_LAST_ROUND,
    "device_state": JobStat.CULVERT_DOWNTIME_DEVICE_STATE,
    "finish": JobStat.CULVERT_DOWNTIME_FINISH,
    "start": JobStat.CULVERT_DOWNTIME_START,
    "announce": JobStat.CULVERT_DOWNTIME_ANNOUNCE,
}
"""By the names of ``migration.progress.downtime``."""

_ULLONG_STATS = [
    *(JobStat.TIME_ELAPSED, JobStat.TIME_ELAPSED_NET, JobStat.TIME_REMAINING, JobStat.DOWNTIME, JobStat.DOWNTIME_NET),
    *(JobStat.SETUP_TIME, JobStat.DATA_TOTAL, JobStat.DATA_PROCESSED, JobStat.DATA_REMAINING, JobStat.MEMORY_TOTAL),
    *(JobStat.MEMORY_PROCESSED, JobStat.MEMORY_REMAINING, JobStat.MEMORY_BPS, JobStat.MEMORY_CONSTANT),
    *(JobStat.MEMORY_NORMAL, JobStat.MEMORY_NORMAL_BYTES, JobStat.MEMORY_DIRTY_RATE, JobStat.MEMORY_ITERATION),
    *(JobStat.MEMORY_POSTCOPY_REQS, JobStat.MEMORY_PAGE_SIZE, JobStat.DISK_TOTAL, JobStat.DISK_PROCESSED),
    *(JobStat.DISK_REMAINING, JobStat.DISK_BPS, JobStat.COMPRESSION_CACHE, JobStat.COMPRESSION_BYTES),
    *(JobStat.COMPRESSION_PAGES, JobStat.COMPRESSION_CACHE_MISSES, JobStat.COMPRESSION_OVERFLOW),
]

# src/qemu/qemu_domainjob.c, qemuDomainMigrationJobDataToParams: in the order libvirt emits them.
# Times in ms, rates per second, sizes in bytes, memory_dirty_rate in pages per second.
JOB_STATS: dict[str, ParamSpec] = {
    JobStat.OPERATION: ParamSpec(TypedParamType.INT),
    **{name: ParamSpec(TypedParamType.ULLONG) for name in _ULLONG_STATS},
    JobStat.AUTO_CONVERGE_THROTTLE: ParamSpec(TypedParamType.INT),
    JobStat.SUCCESS: ParamSpec(TypedParamType.BOOLEAN),
    JobStat.ERRMSG: ParamSpec(TypedParamType.STRING),
    JobStat.DISK_TEMP_USED: ParamSpec(TypedParamType.ULLONG),
    JobStat.DISK_TEMP_TOTAL: ParamSpec(TypedParamType.ULLONG),
    JobStat.CULVERT_PHASE: ParamSpec(TypedParamType.STRING),
    JobStat.CULVERT_ROUTE: ParamSpec(TypedParamType.STRING),
    JobStat.CULVERT_CHANNELS: ParamSpec(TypedParamType.UINT),
    JobStat.CULVERT_INTERRUPTIONS: ParamSpec(TypedParamType.UINT),
    JobStat.CULVERT_EXPECTED_DOWNTIME: ParamSpec(TypedParamType.ULLONG),
    JobStat.CULVERT_PERCENT: ParamSpec(TypedParamType.DOUBLE),
    **{name: ParamSpec(TypedParamType.ULLONG) for name in _CULVERT_FORECAST},
    JobStat.CULVERT_WHY_NOT: ParamSpec(TypedParamType.STRING),
    JobStat.CULVERT_AUTO: ParamSpec(TypedParamType.STRING),
    **{name: ParamSpec(TypedParamType.ULLONG) for name in CULVERT_DOWNTIMES.values()},
}
