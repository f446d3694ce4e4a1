"""What is kept of a domain under several callers at once: nothing is lost, nothing comes back, nothing half."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from culvert.drivers.qemu import autostart, description, launch, power, save, saved
from culvert.drivers.qemu.domain import Domain
from culvert.drivers.qemu.driver import Driver
from culvert.drivers.qemu.state.store import Store
from culvert.ground import errors
from culvert.protocol.constants_flag import AffectFlag
from culvert.protocol.constants_state import DomainState, MetadataType
from tests.drivers.support import Gate, domain_xml, eventually, held, needs_qemu, running_driver

pytestmark = needs_qemu

UUIDS = [f"11111111-2222-4333-8444-00000000000{number}" for number in range(3)]


async def mark(domain: Domain) -> None:
    await autostart.set_autostart(domain, True)


async def retitle(domain: Domain, title: str = "new") -> None:
    await description.change(domain, MetadataType.TITLE, AffectFlag.CONFIG, text=title, key=None, uri=None)


async def test_a_definition_is_not_lost_to_a_change_of_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_driver(tmp_path) as driver:
        domain = await driver.define_xml(domain_xml("g", uuid=UUIDS[0]))
        with held(monkeypatch, "write_atomically") as gate:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(driver.define_xml(domain_xml("g", uuid=UUIDS[0], memory=32)), name="define")
                await gate.wait_reached()
                tasks.create_task(retitle(domain, "new"), name="change")
                await asyncio.sleep(0)
                gate.opened.set()
        assert (domain.definition.memory, domain.definition.title) == (32 * 1024, "new")
        before = await domain.xml()
    async with running_driver(tmp_path) as driver:
        assert await driver.lookup_by_name("g").xml() == before


async def test_what_is_undefined_stays_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number, change in enumerate((mark, retitle)):
        async with running_driver(tmp_path) as driver:
            domain = await driver.define_xml(domain_xml("g", uuid=UUIDS[number]))
            gate = Gate()
            with monkeypatch.context() as patch:
                for name in ("set_autostart", "save_definition"):
                    patch.setattr(driver.host.store, name, gate.around(getattr(driver.host.store, name)))
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(change(domain), name="change")
                    await gate.wait_reached()
                    tasks.create_task(driver.undefine(domain), name="undefine")
                    await asyncio.sleep(0)
                    gate.opened.set()
            assert driver.domains() == []
            assert list(driver.layout.definitions.rglob("*.xml")) == []
            with pytest.raises(errors.OperationInvalid, match="transient"):
                await change(domain)


async def test_a_start_that_waited_while_its_domain_was_undefined(tmp_path: Path) -> None:
    async with running_driver(tmp_path) as driver:
        domain = await driver.define_xml(domain_xml("g"))
        async with asyncio.TaskGroup() as tasks, domain.lock:
            starting = tasks.create_task(_refused(launch.start(domain)), name="start")
            await asyncio.sleep(0)
            await driver.undefine(domain)
        assert isinstance(starting.result(), errors.NoDomain)
        assert not domain.is_active
        assert driver.domains() == []


async def _refused(work: Awaitable[object]) -> errors.RequestError:
    with pytest.raises(errors.RequestError) as refused:
        await work
    return refused.value


async def test_a_domain_undefined_while_it_starts_is_transient_and_on_the_list(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_driver(tmp_path) as driver:
        domain = await driver.define_xml(domain_xml("g"))
        gate = Gate()
        monkeypatch.setattr(Store, "save_status", gate.around(Store.save_status))
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(launch.start(domain), name="start")
            await gate.wait_reached()
            await driver.undefine(domain)
            gate.opened.set()
        assert driver.domains() == [domain]
        assert (domain.is_active, domain.is_persistent) == (True, False)
        await power.destroy(domain)
        assert driver.domains() == []


async def test_no_image_is_left_of_a_domain_that_was_undefined_while_it_was_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_driver(tmp_path) as driver:
        domain = await driver.define_xml(domain_xml("g"))
        await launch.start(domain)
        gate = Gate()
        monkeypatch.setattr(saved, "complete", gate.around(saved.complete))
        async with asyncio.TaskGroup() as tasks:
            saving = tasks.create_task(_refused(save.managed_save(domain)), name="save")
            await gate.wait_reached()
            await driver.undefine(domain)
            gate.opened.set()
        assert "was undefined while it was saved" in str(saving.result())
        assert os.listdir(driver.layout.managed_save("g").parent) == []
        async with asyncio.timeout(20):
            await eventually(lambda: domain.state is DomainState.RUNNING)


async def test_a_guest_that_ends_while_it_becomes_persistent_is_on_the_list(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_driver(tmp_path) as driver:
        domain = await driver.create_xml(domain_xml("g"))
        gate = Gate()
        monkeypatch.setattr(driver.host.store, "save_definition", gate.around(driver.host.store.save_definition))
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(domain.became_persistent(domain.definition), name="keep")
            await gate.wait_reached()
            await power.destroy(domain)
            gate.opened.set()
        assert driver.domains() == [domain]


async def test_a_domain_that_may_run_elsewhere_keeps_its_name(tmp_path: Path) -> None:
    def refuse(uuid: object) -> None:
        raise errors.OperationInvalid("its migration is not over")

    async with running_driver(tmp_path) as driver:
        domain = await driver.define_xml(domain_xml("g"))
        driver.host.may_start = refuse
        assert "is not over" in str(await _refused(driver.rename(domain, "h")))
        assert os.listdir(driver.layout.definitions) == ["g.xml"]


@pytest.mark.parametrize("seed", range(5))
async def test_whatever_many_callers_do_the_disk_says_what_the_list_says(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)

    async def caller(driver: Driver) -> None:
        for _ in range(10):
            try:
                await something(driver, chance)
            except errors.RequestError:
                continue  # refused: nothing of it may be left, which is what is looked at below

    async with running_driver(tmp_path) as driver:
        async with asyncio.TaskGroup() as tasks:
            for number in range(5):
                tasks.create_task(caller(driver), name=f"caller-{number}")
        assert all(one.is_persistent for one in driver.domains())
        before = [(one.name, await one.xml(), one.autostart, one.autostart_once) for one in driver.domains()]
        assert driver.host.store.autostarts() == {one.name for one in driver.domains() if one.autostart}
        assert driver.host.store.autostarts(once=True) == {one.name for one in driver.domains() if one.autostart_once}
    async with running_driver(tmp_path) as driver:
        assert [(one.name, await one.xml(), one.autostart, one.autostart_once) for one in driver.domains()] == before


async def something(driver: Driver, chance: random.Random) -> None:
    """One call of some caller. Raises what is refused."""
    number = chance.randrange(3)
    text = domain_xml(f"g{number}", uuid=chance.choice((UUIDS[number], UUIDS[0])), memory=chance.randrange(16, 64))
    listed = driver.domains()
    if not listed:
        await driver.define_xml(text)
        return
    domain = chance.choice(listed)
    calls: list[Callable[[], Awaitable[object]]] = [
        lambda: driver.define_xml(text),
        lambda: driver.undefine(domain),
        lambda: autostart.set_autostart(domain, chance.random() < 0.5),
        lambda: autostart.set_autostart(domain, chance.random() < 0.5, once=True),
        lambda: retitle(domain, str(chance.random())),
        lambda: driver.rename(domain, f"g{chance.randrange(4)}"),
    ]
    await chance.choice(calls)()
