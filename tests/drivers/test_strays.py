"""A QEMU whose status cannot be read is left alone, and its domain is not started beside it."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from culvert.drivers.qemu.state.layout import Layout
from culvert.ground import errors
from tests.drivers.support import domain_xml, needs_qemu, running_driver
from tests.drivers.test_adoption import ended, process_of

pytestmark = needs_qemu

UUID = "55555555-2222-4333-8444-000000000001"


@pytest.mark.parametrize("broken", ["", "{}", "[", "gone"])
async def test_left_alone_named_and_not_started_again(tmp_path: Path, broken: str) -> None:
    layout = Layout.below(tmp_path)
    xml = domain_xml("g", uuid=UUID)
    async with running_driver(tmp_path, leave_guests=True) as driver:
        domain = await driver.create_xml(xml, paused=True)
        pid, runtime = process_of(domain).pid, domain.require_active().runtime
    if broken == "gone":
        layout.status("g").unlink()
    else:
        layout.status("g").write_text(broken)
    (layout.statuses / "domain-17-empty").mkdir()
    try:
        for _ in range(2):  # asking it does not keep its monitor from the next who asks
            async with running_driver(tmp_path) as driver:
                assert driver.domains() == []
                with pytest.raises(errors.OperationInvalid, match="end that one first"):
                    await driver.create_xml(xml)
                assert driver.domains() == []
                assert runtime.is_dir()
                os.kill(pid, 0)
                other = await driver.create_xml(domain_xml("other"))
                assert other.id > 17
    finally:
        os.kill(pid, signal.SIGKILL)
        await ended(pid)
    async with running_driver(tmp_path) as driver:
        await driver.create_xml(xml, paused=True)


async def test_one_that_ends_is_no_obstacle(tmp_path: Path) -> None:
    xml = domain_xml("g", uuid=UUID)
    async with running_driver(tmp_path, leave_guests=True) as driver:
        pid = process_of(await driver.create_xml(xml, paused=True)).pid
    Layout.below(tmp_path).status("g").unlink()
    async with running_driver(tmp_path) as driver:
        os.kill(pid, signal.SIGKILL)
        await ended(pid)
        domain = await driver.create_xml(xml, paused=True)
        assert str(domain.uuid) == UUID
