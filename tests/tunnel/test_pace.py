"""Reads are put off in full flow only, and never for long."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from culvert.ground.units import KiB, MiB
from culvert.tunnel import pace
from culvert.tunnel.pace import Pace

GAPS = st.floats(0, 0.01)
COUNTS = st.integers(1, 1024 * KiB)


@given(st.lists(st.tuples(GAPS, COUNTS), max_size=100))
def test_no_wait_is_long_and_none_follows_a_pause(reads: list[tuple[float, int]]) -> None:
    one, now, close = Pace(4 * MiB), 100.0, 0
    for gap, count in reads:
        now += gap
        wait = one.after(count, now)
        close = close + 1 if gap <= pace.PAUSE - 1e-9 else 0
        assert 0 <= wait <= pace.LONGEST
        if count >= pace.WORTH or close < pace.RUN - 1:
            assert wait == 0
        now += wait


def test_small_reads_in_full_flow_are_put_off() -> None:
    one, now, waits = Pace(4 * MiB), 100.0, []
    for _ in range(100):
        now += 0.000_05
        waits.append(one.after(16 * KiB, now))
        now += waits[-1] * 1.5  # sleeps are longer than asked for
    assert waits[0] == 0
    assert all(wait > 0 for wait in waits[-10:])


def test_a_small_socket_is_read_before_its_writer_has_to_wait() -> None:
    one, now = Pace(200 * KiB), 100.0
    for _ in range(100):
        now += 0.000_05
        assert one.after(50 * KiB, now) == 0


def test_a_question_now_and_then_never_waits() -> None:
    one = Pace(4 * MiB)
    assert all(one.after(8, 100 + number * 0.005) == 0 for number in range(1000))
