"""Pictures of real screens."""

from __future__ import annotations

from pathlib import Path

import pytest

from culvert.drivers.qemu import screenshot
from culvert.ground import errors
from tests.drivers.support import domain_xml, needs_qemu, running_driver

pytestmark = needs_qemu

PNG = b"\x89PNG\r\n\x1a\n"
VGA = "<video><model type='vga'/></video>"


async def test_a_picture_is_taken_and_no_file_stays(tmp_path: Path) -> None:
    async with running_driver(tmp_path) as driver:
        domain = await driver.create_xml(domain_xml("g", video=VGA))
        runtime = domain.require_active().runtime
        before = sorted(path.name for path in runtime.iterdir())
        with await screenshot.take(domain) as picture:
            assert picture.mime == "image/png"
            assert sorted(path.name for path in runtime.iterdir()) == before
            content = b""
            while piece := await picture.read(1000):
                content += piece
        assert content.startswith(PNG)
        assert len(content) == picture.size
        picture.close()


async def test_screens_that_are_not_there(tmp_path: Path) -> None:
    async with running_driver(tmp_path) as driver:
        domain = await driver.create_xml(domain_xml("g", video=VGA))
        with pytest.raises(errors.InvalidArgument, match="no screen 1"):
            await screenshot.take(domain, 1)
        blind = await driver.create_xml(domain_xml("blind"))
        with pytest.raises(errors.OperationUnsupported, match="no screens"):
            await screenshot.take(blind)
