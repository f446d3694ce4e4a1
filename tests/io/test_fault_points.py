"""Held where it is armed, and nowhere else."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import pytest

from culvert.io import fault_points


async def test_without_a_folder_nothing_is_held(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[Path] = []
    monkeypatch.setattr(fault_points, "_hold", looked.append)
    monkeypatch.setattr(fault_points, "_FOLDER", None)
    await fault_points.reach("source", "after.begin3")
    assert looked == []
    monkeypatch.setattr(fault_points, "_FOLDER", Path("/armed"))
    await fault_points.reach("source", "after.begin3")
    assert looked == [Path("/armed/source.after.begin3")]


async def test_only_what_is_armed_is_held_until_it_is_not(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(fault_points, "_FOLDER", tmp_path)
    armed = tmp_path / "source.after.begin3"
    armed.touch()
    await fault_points.reach("destination", "after.begin3")
    await fault_points.reach("source", "after.perform3")
    assert await asyncio.to_thread(os.listdir, tmp_path) == [armed.name]
    async with asyncio.TaskGroup() as tasks, asyncio.timeout(20):
        held = tasks.create_task(fault_points.reach("source", "after.begin3"), name="held")
        reached = tmp_path / "source.after.begin3.reached"
        while not await asyncio.to_thread(reached.exists):  # noqa: ASYNC110 - made by a thread of the other task
            await asyncio.sleep(0.01)
        assert not held.done()
        armed.unlink()
        await held


async def test_it_is_not_held_for_ever(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(fault_points, "_FOLDER", tmp_path)
    monkeypatch.setattr(fault_points, "LONGEST", 0.1)
    (tmp_path / "source.x").touch()
    began = time.monotonic()
    await fault_points.reach("source", "x")
    assert time.monotonic() - began >= 0.1
    assert "held at source.x for 0.1 s: goes on" in caplog.text
    assert sorted(await asyncio.to_thread(os.listdir, tmp_path)) == ["source.x", "source.x.reached"]
