"""Job records in libvirt's names, order and units."""

from __future__ import annotations

import time
from uuid import UUID

import pytest

from culvert.drivers.qemu import migration_statistics as qemu
from culvert.migration.progress import statistics
from culvert.migration.progress.downtime import Parts
from culvert.migration.progress.statistics import JobRecord
from culvert.protocol.constants_migrate import JOB_STATS, JobOperation, JobStat, JobType

QUERY_MIGRATE = {
    "status": "active",
    "total-time": 1200,
    "setup-time": 3,
    "expected-downtime": 300,
    "ram": {
        "total": 1 << 30,
        "transferred": 1 << 28,
        "remaining": 1 << 29,
        "mbps": 800.0,
        "duplicate": 10,
        "normal": 20,
        "normal-bytes": 20 * 4096,
        "dirty-pages-rate": 30,
        "dirty-sync-count": 2,
        "page-size": 4096,
    },
}


def record() -> JobRecord:
    made = JobRecord(operation=JobOperation.MIGRATION_OUT, type=JobType.UNBOUNDED, clock=time.monotonic)
    made.update(qemu.read_statistics(QUERY_MIGRATE))
    return made


def test_names_are_libvirts_and_in_its_order() -> None:
    names = list(statistics.numbers(record()))
    order = [name for name in JOB_STATS if name in names]
    assert names == order


def test_units() -> None:
    numbers = statistics.numbers(record())
    assert numbers["memory_bps"] == 100_000_000  # 800 Mbit/s
    assert numbers["memory_remaining"] == numbers["data_remaining"] == 1 << 29
    assert numbers["setup_time"] == 3
    left = 1000 * (1 << 29) // 100_000_000
    assert left <= statistics.remaining_ms(record()) <= left + 200
    assert numbers["time_remaining"] == statistics.remaining_ms(record())


def test_the_forecast_and_the_parts_of_the_downtime_are_named() -> None:
    made = record()
    said = statistics.forecast(made)
    assert said[JobStat.CULVERT_PERCENT] == 0
    assert JobStat.CULVERT_WHY_NOT not in said
    assert statistics.downtimes(made) == {}
    made.parts = Parts(stop=0.001, start=0.02)
    assert statistics.downtimes(made)[JobStat.CULVERT_DOWNTIME_START] == 20
    assert set({**said, **statistics.downtimes(made)}) <= set(JOB_STATS)


def test_what_qemu_leaves_out_is_left_out_or_zero() -> None:
    empty = JobRecord(operation=JobOperation.MIGRATION_OUT, type=JobType.UNBOUNDED, clock=time.monotonic)
    numbers = statistics.numbers(empty)
    assert "downtime" not in numbers
    assert numbers["memory_total"] == 0
    assert statistics.remaining_ms(empty) == 0


def test_the_first_end_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    made = record()
    made.finish(JobType.CANCELLED, error="asked for")
    made.finish(JobType.COMPLETED, downtime=1.0)
    assert (made.type, made.error, made.downtime) == (JobType.CANCELLED, "asked for", None)
    # And time stands still.
    elapsed, now = made.elapsed_ms, time.monotonic()
    monkeypatch.setattr("time.monotonic", lambda: now + 1000)
    assert made.elapsed_ms == elapsed


def test_records_are_bounded_and_the_newest_stays() -> None:
    records = statistics.JobRecords(limit=2)
    ids = [UUID(int=number) for number in range(3)]
    kept = [record() for _ in ids]
    for uuid, one in zip(ids, kept, strict=True):
        records.put(uuid, one)
    assert [records.get(uuid) for uuid in ids] == [None, *kept[1:]]
    records.put(ids[1], kept[0])
    records.put(ids[0], kept[0])
    assert records.get(ids[2]) is None
    records.drop(ids[1])
    assert records.get(ids[1]) is None


def test_the_measured_downtime_goes_before_qemus() -> None:
    made = record()
    made.finish(JobType.COMPLETED, downtime=0.25)
    assert statistics.numbers(made)["downtime"] == 250
