"""Which guests are away, by the journal: it must never say "here" of one that may run elsewhere."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path
from uuid import UUID

import pytest

from culvert.ground import errors
from culvert.migration.handover.machine import MAY_HAVE_LEFT, OVER, Step
from culvert.migration.handover.machine_recovery import SOURCE_STEPS
from culvert.migration.journal.history import Begun, Direction, Key, Retention
from culvert.migration.journal.journal import SCHEMA, Journal
from culvert.protocol.constants_migrate import MigrateFlag

GUEST, OTHER = UUID(int=7), UUID(int=8)
THERE = "qemu+tcp://b:1/system"


def key(number: int, direction: Direction = Direction.OUT) -> Key:
    return Key(f"{number:032}", direction)


def begun(number: int, direction: Direction = Direction.OUT, uuid: UUID = GUEST, flags: int = 0) -> Begun:
    return Begun(key(number, direction), "g", str(uuid), THERE, flags=flags)


async def departs(
    journal: Journal, number: int, *, stays: bool = True, last: Step = Step.LEFT, flags: int = 0
) -> None:
    await journal.begin(begun(number, flags=flags), Step.BEGIN3)
    await journal.write(key(number), Step.PERFORM3_DONE)
    if last is not Step.PERFORM3_DONE:
        await journal.write(key(number), last, stays=stays)


async def arrives(journal: Journal, number: int) -> None:
    await journal.begin(begun(number, Direction.IN), Step.PREPARE)
    await journal.write(key(number, Direction.IN), Step.FINISH3)
    await journal.write(key(number, Direction.IN), Step.ARRIVED)


@pytest.mark.parametrize("step", [step for step in Step if step in SOURCE_STEPS | {Step.LEFT, Step.STAYED}])
async def test_every_last_row_has_its_word(journal: Journal, step: Step) -> None:
    """From the row that lets the guest run there until the one that says that it stayed."""
    await departs(journal, 1, last=step)
    assert bool(await journal.gone_to(GUEST)) is (step in MAY_HAVE_LEFT)
    assert await journal.gone_to(OTHER) == ""


async def test_what_came_back_is_here_and_what_left_again_is_not(journal: Journal) -> None:
    await departs(journal, 1)
    assert await journal.gone_to(GUEST) == THERE
    await arrives(journal, 2)
    assert await journal.gone_to(GUEST) == ""
    await departs(journal, 3, last=Step.PERFORM3_DONE)
    assert f"{THERE}, perhaps: the end of migration 3" in await journal.gone_to(GUEST)
    await arrives(journal, 4)
    assert await journal.gone_to(GUEST) == "", "one that came back later is here, whatever was not written before"


async def test_what_is_started_by_hand_is_here(journal: Journal) -> None:
    await departs(journal, 1)
    await journal.here_again(GUEST)
    assert await journal.gone_to(GUEST) == ""


async def test_a_definition_that_was_copied_is_at_both_hosts(journal: Journal) -> None:
    await departs(journal, 1, flags=int(MigrateFlag.OFFLINE))
    assert await journal.gone_to(GUEST) == ""


@pytest.mark.parametrize("how", ["stays", "transient", "undefined"])
async def test_it_is_known_as_long_as_a_definition_or_its_record_is_there(tmp_path: Path, how: str) -> None:
    journal = Journal(tmp_path / "j", Retention(records=1))
    await journal.open()
    await departs(journal, 1, stays=how != "transient")
    if how == "undefined":
        await journal.undefined(GUEST)
    assert await journal.gone_to(GUEST) == THERE
    await journal.begin(begun(2, uuid=OTHER), Step.BEGIN3)
    await journal.write(key(2), Step.STAYED)
    await journal.close()
    again = Journal(tmp_path / "j", Retention(records=1))
    await again.open()
    assert [entry.number for entry in await again.recent(9)] == [2]
    assert await again.gone_to(GUEST) == (THERE if how == "stays" else "")
    await again.close()


async def test_after_damage_nothing_is_taken_to_be_here_until_somebody_says_so(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j")
    await journal.open()
    await departs(journal, 1)
    await journal.close()
    (tmp_path / "j").write_bytes(b"this is no database" * 100)
    for _ in range(2):  # nor after the next start
        journal = Journal(tmp_path / "j")
        await journal.open()
        with pytest.raises(errors.OperationFailed, match=r"remove '.*j\.unreadable'"):
            await journal.gone_to(GUEST)
        await journal.close()
    journal = Journal(tmp_path / "j")
    await journal.open()
    await departs(journal, 1)
    assert await journal.gone_to(GUEST) == THERE, "what it knows itself it says"
    (tmp_path / "j.unreadable").unlink()
    assert await journal.gone_to(OTHER) == ""
    await journal.close()


async def test_what_cannot_be_read_is_no_word(tmp_path: Path) -> None:
    closed = Journal(tmp_path / "j")
    with pytest.raises(errors.SystemCallError, match="cannot be used"):
        await closed.gone_to(GUEST)
    await closed.close()


@pytest.mark.parametrize(
    ("known", "believed"), [(None, True), (GUEST, True), (OTHER, False)], ids=["nothing", "this one", "another one"]
)
async def test_the_word_of_an_earlier_culvert(tmp_path: Path, known: UUID | None, believed: bool) -> None:
    """Its journal is taken over as it is, and says which domain of that name was meant."""
    with sqlite3.connect(tmp_path / "j") as database:
        database.executescript(SCHEMA)
        if known is not None:
            database.execute(
                "INSERT INTO migration (attempt, direction, name, uuid, peer, was_running, stock, secret, flags,"
                " step, began, ended) VALUES ('a', 'out', 'g', ?, ?, 1, 0, '', 0, 'left', ?, ?)",
                (str(known), THERE, time.time(), time.time()),
            )
        database.execute("PRAGMA user_version = 1")
    database.close()
    journal = Journal(tmp_path / "j")
    await journal.open()
    await journal.believe("g", GUEST, "qemu+tcp://c:1/system")
    assert await journal.gone_to(GUEST) == ("qemu+tcp://c:1/system" if believed else "")
    await journal.close()


def test_what_is_over_here_is_not_away() -> None:
    assert {Step.LEFT} == MAY_HAVE_LEFT & OVER
