"""What a migration job tells of itself: libvirt's job statistics, in libvirt's names, order and units."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from uuid import UUID

from culvert.hypervisor.statistics import Statistics
from culvert.migration.progress.downtime import Parts
from culvert.migration.progress.progress import Course
from culvert.protocol.constants_migrate import CULVERT_DOWNTIMES, JobOperation, JobStat, JobType


@dataclass(slots=True)
class JobRecord:
    """One job, running or over. Times are seconds of ``clock``, which is monotonic; ``downtime`` is the guest's
    standstill, ``step`` one of begin, prepare, perform, finish, confirm."""

    operation: JobOperation
    type: JobType
    clock: Callable[[], float]
    started: float = field(init=False)
    ended: float | None = None
    downtime: float | None = None
    step: str = ""
    tunnel_bytes: int = 0
    route: str = ""
    channels: int = 1
    interruptions: int = 0
    error: str = ""
    qemu: Statistics = field(default_factory=Statistics)
    course: Course = field(default_factory=Course)
    """At the source: what is known of how it will go on."""
    parts: Parts | None = None
    """Of the standstill, when it is over and the guest has arrived."""
    auto: str = ""
    """What ``--auto`` has decided last, and why."""
    reported: dict[str, int] = field(default_factory=dict)
    """At the destination: what the source's cookie said of the same migration."""

    def __post_init__(self) -> None:
        self.started = self.clock()

    def update(self, latest: Statistics) -> None:
        """Take QEMU's latest figures."""
        self.qemu = latest
        self.error = latest.error
        if self.ended is None:
            self.course.feed(self.clock() - self.started, latest)

    def finish(self, outcome: JobType, *, downtime: float | None = None, error: str = "") -> None:
        """The job is over. The first end counts."""
        if self.ended is None:
            self.type = outcome
            self.ended = self.clock()
            self.downtime = downtime
            self.error = error

    @property
    def elapsed_ms(self) -> int:
        """Milliseconds from the begin to the end, or until now."""
        return int(1000 * ((self.ended or self.clock()) - self.started))


class JobRecords:
    """The last record of each domain's migrations; the oldest are forgotten first."""

    def __init__(self, limit: int = 1000) -> None:
        self._limit = limit
        self._records: OrderedDict[UUID, JobRecord] = OrderedDict()

    def put(self, domain: UUID, record: JobRecord) -> None:
        """Keep ``record`` in the place of an earlier one."""
        self._records.pop(domain, None)
        self._records[domain] = record
        while len(self._records) > self._limit:
            self._records.popitem(last=False)

    def get(self, domain: UUID) -> JobRecord | None:
        """The record, if one is kept."""
        return self._records.get(domain)

    def drop(self, domain: UUID) -> None:
        """Forget the record, if one is kept."""
        self._records.pop(domain, None)


def numbers(record: JobRecord) -> dict[str, int]:
    """The ullong members of GET_JOB_STATS, in libvirt's order (qemu_domainjob.c, qemuDomainMigrationJobDataToParams).

    Milliseconds, bytes, bytes per second, pages per second, pages.
    """
    qemu = record.qemu
    total, remaining = qemu.ram_total, qemu.ram_remaining
    beside = qemu.left - remaining  # what devices have of their own
    downtime = qemu.downtime_ms if record.downtime is None else int(1000 * record.downtime)
    values: dict[str, int | None] = {
        "time_elapsed": record.elapsed_ms,
        "time_remaining": remaining_ms(record) or None if record.ended is None else None,
        "downtime": downtime,
        "setup_time": qemu.setup_ms or None,
        "data_total": total + beside,
        "data_processed": qemu.ram_transferred,
        "data_remaining": remaining + beside,
        "memory_total": total,
        "memory_processed": qemu.ram_transferred,
        "memory_remaining": remaining,
        "memory_bps": qemu.ram_bps or None,
        "memory_constant": qemu.constant_pages,
        "memory_normal": qemu.normal_pages,
        "memory_normal_bytes": qemu.normal_bytes,
        "memory_dirty_rate": qemu.dirty_pages_rate,
        "memory_iteration": qemu.dirty_sync_count,
        "memory_postcopy_requests": qemu.postcopy_requests or None,
        "memory_page_size": qemu.page_size,
        "disk_total": 0,
        "disk_processed": 0,
        "disk_remaining": 0,
    }
    if qemu.xbzrle_cache:
        values |= {
            "compression_cache": qemu.xbzrle_cache,
            "compression_bytes": qemu.xbzrle_bytes,
            "compression_pages": qemu.xbzrle_pages,
            "compression_cache_misses": qemu.xbzrle_misses,
            "compression_overflow": qemu.xbzrle_overflows,
        }
    values.update((name, record.reported[name]) for name in values if name in record.reported)
    return {name: value for name, value in values.items() if value is not None}


def remaining_ms(record: JobRecord) -> int:
    """The likeliest time left; 0 where nothing can be said."""
    return _ms(record.course.forecast.left) or 0


def forecast(record: JobRecord) -> dict[str, int | float | str]:
    """What culvert says of a running migration beside libvirt's figures, by the names of ``JobStat``; what is not
    known is left out."""
    said = record.course.forecast
    values: dict[str, int | float | str | None] = {
        JobStat.CULVERT_PERCENT: said.percent,
        JobStat.CULVERT_REMAINING_LOW: _ms(said.left_low),
        JobStat.CULVERT_REMAINING_HIGH: _ms(said.left_high),
        JobStat.CULVERT_PREDICTED_TOTAL: _ms(said.total),
        JobStat.CULVERT_PREDICTED_DOWNTIME: _ms(said.downtime),
        JobStat.CULVERT_DIRTY_RATE: None if said.dirty_rate is None else int(said.dirty_rate),
        JobStat.CULVERT_WHY_NOT: said.why_not or None,
    }
    return {name: value for name, value in values.items() if value is not None}


def downtimes(record: JobRecord) -> dict[str, int]:
    """The standstill in its parts, by the names of ``JobStat``; nothing where they are not known."""
    found = record.parts.milliseconds() if record.parts is not None else {}
    return {CULVERT_DOWNTIMES[name]: value for name, value in found.items()}


def _ms(seconds: float | None) -> int | None:
    return None if seconds is None else int(1000 * seconds)
