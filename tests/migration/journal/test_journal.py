"""The journal on a real disk: what was written is there for the next daemon, and nothing is ever made up."""

from __future__ import annotations

import asyncio
import errno
import sqlite3
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from culvert.ground import errors
from culvert.migration.handover.machine import Step
from culvert.migration.journal import journal as module
from culvert.migration.journal.history import DAY, Begun, Direction, Key, Retention, Summary
from culvert.migration.journal.journal import Journal

OUT = Key("0" * 32, Direction.OUT)
IN = Key("0" * 32, Direction.IN)


def begun(key: Key = OUT, name: str = "g") -> Begun:
    return Begun(key, name, "u-" + name, "qemu+tcp://b:1/system", was_running=True, secret="s")


@pytest.fixture
async def journal(tmp_path: Path) -> AsyncIterator[Journal]:
    opened = Journal(tmp_path / "lib" / "migrations.sqlite")
    await opened.open()
    yield opened
    await opened.close()


async def test_what_was_written_is_there_for_the_next(journal: Journal) -> None:
    await journal.begin(begun(), Step.BEGIN3)
    await journal.write(OUT, Step.PERFORM3)
    await journal.learn(OUT, peer="qemu+tcp://c:1/system", stock=True)
    await journal.write(OUT, Step.PERFORM3_DONE, "granted")
    await journal.note(OUT, "the answer is lost")
    other = Journal(journal.path)
    await other.open()
    (left,) = await other.unfinished()
    assert (left.step, left.begun.peer, left.begun.stock, left.begun.secret) == (
        *(Step.PERFORM3_DONE, "qemu+tcp://c:1/system", True, "s"),
    )
    assert left.ended is None
    await other.write(OUT, Step.LEFT)
    await other.summarise(OUT, Summary("pump", "because", {"memory_total": 5}))
    assert await other.unfinished() == []
    shown = await other.show(left.number)
    assert shown is not None
    assert [line.step for line in shown.lines] == [
        *(Step.BEGIN3, Step.PERFORM3, Step.PERFORM3_DONE, None, Step.LEFT),
    ]
    assert (shown.route, shown.cause, shown.figures) == ("pump", "because", {"memory_total": 5})
    assert shown.ended is not None
    await other.close()
    assert journal.path.stat().st_mode & 0o777 == 0o600


async def test_both_sides_of_one_attempt_may_be_in_one_journal(journal: Journal) -> None:
    await journal.begin(begun(OUT), Step.BEGIN3)
    await journal.begin(begun(IN), Step.PREPARE)
    await journal.write(IN, Step.GONE)
    out, into = await journal.get(OUT), await journal.get(IN)
    assert out is not None
    assert into is not None
    assert (out.step, into.step) == (Step.BEGIN3, Step.GONE)


async def test_an_attempt_has_one_record(journal: Journal) -> None:
    await journal.begin(begun(), Step.BEGIN3)
    with pytest.raises(errors.OperationInvalid, match="used once"):
        await journal.begin(begun(), Step.BEGIN3)
    with pytest.raises(errors.InternalError, match="no record"):
        await journal.write(IN, Step.GONE)
    assert await journal.get(IN) is None
    assert await journal.show(99) is None


async def test_the_newest_first_by_domain(journal: Journal) -> None:
    for number in range(5):
        await journal.begin(begun(Key(f"{number:032}", Direction.OUT), f"g{number % 2}"), Step.BEGIN3)
    assert [entry.begun.name for entry in await journal.recent(3)] == ["g0", "g1", "g0"]
    assert [entry.number for entry in await journal.recent(9, "g1")] == [4, 2]
    assert [entry.number for entry in await journal.recent(9, "u-g1")] == [4, 2]


async def test_old_records_go_when_it_is_opened(tmp_path: Path) -> None:
    now = [100 * DAY]
    first = Journal(tmp_path / "j", clock=lambda: now[0])
    await first.open()
    await first.begin(begun(OUT), Step.BEGIN3)
    await first.begin(begun(IN), Step.PREPARE)
    await first.write(IN, Step.GONE)
    await first.close()
    now[0] = 200 * DAY
    second = Journal(tmp_path / "j", Retention(days=50), clock=lambda: now[0])
    await second.open()
    assert [entry.begun.key for entry in await second.recent(9)] == [OUT]
    await second.close()


@pytest.mark.parametrize("damage", ["rubbish", "short", "page"])
async def test_a_damaged_one_is_set_aside_and_never_guessed_at(
    tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "j"
    first = Journal(path)
    await first.open()
    for number in range(200):
        await first.begin(begun(Key(f"{number:032}", Direction.OUT), "g" * 200), Step.BEGIN3)
    await first.close()
    content = bytearray(path.read_bytes())
    if damage == "rubbish":
        content = bytearray(b"this is no database" * 100)
    elif damage == "short":
        del content[5000:]
    else:
        content[4096 : len(content) // 2] = b"\xff" * (len(content) // 2 - 4096)
    path.write_bytes(content)
    second = Journal(path)
    await second.open()
    assert await second.recent(9) == []
    await second.begin(begun(), Step.BEGIN3)
    await second.close()
    assert "damaged" in caplog.text
    assert (tmp_path / "j.unreadable").read_bytes() == bytes(content)


async def test_one_of_a_newer_culvert_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "j"
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA user_version = 99")
    database.close()
    journal = Journal(path)
    with pytest.raises(errors.InternalError, match="newer culvert"):
        await journal.open()
    await journal.close()
    assert path.exists()


async def test_a_full_disk_is_told_and_nothing_is_half_written(journal: Journal) -> None:
    await journal.begin(begun(), Step.BEGIN3)
    await journal._run("fill", lambda: journal._opened().execute("PRAGMA max_page_count = 1"))
    with pytest.raises(errors.SystemCallError, match="full") as caught:
        await journal.note(OUT, "x" * 1_000_000)
    assert caught.value.errno == errno.ENOSPC
    await journal._run("clear", lambda: journal._opened().execute("PRAGMA max_page_count = 1000000"))
    await journal.write(OUT, Step.PERFORM3)
    found = await journal.get(OUT)
    assert found is not None
    assert found.step is Step.PERFORM3


async def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    journal = Journal(tmp_path / "file" / "j")
    with pytest.raises(errors.SystemCallError, match="cannot be used"):
        await journal.open()
    with pytest.raises(errors.SystemCallError, match="not open"):
        await journal.begin(begun(), Step.BEGIN3)
    await journal.close()


WRITER = """
import asyncio, sys
from pathlib import Path
from culvert.migration.journal.history import Begun, Direction, Key
from culvert.migration.journal.journal import Journal
from culvert.migration.handover.machine import Step
async def main():
    journal = Journal(Path(sys.argv[1]))
    await journal.open()
    for number in range(100000):
        key = Key(f"{number:032}", Direction.IN)
        await journal.begin(Begun(key, "g", "u"), Step.PREPARE)
        await journal.write(key, Step.FINISH3)
        print(number, flush=True)
asyncio.run(main())
"""


async def test_a_writer_that_is_killed_leaves_what_it_has_said(tmp_path: Path) -> None:
    path = tmp_path / "j"
    writer = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", WRITER, str(path)), stdout=asyncio.subprocess.PIPE
    )
    assert writer.stdout is not None
    async with asyncio.timeout(60.0):
        for number in range(31):
            assert (await writer.stdout.readline()).strip() == b"%d" % number
        writer.kill()
        said = 30 + len((await writer.stdout.read()).splitlines())
        await writer.wait()
    journal = Journal(path)
    await journal.open()
    entries = await journal.unfinished()
    await journal.close()
    assert len(entries) >= said + 1
    assert all(entry.step is Step.FINISH3 for entry in entries[: said + 1])


async def test_who_is_cancelled_leaves_it_usable(journal: Journal) -> None:
    async with asyncio.TaskGroup() as tasks:
        writing = tasks.create_task(journal.begin(begun(), Step.BEGIN3), name="begin")
        await asyncio.sleep(0)
        writing.cancel()
    assert len(await journal.unfinished()) <= 1
    await journal.begin(begun(IN), Step.PREPARE)
    assert [entry.step for entry in await journal.unfinished()][-1] is Step.PREPARE


def test_the_schema_says_its_version() -> None:
    assert module.VERSION == 2
