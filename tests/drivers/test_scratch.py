"""Files that QEMU fills for a moment, and guests that end at that moment; real QEMU."""

from __future__ import annotations

import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from culvert.drivers.qemu import dump, screenshot
from culvert.drivers.qemu.domain import Domain
from culvert.ground import errors
from culvert.protocol.constants_flag import PeekFlag
from tests.drivers.support import domain_xml, needs_qemu, running_driver

pytestmark = needs_qemu


async def _peek(domain: Domain) -> object:
    return await dump.peek(domain, 0, 64, PeekFlag.PHYSICAL)


@pytest.mark.parametrize("ask", [screenshot.take, _peek], ids=["screenshot", "peek"])
async def test_a_guest_whose_folder_has_just_gone_does_not_run(
    tmp_path: Path, ask: Callable[[Domain], Awaitable[object]]
) -> None:
    async with running_driver(tmp_path) as driver:
        domain = await driver.create_xml(domain_xml("g", video="<video><model type='vga'/></video>"))
        shutil.rmtree(domain.require_active().runtime)  # as at its end, a moment before it is shut off
        with pytest.raises(errors.OperationInvalid, match="domain is not running: 'g'"):
            await ask(domain)


@pytest.mark.parametrize("ask", [screenshot.take, _peek], ids=["screenshot", "peek"])
async def test_a_folder_that_takes_no_file_is_told(
    tmp_path: Path, ask: Callable[[Domain], Awaitable[object]]
) -> None:
    async with running_driver(tmp_path) as driver:
        domain = await driver.create_xml(domain_xml("g", video="<video><model type='vga'/></video>"))
        runtime = domain.require_active().runtime
        runtime.rename(tmp_path / "aside")
        runtime.write_text("a file in its place")
        try:
            with pytest.raises(errors.SystemCallError, match="Not a directory"):
                await ask(domain)
        finally:
            runtime.unlink()
            (tmp_path / "aside").rename(runtime)
