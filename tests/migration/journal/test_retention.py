"""What the journal keeps, and for how long: as it goes on, not only when it is opened."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from culvert.ground.units import MiB
from culvert.migration.handover.machine import Step
from culvert.migration.journal import away, retention
from culvert.migration.journal.history import DAY, Begun, Direction, Key, Retention, Summary
from culvert.migration.journal.journal import SCHEMA, Journal

NOW = 1_000 * DAY
WORDS = "q" * 200  # a cause, or a line


def begun(number: int) -> Begun:
    key = Key(f"{number:032x}", Direction.OUT)
    return Begun(key, "guest", f"uuid-{number}", "qemu+tcp://b:1/system", secret="s" * 64)


async def migrate(journal: Journal, number: int) -> None:
    key = begun(number).key
    await journal.begin(begun(number), Step.BEGIN3)
    if number % 10 == 0:
        await journal.note(key, WORDS)
    await journal.write(key, Step.LEFT, stays=False)
    await journal.summarise(key, Summary("pump", WORDS, {"memory_total": number}))


async def test_ten_thousand_migrations_of_one_daemon_stay_within_their_bound(tmp_path: Path) -> None:
    """By number and by bytes, all the while; what is not over stays."""
    journal = Journal(tmp_path / "j", Retention(records=100, days=0))
    await journal.open()
    # What is kept is looked at here, not what outlives a power failure.
    await journal._run("fast", lambda: journal._opened().execute("PRAGMA synchronous = OFF"))
    await journal.begin(begun(0), Step.BEGIN3)
    sizes = []
    at_once = 50
    for first in range(1, 10_001, at_once):
        await asyncio.gather(*(migrate(journal, number) for number in range(first, first + at_once)))
        *over, open_still = await journal.recent(1000)
        newest = first + at_once  # the first of all has number 1 in the journal
        assert [entry.number for entry in over] == list(range(newest, max(1, newest - 100), -1))
        assert open_still.begun.key == begun(0).key
        sizes.append(sum(file.stat().st_size for file in tmp_path.iterdir()))  # noqa: ASYNC240
    await journal.close()
    with sqlite3.connect(tmp_path / "j") as database:
        assert database.execute("SELECT count(*) FROM line").fetchone() == (2 * 100 + 10 + 1,)
        assert database.execute("SELECT count(*) FROM away").fetchone() == (100,)
    database.close()
    assert max(sizes) < 8 * MiB, "with the write-ahead log, which SQLite ends at 4 MiB"
    assert max(sizes[100:]) <= max(sizes[:100]) * 1.1, "it has come to a size, and keeps it"


async def test_a_guest_that_waits_for_weeks_does_not_fill_the_disk(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j")
    await journal.open()
    await journal._run("fast", lambda: journal._opened().execute("PRAGMA synchronous = OFF"))
    await journal.begin(begun(1), Step.BEGIN3)
    for number in range(retention.NOTES + 20):
        await journal.note(begun(1).key, f"still waiting {number}")
    shown = await journal.show(1)
    assert shown is not None
    assert shown.lines[0].step is Step.BEGIN3, "steps stay"
    assert [line.text for line in shown.lines[1:]] == [f"still waiting {n}" for n in range(20, retention.NOTES + 20)]
    await journal.close()


@pytest.mark.parametrize(
    ("keep", "left"),
    [
        (Retention(records=0, days=0), [1, 2, 3, 4, 5]),
        (Retention(records=2, days=0), [1, 4, 5]),
        (Retention(records=0, days=10), [1, 4, 5]),
        (Retention(records=1, days=10), [1, 5]),
    ],
)
def test_what_is_over_goes_by_number_and_by_age(keep: Retention, left: list[int]) -> None:
    assert kept([None, NOW - 30 * DAY, NOW - 11 * DAY, NOW - 9 * DAY, NOW], keep) == left


@given(st.lists(st.none() | st.floats(0, NOW), max_size=50), st.integers(0, 20), st.integers(0, 500))
def test_what_is_not_over_always_stays(ends: list[float | None], records: int, days: int) -> None:
    left = kept(ends, Retention(records, days))
    over = {number for number, end in enumerate(ends, 1) if end is not None}
    assert {number for number, end in enumerate(ends, 1) if end is None} <= set(left)
    assert not records or len(over & set(left)) <= records
    assert not days or all((ends[number - 1] or NOW) >= NOW - days * DAY for number in left)
    if not records and not days:
        assert len(left) == len(ends)


def kept(ends: list[float | None], keep: Retention) -> list[int]:
    """The numbers of those that are left of migrations that ended then."""
    with contextlib.closing(sqlite3.connect(":memory:")) as database:
        database.executescript(SCHEMA + away.SCHEMA)
        for number, end in enumerate(ends):
            database.execute(
                "INSERT INTO migration (attempt, direction, name, uuid, peer, was_running, stock, secret, flags,"
                " step, began, ended) VALUES (?, 'out', 'g', 'u', '', 1, 0, '', 0, 'left', 1, ?)",
                (str(number), end),
            )
        dropped = retention.prune(database, keep, NOW)
        left = [number for (number,) in database.execute("SELECT number FROM migration ORDER BY number")]
        assert dropped == len(ends) - len(left)
        return left
