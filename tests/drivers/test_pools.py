"""Storage pools under two callers at once: each change is whole, on the list as on the disk."""

from __future__ import annotations

import asyncio
import json
import os
import random
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from uuid import UUID

import pytest

from culvert.domain import pool as pool_xml
from culvert.drivers.storage import pools, volumes
from culvert.drivers.storage.pools import Pool, Pools
from culvert.ground import errors
from tests.drivers.support import Gate, held

UUIDS = [f"11111111-2222-4333-8444-00000000000{number}" for number in range(3)]
PATIENCE = 20.0


def xml(name: str, folder: Path, uuid: str = UUIDS[0], more: str = "") -> str:
    return (
        f"<pool type='dir'><name>{name}</name><uuid>{uuid}</uuid><target><path>{folder}</path>{more}</target></pool>"
    )


async def loaded(folder: Path) -> Pools:
    """What the next daemon finds."""
    found = Pools(folder)
    await found.load()
    return found


def told(found: Pools) -> list[tuple[str, str, str, bool]]:
    """What of the pools is to be the same after a restart."""
    return [(one.name, str(one.uuid), one.kept.target.path, one.autostart) for one in found.all() if one.kept]


async def test_definitions_are_read_beside_the_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A text of megabytes is refused too, and nobody waits for that but who has sent it."""
    threads: list[str] = []
    parse = pool_xml.parse

    def watched(text: str) -> pool_xml.PoolDef:
        threads.append(threading.current_thread().name)
        return parse(text)

    monkeypatch.setattr(pool_xml, "parse", watched)
    found = Pools(tmp_path / "etc")
    await found.define(xml("p", tmp_path))
    await found.create(xml("p", tmp_path))
    assert [name.partition("_")[0] for name in threads] == ["apart", "apart"]


async def test_two_definitions_of_one_name_leave_one_pool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = Pools(tmp_path / "etc")
    with held(monkeypatch, "write_atomically") as gate:
        async with asyncio.TaskGroup() as tasks:
            first = tasks.create_task(kept.define(xml("p", tmp_path)), name="first")
            await gate.wait_reached()
            second = tasks.create_task(_refusal(kept.define(xml("p", tmp_path, UUIDS[1]))), name="second")
            third = tasks.create_task(_refusal(kept.define(xml("q", tmp_path / "x", UUIDS[0]))), name="third")
            fourth = tasks.create_task(_refusal(kept.create(xml("p", tmp_path, UUIDS[1]))), name="fourth")
            await asyncio.sleep(0)
            gate.opened.set()
    assert first.result() is kept.by_name("p")
    assert f"pool 'p' already exists with uuid {UUIDS[0]}" in second.result()
    assert f"pool 'p' is already defined with uuid {UUIDS[0]}" in third.result()
    assert "already exists" in fourth.result()
    assert told(await loaded(tmp_path / "etc")) == told(kept) == [("p", UUIDS[0], str(tmp_path), False)]


async def _refusal(work: Awaitable[object]) -> str:
    with pytest.raises(errors.RequestError) as refused:
        await work
    return str(refused.value)


async def test_a_pool_undefined_while_it_is_marked_stays_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = Pools(tmp_path / "etc")
    pool = await kept.define(xml("p", tmp_path))
    with held(monkeypatch, "write_atomically") as gate:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(kept.set_autostart(pool, True), name="mark")
            await gate.wait_reached()
            tasks.create_task(kept.undefine(pool), name="undefine")
            await asyncio.sleep(0)
            gate.opened.set()
    assert told(kept) == told(await loaded(tmp_path / "etc")) == []
    for late in (kept.set_autostart(pool, True), kept.start(pool), kept.stop(pool), kept.undefine(pool)):
        assert "no storage pool with matching uuid" in await _refusal(late)
    assert os.listdir(tmp_path / "etc") == []


async def test_a_definition_written_while_the_pool_is_stopped_is_not_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = Pools(tmp_path / "etc")
    pool = await kept.create(xml("p", tmp_path))
    assert not pool.persistent
    with held(monkeypatch, "write_atomically") as gate:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(kept.define(xml("p", tmp_path)), name="define")
            await gate.wait_reached()
            tasks.create_task(kept.stop(pool), name="stop")
            await asyncio.sleep(0)
            gate.opened.set()
    assert kept.by_name("p") is pool
    assert (pool.persistent, pool.active) == (True, False)
    assert told(await loaded(tmp_path / "etc")) == told(kept) == [("p", UUIDS[0], str(tmp_path), False)]


async def test_a_pool_that_is_starting_is_nobody_elses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = Pools(tmp_path / "etc")
    pool = await kept.define(xml("p", tmp_path))
    gate = Gate()
    monkeypatch.setattr(volumes, "find", gate.around(volumes.find))
    async with asyncio.TaskGroup() as tasks:
        starting = tasks.create_task(_refusal(kept.start(pool)), name="start")
        await gate.wait_reached()
        assert "is starting up" in await _refusal(kept.undefine(pool))
        assert "is already active" in await _refusal(kept.start(pool))
        assert "is not active" in await _refusal(kept.stop(pool))
        assert "already active as 'p'" in await _refusal(kept.create(xml("p", tmp_path)))
        await kept.set_autostart(pool, True)  # harms nobody, and waits for nobody
        starting.cancel()
        gate.opened.set()
    await kept.undefine(pool)  # a start that was cancelled has left it as it was
    assert kept.all() == []


async def test_what_a_cancelled_caller_has_begun_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = Pools(tmp_path / "etc")
    with held(monkeypatch, "write_atomically") as gate:
        async with asyncio.TaskGroup() as tasks:
            defining = tasks.create_task(kept.define(xml("p", tmp_path)), name="define")
            await gate.wait_reached()
            defining.cancel()
            gate.opened.set()
    assert told(await loaded(tmp_path / "etc")) == told(kept) == [("p", UUIDS[0], str(tmp_path), False)]


async def something(kept: Pools, chance: random.Random, folder: Path) -> None:
    """One call of some caller. Raises what is refused."""
    number = chance.randrange(3)
    text = xml(f"p{number}", folder / f"{number}", chance.choice((UUIDS[number], UUIDS[0])))
    pool = chance.choice(kept.all() or [Pool("gone", UUID(UUIDS[0]))])
    calls: list[Callable[[], Awaitable[object]]] = [
        lambda: kept.define(text),
        lambda: kept.create(text),
        lambda: kept.start(pool),
        lambda: kept.stop(pool),
        lambda: kept.undefine(pool),
        lambda: kept.set_autostart(pool, chance.random() < 0.5),
    ]
    await chance.choice(calls)()


@pytest.mark.parametrize("seed", range(20))
async def test_whatever_many_callers_do_the_disk_says_what_the_list_says(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    kept = Pools(tmp_path / "etc")
    for number in range(2):
        (tmp_path / f"{number}").mkdir()

    async def caller() -> None:
        for _ in range(15):
            try:
                await something(kept, chance, tmp_path)
            except errors.RequestError:
                continue  # refused: nothing of it may be left, which is what is looked at below

    async with asyncio.TaskGroup() as tasks:
        for number in range(6):
            tasks.create_task(caller(), name=f"caller-{number}")
    found = kept.all()
    assert len({one.name for one in found}) == len({one.uuid for one in found}) == len(found)
    assert all(one.active or one.persistent for one in found)
    assert told(await loaded(tmp_path / "etc")) == told(kept)


async def test_a_half_written_file_of_an_earlier_daemon_is_swept_away(tmp_path: Path) -> None:
    (tmp_path / ".abcdefgh.tmp").write_text("hal")
    await loaded(tmp_path)
    assert os.listdir(tmp_path) == []


async def test_a_definition_of_an_older_culvert_is_read(tmp_path: Path) -> None:
    old = {"name": "p", "uuid": UUIDS[0], "path": str(tmp_path), "autostart": True}
    (tmp_path / "p.json").write_text(json.dumps(old))
    pool = (await loaded(tmp_path)).by_name("p")
    assert (pool.active, pool.persistent, pool.path) == (True, True, str(tmp_path))


PERMISSIONS = "<permissions><mode>0700</mode><owner>-1</owner><group>4294967295</group><label>l</label></permissions>"


async def test_its_own_description_defines_it_again(tmp_path: Path) -> None:
    kept = Pools(tmp_path / "etc")
    (tmp_path / "p").mkdir(mode=0o750)
    pool = await kept.define(xml("p", tmp_path / "p", more=PERMISSIONS))
    text = pools.describe(pool, inactive=False)
    assert "<mode>0700</mode>" in text
    assert "<label>l</label>" in text
    assert await kept.define(text) is pool
    assert pools.describe((await loaded(tmp_path / "etc")).by_name("p"), inactive=False) == text
    await kept.start(pool)
    shown = pools.describe(pool, inactive=False)
    assert "<mode>0750</mode>" in shown
    assert pools.describe(pool, inactive=True) == text
    assert pool_xml.parse(shown).capacity is None


async def test_a_pool_that_ends_while_it_is_described(tmp_path: Path) -> None:
    kept = Pools(tmp_path / "etc")
    pool = await kept.create(xml("p", tmp_path))
    await kept.stop(pool)
    assert pools.space(pool) == (0, 0)
    for inactive in (False, True):
        with pytest.raises(errors.NoStoragePool):
            pools.describe(pool, inactive=inactive)


async def test_a_folder_is_made_as_its_permissions_say(tmp_path: Path) -> None:
    kept = Pools(tmp_path / "etc")
    pool = await kept.define(xml("p", tmp_path / "a" / "p", more=PERMISSIONS))
    await kept.build(pool)
    assert (tmp_path / "a" / "p").stat().st_mode & 0o7777 == 0o700
    (tmp_path / "a" / "p").chmod(0o755)
    await kept.build(pool)
    assert (tmp_path / "a" / "p").stat().st_mode & 0o7777 == 0o700
    plain = await kept.define(xml("q", tmp_path / "a", UUIDS[1]))
    before = (tmp_path / "a").stat().st_mode
    await kept.build(plain)
    assert (tmp_path / "a").stat().st_mode == before
