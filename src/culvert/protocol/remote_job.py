"""REMOTE procedures of jobs, and what can be tuned while a migration runs.

Source of every row: src/remote/remote_protocol.x of libvirt 9.0, ``REMOTE_PROC_`` and the row's name.
"""

from __future__ import annotations

from culvert.protocol import types
from culvert.protocol.procedure import Procedure
from culvert.protocol.shapes import DomainArgs, DomainFlagsArgs
from culvert.protocol.types import Domain, Int, UHyper, UInt, struct
from culvert.xdr.struct import Void


@struct
class JobInfoRet:
    """``type`` a ``constants_migrate.JobType``; times in milliseconds, everything else in bytes."""

    type: Int
    time_elapsed: UHyper
    time_remaining: UHyper
    data_total: UHyper
    data_processed: UHyper
    data_remaining: UHyper
    mem_total: UHyper
    mem_processed: UHyper
    mem_remaining: UHyper
    file_total: UHyper
    file_processed: UHyper
    file_remaining: UHyper


@struct
class JobStatsRet:
    """``type`` a ``constants_migrate.JobType``; names and units of ``params``: ``constants_migrate.JOB_STATS``."""

    type: Int
    params: types.JobStatsParams


@struct
class DomainDowntimeArgs:
    """``downtime`` in milliseconds."""

    dom: Domain
    downtime: UHyper
    flags: UInt


@struct
class DowntimeRet:
    """Milliseconds."""

    downtime: UHyper


@struct
class DomainBandwidthArgs:
    """``bandwidth`` in MiB/s."""

    dom: Domain
    bandwidth: UHyper
    flags: UInt


@struct
class BandwidthRet:
    """MiB/s."""

    bandwidth: UHyper


@struct
class DomainCacheSizeArgs:
    """``cache_size`` in bytes."""

    dom: Domain
    cache_size: UHyper
    flags: UInt


@struct
class CacheSizeRet:
    """Bytes."""

    cache_size: UHyper


DOMAIN_GET_JOB_INFO = Procedure(163, "DOMAIN_GET_JOB_INFO", DomainArgs, JobInfoRet, acl="domain:read", read_only=True)
DOMAIN_GET_JOB_STATS = Procedure(
    298, "DOMAIN_GET_JOB_STATS", DomainFlagsArgs, JobStatsRet, acl="domain:read", read_only=True
)
DOMAIN_ABORT_JOB = Procedure(164, "DOMAIN_ABORT_JOB", DomainArgs, Void, acl="domain:write")
DOMAIN_ABORT_JOB_FLAGS = Procedure(442, "DOMAIN_ABORT_JOB_FLAGS", DomainFlagsArgs, Void, acl="domain:write")
DOMAIN_MIGRATE_SET_MAX_DOWNTIME = Procedure(
    166, "DOMAIN_MIGRATE_SET_MAX_DOWNTIME", DomainDowntimeArgs, Void, acl="domain:migrate"
)
DOMAIN_MIGRATE_GET_MAX_DOWNTIME = Procedure(
    387, "DOMAIN_MIGRATE_GET_MAX_DOWNTIME", DomainFlagsArgs, DowntimeRet, acl="domain:migrate", read_only=True
)
DOMAIN_MIGRATE_SET_MAX_SPEED = Procedure(
    207, "DOMAIN_MIGRATE_SET_MAX_SPEED", DomainBandwidthArgs, Void, acl="domain:migrate"
)
DOMAIN_MIGRATE_GET_MAX_SPEED = Procedure(
    242, "DOMAIN_MIGRATE_GET_MAX_SPEED", DomainFlagsArgs, BandwidthRet, acl="domain:migrate"
)
DOMAIN_MIGRATE_GET_COMPRESSION_CACHE = Procedure(
    299, "DOMAIN_MIGRATE_GET_COMPRESSION_CACHE", DomainFlagsArgs, CacheSizeRet, acl="domain:migrate", read_only=True
)
DOMAIN_MIGRATE_SET_COMPRESSION_CACHE = Procedure(
    300, "DOMAIN_MIGRATE_SET_COMPRESSION_CACHE", DomainCacheSizeArgs, Void, acl="domain:migrate"
)
DOMAIN_MIGRATE_START_POST_COPY = Procedure(
    364, "DOMAIN_MIGRATE_START_POST_COPY", DomainFlagsArgs, Void, acl="domain:migrate"
)
