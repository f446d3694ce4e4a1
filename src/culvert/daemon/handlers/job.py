"""What a domain is busy with, and what can be changed about it while it runs."""

from __future__ import annotations

from culvert.daemon.service import Service, no_flags
from culvert.drivers.qemu import migration as qemu
from culvert.drivers.qemu import migration_tuning as tuning
from culvert.drivers.qemu.domain import Domain
from culvert.ground import errors
from culvert.hypervisor.status import POSTCOPY
from culvert.migration.convergence import allowance
from culvert.migration.destination.arrival import Arrival
from culvert.migration.progress import statistics
from culvert.migration.progress.statistics import JobRecord
from culvert.migration.source.departure import Departure
from culvert.protocol import remote_job, shapes, typed_params, types
from culvert.protocol.constants_flag import AbortFlag, JobStatsFlag, MaxSpeedFlag
from culvert.protocol.constants_migrate import JOB_STATS, JobStat, JobType
from culvert.rpc.dispatch import Handlers
from culvert.rpc.session import Session
from culvert.xdr.struct import Void


class JobHandlers:
    """Handlers of the job group."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def register(self, handlers: Handlers) -> None:
        """The procedures served here."""
        handlers.add(remote_job.DOMAIN_GET_JOB_INFO, self.get_job_info)
        handlers.add(remote_job.DOMAIN_GET_JOB_STATS, self.get_job_stats)
        handlers.add(remote_job.DOMAIN_ABORT_JOB, self.abort_job)
        handlers.add(remote_job.DOMAIN_ABORT_JOB_FLAGS, self.abort_job_flags)
        handlers.add(remote_job.DOMAIN_MIGRATE_SET_MAX_DOWNTIME, self.set_max_downtime)
        handlers.add(remote_job.DOMAIN_MIGRATE_GET_MAX_DOWNTIME, self.get_max_downtime)
        handlers.add(remote_job.DOMAIN_MIGRATE_SET_MAX_SPEED, self.set_max_speed)
        handlers.add(remote_job.DOMAIN_MIGRATE_GET_MAX_SPEED, self.get_max_speed)
        handlers.add(remote_job.DOMAIN_MIGRATE_GET_COMPRESSION_CACHE, self.get_compression_cache)
        handlers.add(remote_job.DOMAIN_MIGRATE_SET_COMPRESSION_CACHE, self.set_compression_cache)
        handlers.add(remote_job.DOMAIN_MIGRATE_START_POST_COPY, self.start_post_copy)

    async def _running(self, domain: Domain) -> JobRecord | None:
        """The record of the job that ``domain`` is in."""
        match domain.job:
            case Departure() as departure:
                return await departure.refreshed()
            case Arrival():
                raise errors.OperationUnsupported("migration statistics are available only on the source host")
            case _:
                domain.require_active()
                return None

    async def get_job_info(self, session: Session, args: shapes.DomainArgs) -> remote_job.JobInfoRet:
        record = await self._running(self._service.domain(args.dom))
        if record is None:
            return remote_job.JobInfoRet(int(JobType.NONE), *([0] * 11))
        numbers = statistics.numbers(record)
        # Only memory travels, so it is the data too.
        total, processed, remaining = (numbers[f"memory_{name}"] for name in ("total", "processed", "remaining"))
        return remote_job.JobInfoRet(
            int(record.type),
            time_elapsed=record.elapsed_ms,
            time_remaining=statistics.remaining_ms(record),
            data_total=total,
            data_processed=processed,
            data_remaining=remaining,
            mem_total=total,
            mem_processed=processed,
            mem_remaining=remaining,
            file_total=0,
            file_processed=0,
            file_remaining=0,
        )

    async def get_job_stats(self, session: Session, args: shapes.DomainFlagsArgs) -> remote_job.JobStatsRet:
        no_flags(args.flags, "qemuDomainGetJobStats", JobStatsFlag.COMPLETED | JobStatsFlag.KEEP_COMPLETED)
        domain = self._service.domain(args.dom)
        if args.flags & JobStatsFlag.COMPLETED:
            keep = bool(args.flags & JobStatsFlag.KEEP_COMPLETED)
            record = self._service.completed(domain, keep=keep)
        else:
            record = await self._running(domain)
        if record is None:
            return remote_job.JobStatsRet(int(JobType.NONE), [])
        return remote_job.JobStatsRet(int(record.type), typed(record))

    async def abort_job(self, session: Session, args: shapes.DomainArgs) -> Void:
        self._abort(self._service.domain(args.dom))
        return Void()

    async def abort_job_flags(self, session: Session, args: shapes.DomainFlagsArgs) -> Void:
        no_flags(args.flags, "qemuDomainAbortJobFlags", AbortFlag.POSTCOPY)
        domain = self._service.domain(args.dom)
        if not args.flags & AbortFlag.POSTCOPY:
            self._abort(domain)
            return Void()
        if isinstance(domain.job, Departure) and domain.job.record.qemu.status in POSTCOPY:
            raise errors.OperationUnsupported(
                f"post-copy of domain '{domain.name}' is not interrupted by hand: a data path that it has lost is "
                "opened anew without that, and 'virsh migrate --postcopy-resume' makes it try at once"
            )
        raise errors.OperationInvalid("current job is not outgoing migration in post-copy mode")

    @staticmethod
    def _abort(domain: Domain) -> None:
        match domain.job:
            case Departure() as departure:
                departure.cancel()
            case Arrival():
                raise errors.OperationInvalid("cannot abort incoming migration; use virDomainDestroy instead")
            case _:
                raise errors.OperationInvalid(f"no job is active on the domain '{domain.name}'")

    async def set_max_downtime(self, session: Session, args: remote_job.DomainDowntimeArgs) -> Void:
        no_flags(args.flags, "qemuDomainMigrateSetMaxDowntime")
        domain = self._service.domain(args.dom)
        course = domain.job.record.course if isinstance(domain.job, Departure) else None
        await allowance.allow(domain, args.downtime, course)
        return Void()

    async def get_max_downtime(self, session: Session, args: shapes.DomainFlagsArgs) -> remote_job.DowntimeRet:
        no_flags(args.flags, "qemuDomainMigrateGetMaxDowntime")
        return remote_job.DowntimeRet(await allowance.most(self._service.domain(args.dom)))

    async def set_max_speed(self, session: Session, args: remote_job.DomainBandwidthArgs) -> Void:
        no_flags(args.flags, "qemuDomainMigrateSetMaxSpeed", MaxSpeedFlag.POSTCOPY)
        domain = self._service.domain(args.dom)
        if args.flags & MaxSpeedFlag.POSTCOPY:
            if isinstance(domain.job, Departure) and domain.job.postcopy_limit is not None:
                tuning.check_postcopy_speed(args.bandwidth)
                await domain.job.limit_postcopy(args.bandwidth)
                return Void()
            await tuning.set_postcopy_speed(domain.monitor, args.bandwidth)
            return Void()
        await qemu.keep_speed(domain, args.bandwidth)
        if isinstance(domain.job, Departure) and domain.job.sends:
            await domain.job.limit(args.bandwidth)
        return Void()

    async def get_max_speed(self, session: Session, args: shapes.DomainFlagsArgs) -> remote_job.BandwidthRet:
        no_flags(args.flags, "qemuDomainMigrateGetMaxSpeed", MaxSpeedFlag.POSTCOPY)
        domain = self._service.domain(args.dom)
        if args.flags & MaxSpeedFlag.POSTCOPY:
            if isinstance(domain.job, Departure) and (said := domain.job.postcopy_limit) is not None:
                return remote_job.BandwidthRet(said)
            return remote_job.BandwidthRet(await tuning.postcopy_speed(domain.monitor))
        return remote_job.BandwidthRet(qemu.max_speed(domain))

    async def get_compression_cache(self, session: Session, args: shapes.DomainFlagsArgs) -> remote_job.CacheSizeRet:
        no_flags(args.flags, "qemuDomainMigrateGetCompressionCache")
        return remote_job.CacheSizeRet(await tuning.cache(self._service.domain(args.dom).monitor))

    async def set_compression_cache(self, session: Session, args: remote_job.DomainCacheSizeArgs) -> Void:
        no_flags(args.flags, "qemuDomainMigrateSetCompressionCache")
        await tuning.set_cache(self._service.domain(args.dom).monitor, args.cache_size)
        return Void()

    async def start_post_copy(self, session: Session, args: shapes.DomainFlagsArgs) -> Void:
        no_flags(args.flags, "qemuDomainMigrateStartPostCopy")
        domain = self._service.domain(args.dom)
        domain.require_active()
        if isinstance(domain.job, Departure) and not domain.job.options.postcopy:
            raise errors.OperationInvalid(
                "switching to post-copy requires migration to be started with VIR_MIGRATE_POSTCOPY flag (--postcopy)"
            )
        await self._service.source.start_postcopy(domain)
        return Void()


def _expected_downtime(record: JobRecord) -> int | None:
    """QEMU's own word; in post-copy the standstill is over, and what QEMU goes on saying is about none."""
    return None if record.qemu.status in POSTCOPY else record.qemu.expected_downtime_ms


def typed(record: JobRecord) -> list[types.TypedParam]:
    """A record as GET_JOB_STATS carries it."""
    values: list[tuple[str, typed_params.Value | None]] = [
        (JobStat.OPERATION, int(record.operation)),
        *statistics.numbers(record).items(),
        (JobStat.AUTO_CONVERGE_THROTTLE, record.qemu.throttle or None),
        (JobStat.SUCCESS, None if record.ended is None else record.type is JobType.COMPLETED),
        (JobStat.ERRMSG, record.error or None),
        (JobStat.CULVERT_PHASE, record.step or None),
        (JobStat.CULVERT_ROUTE, record.route or None),
        (JobStat.CULVERT_CHANNELS, record.channels if record.route else None),
        (JobStat.CULVERT_INTERRUPTIONS, record.interruptions if record.route else None),
        (JobStat.CULVERT_EXPECTED_DOWNTIME, _expected_downtime(record)),
        (JobStat.CULVERT_AUTO, record.auto or None),
        *(statistics.forecast(record) if record.ended is None else statistics.downtimes(record)).items(),
    ]
    return typed_params.encode([(name, value) for name, value in values if value is not None], JOB_STATS)
