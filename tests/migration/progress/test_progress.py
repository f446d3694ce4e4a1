"""Progress that can be relied on: by properties, on simulated migrations, and on recorded ones."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from culvert.ground.units import MiB
from culvert.hypervisor.statistics import Statistics
from culvert.migration.progress import progress
from culvert.migration.progress.progress import Course, Forecast

TRACES = sorted((Path(__file__).parent / "traces").glob("*.json"))
PAGE = 4096
STEP = 0.1


@dataclass(frozen=True)
class World:
    """A guest and a way; sizes in MiB, rates in MiB/s."""

    total: int
    speed: float
    dirty: float
    working_set: float
    zeros: float = 0.0
    """The part of the memory that is pages of zeros."""


def migrated(
    world: World, longest: float = 300.0, limit: float = progress.DOWNTIME_LIMIT
) -> Iterator[tuple[float, Statistics]]:
    """What QEMU would say every ``STEP`` seconds; the last is "completed" if it comes to that."""
    at, sent, counted = 0.0, 0.0, 1
    remaining, rate, changed, round_time = float(world.total), 0.0, 0.0, 0.0
    worth = 1 - world.zeros  # of a byte of the first round on the way
    while at < longest:
        yield (
            at,
            Statistics(
                status="active",
                ram_total=world.total * MiB,
                ram_transferred=int(sent * MiB),
                ram_remaining=int(remaining * MiB),
                dirty_sync_count=counted,
                dirty_pages_rate=int(rate * MiB / PAGE),
                page_size=PAGE,
            ),
        )
        at += STEP
        cleared = min(remaining, world.speed * STEP / (worth if counted == 1 else 1.0))
        remaining, round_time = remaining - cleared, round_time + STEP
        sent += cleared * (worth if counted == 1 else 1.0)
        changed = min(world.working_set, changed + world.dirty * STEP)
        if remaining <= world.speed * limit:
            remaining, rate = remaining + changed, changed / round_time
            counted, changed, round_time = counted + 1, 0.0, 0.0
            if remaining <= world.speed * limit:
                end = at + remaining / world.speed
                yield end, Statistics(status="completed", ram_total=world.total * MiB, dirty_sync_count=counted)
                return


def looked_at(samples: Iterator[tuple[float, Statistics]]) -> list[tuple[float, Forecast]]:
    course = Course()
    return [(at, course.feed(at, qemu)) for at, qemu in samples]


WORLDS = st.builds(
    World,
    total=st.integers(1, 4096),
    speed=st.floats(1, 1000),
    dirty=st.floats(0, 500),
    working_set=st.floats(0, 512),
    zeros=st.floats(0, 0.9),
)


@given(WORLDS)
def test_what_always_holds(world: World) -> None:
    before = Forecast()
    for at, said in looked_at(migrated(world, longest=30.0)):
        assert before.percent <= said.percent <= 100
        assert said.rate >= 0
        if said.left is not None:
            assert said.left >= 0
            assert said.total == pytest.approx(at + said.left)
            assert said.left_low is None or said.left_low <= said.left
            assert said.left_high is None or said.left_high >= said.left
        if said.why_not:
            assert said.left is None
            assert "MiB/s" in said.why_not
        before = said


@given(st.lists(st.tuples(st.floats(0, 100), st.integers(0, 2**40), st.integers(0, 2**40), st.integers(0, 9))))
def test_no_order_of_figures_is_too_strange(samples: list[tuple[float, int, int, int]]) -> None:
    course, percent = Course(), 0.0
    for at, sent, remaining, counted in samples:
        said = course.feed(
            at,
            Statistics(
                status="active",
                ram_total=2**40,
                ram_transferred=sent,
                ram_remaining=remaining,
                dirty_sync_count=counted,
                dirty_pages_rate=counted * 1000,
            ),
        )
        assert percent <= said.percent <= 99
        percent = said.percent


CONVERGE = [
    World(1024, 100, 0, 0),
    World(1024, 100, 0, 0, zeros=0.8),
    World(4096, 110, 20, 256),
    World(1024, 100, 50, 512),
    World(1024, 100, 50, 64, zeros=0.5),
    World(512, 30, 10, 512),
    World(8192, 1000, 150, 1024, zeros=0.3),
    World(1024, 11, 2, 128),
]


@pytest.mark.parametrize("world", CONVERGE, ids=str)
def test_the_total_is_right_from_the_second_round_on(world: World) -> None:
    told = looked_at(migrated(world))
    end, last = told[-1]
    assert last.percent == 100
    for at, said in told[:-1]:
        assert not said.why_not
        if said.round >= 2:
            assert said.total is not None, at
            assert said.total == pytest.approx(end, rel=0.25), at
            assert said.downtime is None or said.downtime <= progress.DOWNTIME_LIMIT * 1.01


NOT_CONVERGE = [World(1024, 110, 300, 512), World(256, 30, 100, 128), World(4096, 11, 50, 1024, zeros=0.5)]


@pytest.mark.parametrize("world", NOT_CONVERGE, ids=str)
def test_what_will_not_converge_is_said_in_time(world: World) -> None:
    told = looked_at(migrated(world, longest=600.0))
    third = next(at for at, said in told if said.round >= 3)
    assert all(said.why_not for at, said in told if at >= third)
    reason = told[-1][1].why_not
    assert f"the way carries {world.speed:.0f} MiB/s" in reason, reason
    assert told[-1][1].percent <= 99


def test_nothing_is_said_of_the_time_while_nothing_moves() -> None:
    course = Course()
    figures = Statistics(status="active", ram_total=100 * MiB, ram_remaining=50 * MiB, dirty_sync_count=1)
    for second in range(10):
        said = course.feed(float(second), figures)
    assert said.left is None


def test_post_copy_ends_whatever_the_guest_does() -> None:
    course = Course()
    for at, qemu in migrated(NOT_CONVERGE[0], longest=40.0):
        said = course.feed(at, qemu)
    assert said.why_not
    figures = qemu
    for step in range(1, 20):
        figures = Statistics(
            status="postcopy-active",
            ram_total=figures.ram_total,
            ram_transferred=figures.ram_transferred + 11 * MiB,
            ram_remaining=max(0, figures.ram_remaining - 11 * MiB),
            dirty_sync_count=figures.dirty_sync_count,
        )
        said = course.feed(at + step * STEP, figures)
    assert not said.why_not
    assert said.left == pytest.approx(figures.ram_remaining / (110 * MiB), rel=0.3)


@pytest.mark.parametrize("path", TRACES, ids=lambda path: path.stem)
def test_on_recorded_migrations(path: Path) -> None:
    """What QEMU 7.2 said of real guests: [seconds, status, sent, remaining, round, pages/s] each."""
    trace = json.loads(path.read_text())
    course, judged = Course(limit=trace["limit"]), []
    *samples, (end, *_) = trace["samples"]
    percent = 0.0
    for at, status, sent, remaining, counted, dirty in samples:
        said = course.feed(
            at,
            Statistics(
                status=status,
                ram_total=trace["total"],
                ram_transferred=sent,
                ram_remaining=remaining,
                dirty_sync_count=counted,
                dirty_pages_rate=dirty,
            ),
        )
        assert said.percent >= percent
        percent = said.percent
        if counted >= 2:
            judged.append(said)
    if trace["arrived"]:
        good = [said.total is not None and abs(said.total - end) <= 0.25 * end for said in judged]
        assert sum(good) >= 0.9 * len(good)
        assert not any(said.why_not for said in judged)
    else:
        assert judged[-1].why_not


def test_the_downtime_that_is_raised_is_foreseen() -> None:
    """A guest whose rounds do not end with what QEMU has been told, and do with what a person allows."""
    guest = progress.Dirtying(dirty=200 * MiB, working_set=10 * MiB, limit=0.02)
    assert progress.play(100 * MiB, 100 * MiB, guest) is None
    rest = progress.foresee(100 * MiB, 100 * MiB, guest, progress.Foreseen(most=0.3))
    assert rest is not None
    assert rest.downtime == pytest.approx(0.1)
    assert rest.seconds == pytest.approx(1.1)


def test_the_switch_to_post_copy_is_foreseen() -> None:
    guest = progress.Dirtying(dirty=300 * MiB, working_set=200 * MiB, limit=0.02)
    rest = progress.foresee(100 * MiB, 100 * MiB, guest, progress.Foreseen(rounds=1))
    assert rest is not None
    assert rest.seconds == pytest.approx(3.0), "the rest of this round, and a whole working set"
    assert rest.downtime < 0.1
    now = progress.foresee(100 * MiB, 100 * MiB, guest, progress.Foreseen(rounds=0), running=0.5)
    assert now is not None
    assert now.seconds == pytest.approx(2.5), "what is left, and what has changed in this round"
    calm = replace(guest, dirty=20 * MiB)
    soon = progress.foresee(100 * MiB, 100 * MiB, calm, progress.Foreseen(short=1.0, rounds=1))
    assert soon is not None
    assert soon.seconds == pytest.approx(1.2), "what one more round has left is short enough"


def test_what_somebody_will_do_about_it_is_no_reason_to_say_that_it_never_ends() -> None:
    world = NOT_CONVERGE[0]
    course = Course(0.02)
    course.switches_from = 3
    for at, qemu in migrated(world, longest=30.0, limit=0.02):
        said = course.feed(at, qemu)
        assert not said.why_not
        if qemu.dirty_sync_count >= 3:
            assert said.stuck
            assert said.left is not None


@pytest.mark.parametrize("world", [*CONVERGE, *NOT_CONVERGE], ids=str)
def test_armed_post_copy_is_the_likeliest_end_and_the_range_knows_the_other_one(world: World) -> None:
    course = Course(0.02)
    course.most, course.armed = 0.3, True
    for at, qemu in migrated(world, longest=900.0, limit=0.02):
        said = course.feed(at, qemu)
        if qemu.dirty_sync_count == 2 and qemu.status == "active":
            assert said.left is not None
            assert said.left_low is not None
            assert said.left_low <= said.left
            assert said.left_high is None or said.left <= said.left_high
            assert at + said.left <= 1.3 * (at + (qemu.ram_remaining / MiB + world.working_set) / world.speed)
            return


def test_a_short_look_says_little() -> None:
    """The first look of a round may come a millisecond after its begin, and see one burst of bytes or none."""
    figures = [(0.0, 0, 1000, 1), (1.0, 100, 900, 1), (5.0, 500, 500, 1), (10.0, 1000, 0, 1), (10.0, 1000, 300, 2)]
    for burst in (0, 5):
        course = Course()
        for at, sent, left, counted in [*figures, (10.002, 1000 + burst, 300 - burst, 2)]:
            said = course.feed(
                at,
                Statistics(
                    status="active",
                    ram_total=1000 * MiB,
                    ram_transferred=sent * MiB,
                    ram_remaining=left * MiB,
                    dirty_sync_count=counted,
                    dirty_pages_rate=0 if counted == 1 else 30 * MiB // PAGE,
                ),
            )
        assert said.total == pytest.approx(14.2, rel=0.1)
