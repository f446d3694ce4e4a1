"""What --auto decides: the table, and simulated and recorded migrations from their beginning to their end."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from culvert.ground.units import MiB
from culvert.hypervisor.statistics import Statistics
from culvert.migration.convergence import policy
from culvert.migration.convergence.policy import Action, Decision, Situation
from culvert.migration.progress.progress import Course, Forecast
from tests.migration.progress.test_progress import CONVERGE, NOT_CONVERGE, TRACES, World, migrated

WHY = "the guest changes 300 MiB/s, the way carries 110 MiB/s"
STUCK = Forecast(round=4, stuck=WHY, why_not=WHY)
FINE = Forecast(round=4, left=3.0, round_left=2.0)

TABLE = [
    (Situation(FINE), Action.GO_ON, 0),
    (Situation(FINE, postcopy=True), Action.GO_ON, 0),
    (Situation(replace(FINE, round=2, round_left=0.9), postcopy=True), Action.POSTCOPY, 0),
    (Situation(replace(FINE, round_left=0.9, round_age=0.3), postcopy=True), Action.POSTCOPY, 0),
    (Situation(replace(FINE, round_left=0.9, round_age=0.4), postcopy=True), Action.GO_ON, 0),
    (Situation(replace(FINE, round_left=0.9)), Action.GO_ON, 0),
    (Situation(replace(FINE, round_left=0.9), postcopy=True, steady=5), Action.GO_ON, 0),
    (Situation(STUCK, most=0.3), Action.ALLOW, 0),
    (Situation(STUCK, most=0.3, postcopy=True), Action.POSTCOPY, 0),
    (Situation(STUCK, most=0.3, postcopy=True, steady=5), Action.ALLOW, 0),
    (Situation(STUCK, limit=0.3, most=0.3), Action.THROTTLE, 20),
    (Situation(replace(STUCK, round=2)), Action.GO_ON, 0),
    (Situation(STUCK, switched=True, postcopy=True), Action.GO_ON, 0),
    (Situation(STUCK, postcopy=True), Action.POSTCOPY, 0),
    (Situation(STUCK, postcopy=True, steady=31), Action.POSTCOPY, 0),
    (Situation(STUCK, postcopy=True, steady=5), Action.THROTTLE, 20),
    (Situation(STUCK), Action.THROTTLE, 20),
    (Situation(STUCK, as_asked=True), Action.GO_ON, 0),
    (Situation(STUCK, most=0.3, as_asked=True), Action.ALLOW, 0),
    (Situation(STUCK, postcopy=True, as_asked=True), Action.POSTCOPY, 0),
    (Situation(STUCK, throttle=60), Action.THROTTLE, 70),
    (Situation(STUCK, throttle=70), Action.GO_ON, 0),
    (Situation(STUCK, throttle=70, floor=10), Action.THROTTLE, 90),
    (Situation(STUCK, throttle=70, postcopy=True, steady=5), Action.GO_ON, 0),
]


@pytest.mark.parametrize(("now", "action", "throttle"), TABLE)
def test_the_table(now: Situation, action: Action, throttle: int) -> None:
    found = policy.decide(now)
    assert (found.action, found.throttle) == (action, throttle)
    assert found.because
    if now.forecast.stuck and now.forecast.round >= policy.ROUNDS and not now.switched:
        assert now.forecast.stuck in found.because


NEEDED = [
    (None, 0.02, 0.3, 0.3),
    (1.0, 0.02, 0.3, 0.3),
    (0.1, 0.02, 0.3, 0.12),
    (0.28, 0.02, 0.3, 0.3),
    (0.1, 0.2, 0.3, 0.2),
]


@pytest.mark.parametrize(("needed", "limit", "most", "allowed"), NEEDED)
def test_a_standstill_is_as_long_as_it_has_to_be(
    needed: float | None, limit: float, most: float, allowed: float
) -> None:
    found = policy.decide(Situation(replace(STUCK, needed=needed), limit=limit, most=most))
    assert found.action is Action.ALLOW
    assert found.limit == pytest.approx(allowed)


ARMED = [
    (Situation(replace(STUCK, round=2), most=0.3, postcopy=True), Action.GO_ON),
    (Situation(replace(FINE, round=3), most=0.3, postcopy=True), Action.ALLOW),
    (Situation(STUCK, most=0.3, postcopy=True, switched=True), Action.GO_ON),
    (Situation(STUCK, limit=0.3, most=0.3, postcopy=True), Action.GO_ON),
]


@pytest.mark.parametrize(("now", "action"), ARMED)
def test_post_copy_that_a_person_has_armed_is_the_persons(now: Situation, action: Action) -> None:
    found = policy.decide(now, policy.ARMED)
    assert found.action is action
    assert found.limit == (now.most if action is Action.ALLOW else 0)


@given(
    st.builds(
        Situation,
        forecast=st.builds(
            Forecast,
            round=st.integers(0, 9),
            stuck=st.sampled_from(["", "too fast"]),
            needed=st.none() | st.floats(0, 10),
            round_left=st.none() | st.floats(0, 10),
        ),
        limit=st.floats(0.001, 0.5),
        most=st.floats(0.5, 2),
        switched=st.booleans(),
        steady=st.none() | st.floats(0, 100),
        postcopy=st.booleans(),
        throttle=st.integers(0, 99),
        floor=st.integers(1, 99),
    )
)
def test_what_is_promised(now: Situation) -> None:
    found = policy.decide(now)
    if found.action is Action.POSTCOPY:
        assert now.postcopy
        assert now.steady is None or now.steady >= policy.STEADY
    if found.action is Action.THROTTLE:
        assert now.throttle < found.throttle <= 100 - now.floor
        assert now.limit >= now.most
    if found.action is Action.ALLOW:
        assert now.limit <= found.limit <= now.most
    if not now.forecast.stuck:
        assert found.action in (Action.GO_ON, Action.POSTCOPY)


def flown(world: World, *, postcopy: bool, longest: float = 900.0) -> tuple[list[Decision], bool]:
    """The decisions for a guest in ``world``, slowed down as decided: (each once, whether it arrived)."""
    decisions: list[Decision] = []
    throttle = counted = 0
    limit = policy.BRIEF
    while True:
        slowed = replace(world, dirty=world.dirty * (100 - throttle) / 100)
        course, found = Course(limit), None
        for at, qemu in migrated(slowed, longest, limit):
            said = course.feed(at, qemu)
            if qemu.status == "completed":
                return decisions, True
            now = Situation(said, limit=limit, most=MOST, postcopy=postcopy, throttle=throttle)
            found = policy.decide(now)
            if found.action is not Action.GO_ON:
                break
        counted += 1
        if found is None or found.action is Action.GO_ON or counted > 9:
            return decisions, False
        decisions.append(found)
        if found.action is Action.POSTCOPY:
            return decisions, True
        throttle, limit = found.throttle, found.limit or limit


MOST = 0.3  # seconds that a person allows


@pytest.mark.parametrize("world", CONVERGE, ids=str)
def test_who_converges_is_not_slowed_down_and_only_the_last_second_is_post_copy(world: World) -> None:
    decisions, arrived = flown(world, postcopy=True)
    assert arrived
    assert [one.action for one in decisions] in ([], [Action.POSTCOPY])
    decisions, arrived = flown(world, postcopy=False)
    assert arrived
    assert {one.action for one in decisions} <= {Action.ALLOW}


@pytest.mark.parametrize("world", NOT_CONVERGE, ids=str)
def test_who_does_not_goes_on_in_post_copy(world: World) -> None:
    decisions, arrived = flown(world, postcopy=True)
    assert [one.action for one in decisions] == [Action.POSTCOPY]
    assert arrived


def test_without_post_copy_a_guest_is_slowed_down_and_never_below_the_floor() -> None:
    decisions, arrived = flown(World(256, 100, 150, 128), postcopy=False)
    assert arrived
    assert decisions[0].action is Action.ALLOW
    assert {one.action for one in decisions} == {Action.ALLOW, Action.THROTTLE}
    decisions, arrived = flown(World(256, 30, 10_000, 128), postcopy=False)
    assert not arrived
    assert [one.throttle for one in decisions] == [0, 20, 40, 60, 70]
    assert decisions[0].limit == MOST


@pytest.mark.parametrize("path", TRACES, ids=lambda path: path.stem)
def test_on_recorded_migrations(path: Path) -> None:
    trace = json.loads(path.read_text())
    course, actions = Course(limit=trace["limit"]), set()
    for at, status, sent, remaining, counted, dirty in trace["samples"]:
        figures = Statistics(
            status=status,
            ram_total=trace["total"],
            ram_transferred=sent,
            ram_remaining=remaining,
            dirty_sync_count=counted,
            dirty_pages_rate=dirty,
        )
        said = course.feed(at, figures)
        stuck = replace(said, round_left=None)  # whether it converges, not how long the last of it takes
        actions.add(policy.decide(Situation(stuck, postcopy=True)).action)
    assert (Action.POSTCOPY in actions) is not trace["arrived"]


PLANS = [
    # dirty, link (MiB/s), may post-copy, parallel, compress: post-copy, connections, compressed
    ((300, 110), (True, True, True), (True, 0, False)),
    ((None, 11), (True, True, True), (True, 0, True)),
    ((None, 11), (True, True, False), (True, 0, False)),
    ((300, 110), (False, True, True), (False, policy.CHANNELS, False)),
    ((300, 11), (False, True, True), (False, policy.CHANNELS, True)),
    ((1, 110), (False, True, True), (False, 0, False)),
    ((300, 110), (False, False, False), (False, 0, False)),
    ((None, None), (False, True, True), (False, 0, False)),
]


@pytest.mark.parametrize(("found", "may", "planned"), PLANS)
def test_the_plan(
    found: tuple[float | None, float | None], may: tuple[bool, bool, bool], planned: tuple[bool, int, bool]
) -> None:
    known = policy.Known(*(None if each is None else each * MiB for each in found))
    made = policy.plan(known, may_postcopy=may[0], may_parallel=may[1], may_compress=may[2])
    assert (made.postcopy, made.connections, made.compress) == planned
    assert ("compressed" in made.because) is made.compress
    for figure, words in zip(
        found, ("the guest changes {:.0f} MiB/s", "the link carries at least {:.0f} MiB/s"), strict=True
    ):
        assert figure is None or words.format(figure) in made.because
    assert (found == (None, None)) is ("nothing is known" in made.because)
