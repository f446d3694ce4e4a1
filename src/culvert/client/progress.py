"""How far a migration is: one look at a job, read from what the daemon says of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

from culvert.protocol import remote_job, typed_params
from culvert.protocol.constants_migrate import CULVERT_DOWNTIMES, JobStat, JobType
from culvert.protocol.typed_params import Value

_RUNNING = (JobType.BOUNDED, JobType.UNBOUNDED)


@dataclass(frozen=True, slots=True)
class Progress:
    """One look at a job. None where the daemon does not say.

    Sizes in bytes, rates in bytes per second, times in seconds, downtimes in milliseconds; ``phase``: begin,
    prepare, perform, finish or confirm; ``route``: stream, direct or pump, over so many ``channels``;
    ``interruptions``: connections that were lost and opened anew. ``throttle``: percent of its CPU time that the
    guest is denied; ``why_not``: why it will not converge by itself; ``auto``: what was decided about that last,
    and why. ``downtime_parts_ms``: where the standstill went.
    """

    phase: str | None = None
    percent: float | None = None
    rate: int | None = None
    dirty_rate: int | None = None
    total: int | None = None
    transferred: int | None = None
    remaining: int | None = None
    remaining_seconds: float | None = None
    expected_downtime_ms: int | None = None
    downtime_ms: int | None = None
    iteration: int | None = None
    elapsed_seconds: float | None = None
    route: str | None = None
    channels: int | None = None
    interruptions: int | None = None
    remaining_seconds_low: float | None = None
    remaining_seconds_high: float | None = None
    predicted_total_seconds: float | None = None
    predicted_downtime_ms: int | None = None
    throttle: int | None = None
    why_not: str | None = None
    auto: str | None = None
    downtime_parts_ms: Mapping[str, int] | None = None

    @classmethod
    def from_stats(cls, stats: remote_job.JobStatsRet) -> Progress | None:
        """Read GET_JOB_STATS; None when there is no job."""
        if stats.type == JobType.NONE:
            return None
        values = typed_params.loose(stats.params)
        rate = _number(values, JobStat.MEMORY_BPS)
        iteration = _number(values, JobStat.MEMORY_ITERATION)
        # QEMU counts dirty pages when an iteration ends; in the first one its 0 means that nobody knows.
        measured = iteration is None or iteration > 1
        dirty_rate = _number(values, JobStat.CULVERT_DIRTY_RATE)
        if dirty_rate is None and measured:
            dirty_rate = _product(values, JobStat.MEMORY_DIRTY_RATE, JobStat.MEMORY_PAGE_SIZE)
        total = _number(values, JobStat.DATA_TOTAL)
        remaining = _number(values, JobStat.DATA_REMAINING)
        phase, route = values.get(JobStat.CULVERT_PHASE), values.get(JobStat.CULVERT_ROUTE)
        is_over = stats.type not in _RUNNING
        return cls(
            phase=None if phase is None else str(phase),
            percent=100.0 if stats.type == JobType.COMPLETED else _percent(values, total, remaining),
            rate=rate,
            dirty_rate=dirty_rate,
            total=total,
            transferred=_number(values, JobStat.DATA_PROCESSED),
            remaining=remaining,
            remaining_seconds=None if is_over else _remaining_seconds(values, remaining, rate, dirty_rate),
            expected_downtime_ms=_number(values, JobStat.CULVERT_EXPECTED_DOWNTIME),
            downtime_ms=_number(values, JobStat.DOWNTIME),
            iteration=iteration,
            elapsed_seconds=_seconds(values, JobStat.TIME_ELAPSED),
            route=None if route is None else str(route),
            channels=_number(values, JobStat.CULVERT_CHANNELS),
            interruptions=_number(values, JobStat.CULVERT_INTERRUPTIONS),
            remaining_seconds_low=_seconds(values, JobStat.CULVERT_REMAINING_LOW),
            remaining_seconds_high=_seconds(values, JobStat.CULVERT_REMAINING_HIGH),
            predicted_total_seconds=_seconds(values, JobStat.CULVERT_PREDICTED_TOTAL),
            predicted_downtime_ms=_number(values, JobStat.CULVERT_PREDICTED_DOWNTIME),
            throttle=_number(values, JobStat.AUTO_CONVERGE_THROTTLE),
            why_not=None if (why_not := values.get(JobStat.CULVERT_WHY_NOT)) is None else str(why_not),
            auto=None if (auto := values.get(JobStat.CULVERT_AUTO)) is None else str(auto),
            downtime_parts_ms={part: int(values[name]) for part, name in CULVERT_DOWNTIMES.items() if name in values}
            or None,
        )

    def as_json(self) -> dict[str, object]:
        """The members by name; what is not known is null."""
        return asdict(self)


def _number(values: Mapping[str, Value], name: str) -> int | None:
    value = values.get(name)
    return int(value) if isinstance(value, int | float) else None


def _product(values: Mapping[str, Value], first: str, second: str) -> int | None:
    one, other = _number(values, first), _number(values, second)
    return None if one is None or other is None else one * other


def _seconds(values: Mapping[str, Value], name: str) -> float | None:
    value = _number(values, name)
    return None if value is None else value / 1000


def _percent(values: Mapping[str, Value], total: int | None, remaining: int | None) -> float | None:
    """The daemon's own, which never falls; else as virsh counts it: what is left of the whole."""
    if isinstance(told := values.get(JobStat.CULVERT_PERCENT), int | float):
        return float(told)
    if not total or remaining is None:
        return None
    return 100.0 * (1 - min(remaining, total) / total)


def _remaining_seconds(
    values: Mapping[str, Value], remaining: int | None, rate: int | None, dirty_rate: int | None
) -> float | None:
    """The daemon's own guess, or how long what is left takes at the rate that is gained on the guest.

    None when the guest dirties memory as fast as it is sent: then nobody knows.
    """
    told = _seconds(values, JobStat.TIME_REMAINING)
    if told or JobStat.CULVERT_PERCENT in values:
        return told  # a daemon that predicts knows also when nothing can be said
    gained = (rate or 0) - (dirty_rate or 0)
    return remaining / gained if remaining is not None and gained > 0 else None
