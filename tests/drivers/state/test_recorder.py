"""Status files follow the domains; nobody waits for them unless he asks to."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from pathlib import Path
from uuid import UUID

import pytest

from culvert.drivers.qemu.state.layout import Layout
from culvert.drivers.qemu.state.recorder import Recorder
from culvert.drivers.qemu.state.status import Status
from culvert.drivers.qemu.state.store import Store
from culvert.ground import errors
from tests.drivers.state.test_store import STATUS
from tests.drivers.support import eventually

FIXED = UUID(STATUS.uuid)


@dataclass
class One:
    current: Status | None
    name: str = "g"
    uuid: UUID = FIXED

    async def prepare_status(self) -> None:
        pass

    def status(self) -> Status | None:
        return self.current


@pytest.fixture
def files(tmp_path: Path) -> Store:
    layout = Layout.below(tmp_path)
    layout.make()
    return Store(layout)


async def test_persist_is_on_the_disk_on_return(files: Store) -> None:
    recorder, one = Recorder(files), One(STATUS)
    await recorder.persist(one)
    assert list(files.statuses()) == [("g", STATUS)]
    one.current = None
    await recorder.persist(one)
    assert list(files.statuses()) == []


async def test_changes_are_written_without_being_waited_for(files: Store) -> None:
    recorder, one = Recorder(files), One(STATUS)
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(recorder.run(), name="recorder")
        for number in range(100):
            one.current = replace(STATUS, reason=number)
            recorder.changed(one)
        async with asyncio.timeout(10):
            await eventually(lambda: [status.reason for _, status in files.statuses()] == [99])
        running.cancel()


async def test_the_last_of_many_writers_has_the_last_truth(files: Store) -> None:
    recorder, one = Recorder(files), One(STATUS)

    async def write(number: int) -> None:
        one.current = replace(STATUS, reason=number)
        await recorder.persist(one)

    await asyncio.gather(*(write(number) for number in range(20)))
    assert [status.reason for _, status in files.statuses()] == [19]


async def test_a_full_disk_is_told_to_who_asked_and_survived_by_who_did_not(files: Store) -> None:
    recorder, one = Recorder(files), One(replace(STATUS, name="x" * 300), name="x" * 300)
    with pytest.raises(errors.SystemCallError):
        await recorder.persist(one)
    recorder.changed(one)
    await recorder.flush()
