"""The follower of serial files, on files written here."""

from __future__ import annotations

from pathlib import Path

import pytest

from guests import report, watch


def line(count: int, passes: int = 0) -> str:
    return f"culvert-guest count={count} verified=1 bad=0 gen=0 pass={passes}\n"


def test_a_file_that_appears_grows_and_ends_in_half_a_line(tmp_path: Path) -> None:
    path = tmp_path / "out"
    with watch.SerialWatch(path) as follow:
        assert follow.count == 0
        with open(path, "a", encoding="ascii", buffering=1) as file:
            file.write(line(1) + line(2))
            follow.wait(lambda history: len(history.reports) == 2, "two lines")
            file.write(line(3)[:20])
            file.flush()
            file.write(line(3)[20:])
            follow.wait(lambda history: len(history.reports) == 3, "three lines")
    follow.check()
    assert follow.count == 3


def test_a_file_that_shrinks_is_a_fault(tmp_path: Path) -> None:
    path = tmp_path / "out"
    path.write_text(line(1) + line(2))
    with watch.SerialWatch(path) as follow:
        follow.wait(lambda history: len(history.reports) == 2, "two lines")
        path.write_text("")
        follow.wait(lambda history: bool(history.faults), "the fault")
    with pytest.raises(report.GuestFault, match="shrank"):
        follow.check()


def test_a_wait_that_fails_shows_the_last_output(tmp_path: Path) -> None:
    path = tmp_path / "out"
    path.write_text("Kernel panic - not syncing\n")
    with (
        watch.SerialWatch(path) as follow,
        pytest.raises(report.GuestFault, match=r"5 more lines .*Kernel panic"),
    ):
        follow.wait_running(timeout=0.05)


def test_a_pass_under_way_does_not_prove_anything(tmp_path: Path) -> None:
    path = tmp_path / "out"
    path.write_text(line(1, passes=3))
    with watch.SerialWatch(path) as follow:
        follow.wait(lambda history: len(history.reports) == 1, "a line")
        with open(path, "a", encoding="ascii") as file:
            file.write(line(2, passes=4))
        with pytest.raises(report.GuestFault, match="pass 5"):
            follow.wait_verified(timeout=0.2)


async def test_coroutines_wait_too(tmp_path: Path) -> None:
    path = tmp_path / "out"
    path.write_text(line(1))
    with watch.SerialWatch(path) as follow, pytest.raises(report.GuestFault, match="more lines"):
        await follow.running(within=0.05)
