"""Definitions are read, completed, compared and written beside the event loop, whatever is done with a domain."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from culvert.domain import abi, addresses, aliases, binding, xml
from culvert.drivers.qemu import description, hotplug, launch, power, save
from culvert.drivers.qemu.command import command
from culvert.drivers.qemu.driver import Driver, UndefineOptions
from culvert.io import apart
from culvert.protocol.constants_flag import XMLFlag
from culvert.protocol.constants_state import MetadataType
from tests.drivers.support import domain_xml, needs_qemu, running_driver

pytestmark = needs_qemu

# What takes longer the more there is in a definition.
LONG = (
    *((binding, "read"), (binding, "write"), (xml, "read"), (xml, "render")),
    *((addresses, "assign"), (addresses, "plug"), (abi, "check"), (aliases, "assign"), (aliases, "strip")),
    (command, "build"),
)

CARD = "<interface type='user'><mac address='52:54:00:00:00:{:02x}'/><model type='virtio'/></interface>"
AFFECT_LIVE, AFFECT_CONFIG = 1, 2


def on_the_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The names of what was done on the loop; everything else than that was done, too."""
    found: list[str] = []
    done: set[str] = set()

    def watched(name: str, work: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            (found.append if on_the_loop() else done.add)(name)
            return work(*args, **kwargs)

        return call

    for module, name in LONG:
        monkeypatch.setattr(module, name, watched(f"{module.__name__}.{name}", getattr(module, name)))
    yield found
    assert done, "nothing was watched"


async def test_a_definition_is_worked_on_beside_the_loop(tmp_path: Path, held: list[str]) -> None:
    async with running_driver(tmp_path) as driver:
        await _whole_life(driver, tmp_path / "image")
    assert held == []


async def _whole_life(driver: Driver, image: Path) -> None:
    text = domain_xml("g", CARD.format(1))
    domain = await driver.define_xml(text)
    await hotplug.attach(driver, domain, CARD.format(2), AFFECT_CONFIG)
    await hotplug.update(driver, domain, CARD.format(2), AFFECT_CONFIG, force=False)
    await hotplug.detach(driver, domain, CARD.format(2), AFFECT_CONFIG)
    await launch.start(domain)
    await hotplug.attach(driver, domain, CARD.format(3), AFFECT_LIVE)
    markup = "<a>b</a>"
    await description.change(domain, MetadataType.ELEMENT, AFFECT_CONFIG, text=markup, key="k", uri="urn:k")
    assert await description.get(domain, MetadataType.ELEMENT, "urn:k", AFFECT_CONFIG) == markup
    shown = await domain.xml(XMLFlag.MIGRATABLE)
    await domain.xml()
    await save.save(domain, image, xml=shown)
    await save.define(image, shown, running=None)
    await save.restore(driver, image)
    await save.managed_save(domain)
    await save.start(driver, domain)
    await power.destroy(domain)
    await driver.undefine(domain, UndefineOptions(managed_save=True))
    await driver.create_xml(text)


async def test_adopting_reads_beside_the_loop(tmp_path: Path, held: list[str]) -> None:
    async with running_driver(tmp_path, leave_guests=True) as driver:
        await driver.create_xml(domain_xml("g"))
    async with running_driver(tmp_path) as driver:
        assert driver.lookup_by_name("g").is_active
    assert held == []


async def test_the_loop_goes_round_while_a_big_definition_is_read(tmp_path: Path) -> None:
    """Other work gets its turns, and not only before and after."""
    cards = "".join(CARD.format(number % 256) for number in range(1500))
    async with running_driver(tmp_path) as driver, asyncio.TaskGroup() as tasks:
        reading = tasks.create_task(driver.read(domain_xml("g", cards)), name="reading")
        turns = 0
        while not reading.done():
            turns += 1
            await asyncio.sleep(0)
    assert len(reading.result().devices.interfaces) == 1500
    assert turns > 20


async def test_what_is_raised_apart_is_raised() -> None:
    with pytest.raises(ZeroDivisionError):
        await apart.run(lambda: 1 // 0)
