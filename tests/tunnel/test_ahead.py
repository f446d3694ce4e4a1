"""A slow road is not filled in advance, a fast one is never held up."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from culvert.ground.units import MiB
from culvert.tunnel import ahead
from culvert.tunnel.ahead import LEAST, LOOK, Ahead

WINDOW = 2 * MiB
STEP = 0.001  # seconds of the played road


def play(one: Ahead, rate: float, seconds: float, *, begun: float = 0.0, sent: int = 0, offered: float = 1e12) -> int:
    """A road that takes ``rate`` bytes per second, and a QEMU that has ``offered`` of them; how many have gone."""
    now = begun
    for _ in range(round(seconds / STEP)):
        now += STEP
        sent += int(min(rate, offered) * STEP)
        if offered > rate:
            one.waited(STEP)
        one.look(now, sent)
    return sent


@pytest.mark.parametrize("mbit", [1, 10, 100, 1000])
def test_a_slow_road_has_as_much_before_it_as_it_takes_in_a_moment(mbit: int) -> None:
    one, rate = Ahead(WINDOW, 0.0), mbit * 1e6 / 8
    play(one, rate, 1.0)
    assert one.bound == pytest.approx(max(LEAST, rate * ahead.HELD), rel=0.26)
    assert one.bound < WINDOW


def test_a_fast_road_has_the_whole_window() -> None:
    one = Ahead(WINDOW, 0.0)
    play(one, 5e9, 1.0)
    assert one.bound == WINDOW


def test_a_road_that_is_faster_than_qemu_has_the_whole_window() -> None:
    one = Ahead(WINDOW, 0.0)
    sent = play(one, 10e6, 1.0)
    assert one.bound < WINDOW
    play(one, 10e6, 1.0, begun=1.0, sent=sent, offered=5e6)
    assert one.bound == WINDOW


def test_a_road_that_becomes_slower_and_faster_is_followed() -> None:
    one = Ahead(WINDOW, 0.0)
    sent, begun, bounds = 0, 0.0, []
    for rate in (100e6, 10e6, 50e6):
        sent = play(one, rate, 0.5, begun=begun, sent=sent)
        begun += 0.5
        bounds.append(one.bound / rate)
    assert bounds == pytest.approx([ahead.HELD] * 3, rel=0.26)


LOOKS = st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1), st.integers(0, 1 << 32)), max_size=60)


@given(st.integers(1, 16 * MiB), LOOKS)
def test_a_bound_never_stops_the_channel_and_is_never_more_than_there_is(
    window: int, looks: list[tuple[float, float, int]]
) -> None:
    one, now, sent = Ahead(window, 5.0, 7), 5.0, 7
    for waited, other, count in looks:
        before = one.bound
        one.waited(waited)
        now, sent = now + waited + other, sent + count
        changed = one.look(now, sent)
        assert changed == (one.bound != before)
        assert min(LEAST, window) <= one.bound <= window


def test_nothing_is_read_from_a_moment() -> None:
    one = Ahead(WINDOW, 0.0)
    one.waited(LOOK / 2)
    assert not one.look(LOOK / 2, 10)
    assert one.bound == WINDOW
