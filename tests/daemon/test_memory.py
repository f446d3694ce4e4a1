"""Memory goes back to the host."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Iterator

import pytest

from culvert.daemon import memory
from culvert.ground.units import MiB


class Ring:
    """Something large that refers to itself."""

    def __init__(self) -> None:
        self.buffer = bytearray(b"x") * (256 * MiB)
        self.ring = self


@pytest.fixture
def quiet() -> Iterator[None]:
    """Nobody else looks for garbage."""
    gc.disable()
    yield
    gc.enable()


@pytest.mark.parametrize(("resident", "floor", "worth"), [(100, 100, False), (105, 100, False), (106, 100, True)])
def test_when_it_is_worth_a_look(resident: int, floor: int, worth: bool) -> None:
    assert memory.worth_it(resident, floor) is worth


async def test_while_guests_move_nobody_looks(quiet: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "PERIOD", 0.0)
    monkeypatch.setattr(memory, "GROWTH", 0.0)
    asked: list[int] = []

    def under_way() -> int:
        asked.append(1)
        return len(asked) < 100

    async with asyncio.TaskGroup() as tasks:
        keeper = tasks.create_task(memory.give_back(under_way), name="memory")
        await asyncio.sleep(0)
        there = weakref.ref(Ring())
        while len(asked) < 99:
            assert there() is not None
            await asyncio.sleep(0)
        async with asyncio.timeout(30):
            while there() is not None:  # noqa: ASYNC110  what is waited for is not an event
                await asyncio.sleep(0)
        keeper.cancel()


async def test_what_refers_to_itself_is_given_back(quiet: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "PERIOD", 0.01)
    async with asyncio.TaskGroup() as tasks:
        keeper = tasks.create_task(memory.give_back(lambda: 0), name="memory")
        await asyncio.sleep(0)
        there = weakref.ref(Ring())
        full = memory.resident()
        async with asyncio.timeout(30):
            while there() is not None:  # noqa: ASYNC110  what is waited for is not an event
                await asyncio.sleep(0.01)
        assert full - memory.resident() > 200 * MiB // 4096
        keeper.cancel()
