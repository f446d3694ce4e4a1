"""Dumps of a guest that does not run, or whose QEMU ends half-way; real QEMU."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from culvert.drivers.qemu import dump
from culvert.drivers.qemu.monitor import Monitor
from culvert.ground import errors
from culvert.protocol.constants_flag import DumpFlag, DumpFormat
from tests.drivers.support import domain_xml, needs_qemu, running_driver

pytestmark = needs_qemu


@pytest.mark.parametrize(
    ("command", "flags"), [("dump-guest-memory", DumpFlag.MEMORY_ONLY), ("migrate", 0)], ids=["memory-only", "whole"]
)
async def test_a_qemu_that_ends_meanwhile_is_told_in_its_own_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, flags: int
) -> None:
    plain = Monitor.execute

    async def fatal(self: Monitor, name: str, *args: Any, **more: Any) -> Any:
        if name == command:
            assert process is not None
            os.kill(process.pid, signal.SIGKILL)
        return await plain(self, name, *args, **more)

    async with running_driver(tmp_path) as driver:
        domain = await driver.create_xml(domain_xml("g"))
        process = domain.require_active().process
        monkeypatch.setattr(Monitor, "execute", fatal)
        with pytest.raises(errors.OperationFailed, match=r"domain 'g': QEMU ended: .*unexpectedly closed"):
            await dump.dump(domain, tmp_path / "dump", DumpFormat.RAW, flags)
        await domain.exited.wait()
    assert not any("dump" in name for name in os.listdir(tmp_path))


async def test_a_guest_that_does_not_run_is_not_dumped(tmp_path: Path) -> None:
    """Not asked by virsh: one that is answered before it has begun to wait waits for ever (9.0, virshWatchJob)."""
    async with running_driver(tmp_path) as driver:
        domain = await driver.define_xml(domain_xml("g"))
        with pytest.raises(errors.OperationInvalid, match="domain is not running"):
            await dump.dump(domain, tmp_path / "dump", DumpFormat.RAW, 0)
    assert not any("dump" in name for name in os.listdir(tmp_path))
