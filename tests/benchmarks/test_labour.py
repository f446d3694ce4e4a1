"""What a guest got done, read out of its lines."""

from __future__ import annotations

import pytest

from benchmarks import labour
from guests.report import Report
from guests.tiny import TinyParameters

IDLE = TinyParameters(mib=8, dirty_mib=0, dirty_mib_s=0)
BUSY = TinyParameters(mib=8, dirty_mib=1, dirty_mib_s=64)  # 256 pages a round


def lines(*pages: tuple[float, int]) -> list[Report]:
    """At such a time so many pages have been rewritten; as many were looked at."""
    return [Report(at, number, done, 0, done // 256, 0, done % 256) for number, (at, done) in enumerate(pages)]


def steady(rate: int, start: float, end: float, done: int = 0) -> list[tuple[float, int]]:
    """A line every 10 ms."""
    return [(start + step / 100, done + rate * step // 100) for step in range(round((end - start) * 100))]


def test_a_guest_that_works_half_as_fast_meanwhile_has_lost_half_of_that_time() -> None:
    reports = lines(*steady(10000, 0, 2), *steady(5000, 2, 6, 20000), *steady(10000, 6, 8, 40000))
    found = labour.figures(reports, 2, 6, 6, BUSY)
    assert found["work_during_share"] == pytest.approx(0.5, rel=0.02)
    assert found["work_after_share"] == pytest.approx(1, rel=0.02)
    assert found["work_lost_s"] == pytest.approx(2, rel=0.02)
    assert found["dirtied_before_mib_s"] == pytest.approx(10000 / 256, rel=0.02)
    assert found["dirtied_during_mib_s"] == pytest.approx(5000 / 256, rel=0.02)


def test_a_guest_that_stands_still_has_lost_all_of_it() -> None:
    reports = lines(*steady(10000, 0, 2), *steady(10000, 5, 7, 20000))
    found = labour.figures(reports, 2, 5, 5, BUSY)
    assert found["work_during_share"] == pytest.approx(0, abs=0.01)
    assert found["work_lost_s"] == pytest.approx(3, rel=0.02)


def test_an_idle_guest_is_measured_by_what_it_looks_at() -> None:
    found = labour.figures(lines(*steady(250, 0, 4)), 1, 2, 3, IDLE)
    assert found["work_during_share"] == pytest.approx(1, rel=0.05)
    assert "dirtied_before_mib_s" not in found


def test_a_guest_that_had_said_nothing_has_no_figures() -> None:
    assert labour.figures(lines((5, 1)), 2, 3, 3, BUSY) == {}
