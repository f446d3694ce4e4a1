"""Progress: read from job statistics."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from culvert.client.progress import Progress
from culvert.ground.units import MiB
from culvert.protocol import remote_job, typed_params, types
from culvert.protocol.constants_migrate import JOB_STATS, JobStat, JobType


def stats(kind: int, **values: Any) -> remote_job.JobStatsRet:
    names = {name.replace(".", "_"): name for name in JOB_STATS}
    items = [(names[name], value) for name, value in values.items()]
    return remote_job.JobStatsRet(kind, typed_params.encode(items, JOB_STATS))


def look(kind: int = JobType.UNBOUNDED, **values: Any) -> Progress:
    found = Progress.from_stats(stats(kind, **values))
    assert found is not None
    return found


FULL = look(
    culvert_phase="perform",
    data_total=512 * MiB,
    data_processed=384 * MiB,
    data_remaining=128 * MiB,
    memory_bps=100 * MiB,
    memory_dirty_rate=5120,
    memory_page_size=4096,
    memory_iteration=3,
    time_elapsed=4200,
    culvert_expected_downtime=280,
)


def test_everything_the_daemon_says() -> None:
    expected = Progress(
        phase="perform",
        percent=75.0,
        rate=100 * MiB,
        dirty_rate=20 * MiB,
        total=512 * MiB,
        transferred=384 * MiB,
        remaining=128 * MiB,
        remaining_seconds=1.6,  # at what is gained: 100 - 20 MiB/s
        expected_downtime_ms=280,
        downtime_ms=None,
        iteration=3,
        elapsed_seconds=4.2,
    )
    assert expected == FULL


def test_no_job_is_no_progress() -> None:
    assert Progress.from_stats(stats(JobType.NONE)) is None


def test_a_daemon_that_says_little_is_not_made_to_say_more() -> None:
    assert look() == Progress()


def test_the_daemons_own_guess_of_the_time_left_counts() -> None:
    assert look(time_remaining=2500, data_remaining=10, memory_bps=1).remaining_seconds == 2.5


def test_a_guest_that_dirties_as_fast_as_it_is_sent_has_no_end_in_sight() -> None:
    found = look(data_remaining=10, memory_bps=4096, memory_dirty_rate=1, memory_page_size=4096)
    assert found.remaining_seconds is None


@pytest.mark.parametrize(("remaining", "percent"), [(0, 100.0), (1000, 0.0), (250, 75.0), (2000, 0.0)])
def test_percent(remaining: int, percent: float) -> None:
    assert look(data_total=1000, data_remaining=remaining).percent == percent


def test_percent_before_anything_is_known() -> None:
    assert look(data_total=0, data_remaining=0).percent is None


def test_a_completed_job_is_all_of_it() -> None:
    found = look(JobType.COMPLETED, time_elapsed=65000, downtime=43)
    assert (found.percent, found.elapsed_seconds, found.downtime_ms) == (100.0, 65.0, 43)


@st.composite
def any_stats(draw: st.DrawFn) -> remote_job.JobStatsRet:
    numbers = [name for name in JOB_STATS if JOB_STATS[name].type == 4]
    names = draw(st.lists(st.sampled_from(numbers), unique=True))
    items = [(name, draw(st.integers(0, 2**64 - 1))) for name in names]
    return remote_job.JobStatsRet(draw(st.integers(0, 9)), typed_params.encode(items, JOB_STATS))


@given(any_stats())
def test_whatever_the_numbers_they_can_be_told(found: remote_job.JobStatsRet) -> None:
    shown = Progress.from_stats(found)
    if shown is None:
        return
    assert json.loads(json.dumps(shown.as_json())) == shown.as_json()
    assert shown.percent is None or 0 <= shown.percent <= 100
    assert shown.remaining_seconds is None or shown.remaining_seconds >= 0


def test_a_value_of_an_unexpected_type_is_not_shown() -> None:
    odd = remote_job.JobStatsRet(
        JobType.UNBOUNDED, [types.TypedParam(JobStat.MEMORY_BPS, (types.TypedParamType.STRING, "fast"))]
    )
    assert Progress.from_stats(odd) == Progress()
