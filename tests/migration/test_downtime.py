"""The standstill in its parts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from culvert.migration import downtime
from culvert.migration.downtime import Moments

SECONDS = st.none() | st.floats(0, 1000)


def test_the_parts() -> None:
    moments = Moments(stopped=10.0, synced=10.01, sent=10.15, answered=10.2)
    found = downtime.parts(moments, last_bytes=1_000_000, rate=10_000_000, start=0.02)
    assert found is not None
    assert found.milliseconds() == {"stop": 10, "last_round": 100, "device_state": 40, "finish": 30, "start": 20}


@given(
    st.builds(Moments, stopped=SECONDS, synced=SECONDS, sent=SECONDS, answered=SECONDS),
    st.integers(0, 2**40),
    st.floats(0, 1e10),
    st.floats(-1, 100),
)
def test_they_always_add_up_to_the_whole(moments: Moments, last_bytes: int, rate: float, start: float) -> None:
    found = downtime.parts(moments, last_bytes=last_bytes, rate=rate, start=start)
    if moments.stopped is None or moments.answered is None:
        assert found is None
        return
    assert found is not None
    assert found.total == pytest.approx(max(0.0, moments.answered - moments.stopped), abs=1e-6)
    assert min(found.milliseconds().values()) >= 0


def test_what_the_destination_says_of_its_own() -> None:
    assert downtime.started({downtime.START_FIGURE: 4500}) == 0.0045
    assert downtime.started({}) == 0.0
