"""The standstill in its parts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from culvert.migration.progress import downtime
from culvert.migration.progress.downtime import Moments, Parts, There

SECONDS = st.none() | st.floats(0, 1000)


LENGTHS = st.floats(-1, 100)


@pytest.mark.parametrize(
    ("there", "expected"),
    [
        (There(), (10, 100, 40, 50, 0, 0)),
        (There(start=0.02), (10, 100, 40, 30, 20, 0)),
        (There(start=0.02, announce=0.005), (10, 100, 40, 25, 20, 5)),
        (There(start=0.02, announce=0.005, ran=0.01), (10, 100, 40, 15, 20, 5)),
        (There(start=9.0, announce=0.005), (10, 100, 40, 0, 45, 5)),
        (There(announce=9.0, ran=9.0), (0, 0, 0, 0, 0, 0)),
    ],
)
def test_the_parts(there: There, expected: tuple[int, ...]) -> None:
    moments = Moments(stopped=10.0, synced=10.01, sent=10.15, answered=10.2)
    found = downtime.parts(moments, last_bytes=1_000_000, rate=10_000_000, there=there)
    assert found is not None
    assert found.milliseconds() == dict(zip(Parts.__slots__, expected, strict=True))


def test_a_post_copy_ran_there_long_before_it_was_answered() -> None:
    moments = Moments(stopped=10.0, sent=10.01, answered=40.0)
    found = downtime.parts(moments, last_bytes=0, rate=1.0, there=There(0.002, 0.001, ran=29.95))
    assert found is not None
    assert found.milliseconds() == dict(zip(Parts.__slots__, (0, 0, 10, 37, 2, 1), strict=True))


@given(
    st.builds(Moments, stopped=SECONDS, synced=SECONDS, sent=SECONDS, answered=SECONDS),
    st.integers(0, 2**40),
    st.floats(0, 1e10),
    st.builds(There, LENGTHS, LENGTHS, LENGTHS),
)
def test_they_always_add_up_to_the_whole(moments: Moments, last_bytes: int, rate: float, there: There) -> None:
    found = downtime.parts(moments, last_bytes=last_bytes, rate=rate, there=there)
    if moments.stopped is None or moments.answered is None:
        assert found is None
        return
    assert found is not None
    runs = moments.answered - max(0.0, there.ran)
    assert found.total == pytest.approx(max(0.0, runs - moments.stopped), abs=1e-6)
    assert min(found.milliseconds().values()) >= 0


@given(st.builds(There, *[st.floats(0, 1000)] * 3))
def test_what_the_destination_says_of_its_own(there: There) -> None:
    heard = downtime.there({**there.figures(), "memory_total": 5})
    assert heard is not None
    assert (heard.start, heard.announce, heard.ran) == pytest.approx(
        (there.start, there.announce, there.ran), abs=1e-6
    )


def test_a_destination_that_says_nothing() -> None:
    assert downtime.there({"memory_total": 5}) is None
