"""The console byte path with a real guest behind it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from culvert.drivers.qemu import power
from culvert.drivers.qemu.console import open_console
from culvert.ground import errors
from culvert.protocol.constants_flag import ConsoleFlag
from tests.drivers.support import (
    PATIENCE,
    SERIAL_PTY,
    booted,
    domain_xml,
    echo_disk,
    needs_qemu,
    read_until,
    running_driver,
)

pytestmark = needs_qemu


@pytest.mark.parametrize("kind", ["pty", "unix"])
async def test_bytes_both_ways(tmp_path: Path, kind: str) -> None:
    serial = (
        SERIAL_PTY if kind == "pty" else f"<serial type='unix'><source mode='bind' path='{tmp_path}/s'/></serial>"
    )
    async with running_driver(tmp_path) as driver:
        domain = await driver.create_xml(domain_xml("g", serial + echo_disk(tmp_path)), paused=True)
        console = await booted(domain)
        await console.write(b"hello\x00\xff\r\n\x03\x04")
        assert await read_until(console, b"\x04") == b"hello\x00\xff\r\n\x03\x04"
        console.close()
        console.close()
        assert await console.read() == b""
        with pytest.raises(errors.StreamFailed, match="over"):
            await console.write(b"x")


async def test_a_second_session_is_refused_or_takes_over(tmp_path: Path) -> None:
    async with running_driver(tmp_path) as driver:
        domain = await driver.create_xml(domain_xml("g", SERIAL_PTY))
        first = await open_console(domain)
        with pytest.raises(errors.OperationFailed, match="Active console session"):
            await open_console(domain)
        async with asyncio.TaskGroup() as tasks:
            waiting = tasks.create_task(first.read(), name="read")
            await asyncio.sleep(0)
            second = await open_console(domain, "serial0", ConsoleFlag.FORCE | ConsoleFlag.SAFE)
        assert waiting.result() == b""
        assert first.closed
        first.close()
        with pytest.raises(errors.OperationFailed, match="Active console session"):
            await open_console(domain)  # closing the one that lost does not end the one that won
        second.close()
        (await open_console(domain)).close()


async def test_it_ends_with_the_guest(tmp_path: Path) -> None:
    async with running_driver(tmp_path) as driver:
        domain = await driver.create_xml(domain_xml("g", SERIAL_PTY))
        console = await open_console(domain)
        async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as tasks:
            waiting = tasks.create_task(console.read(), name="read")
            await asyncio.sleep(0)
            await power.destroy(domain)
        assert waiting.result() == b""


async def test_a_guest_that_does_not_take_it_stops_the_writer(tmp_path: Path) -> None:
    async with running_driver(tmp_path) as driver:
        domain = await driver.create_xml(domain_xml("g", SERIAL_PTY), paused=True)
        console = await open_console(domain)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await console.write(bytes(1024 * 1024))
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(_write_until_over(console.write), name="write")
            await asyncio.sleep(0)
            console.close()


async def _write_until_over(write: object) -> None:
    assert callable(write)
    with pytest.raises(errors.StreamFailed):
        await write(bytes(1024 * 1024))


async def test_devices_that_cannot_be_opened(tmp_path: Path) -> None:
    async with running_driver(tmp_path) as driver:
        file = f"<serial type='file'><source path='{tmp_path}/out'/></serial>"
        domain = await driver.create_xml(domain_xml("g", file))
        with pytest.raises(errors.OperationUnsupported, match="not using a PTY or UNIX socket"):
            await open_console(domain)
        with pytest.raises(errors.InvalidArgument, match="'serial7'"):
            await open_console(domain, "serial7")
        with pytest.raises(errors.InvalidArgument, match="flags"):
            await open_console(domain, None, 4)
        bare = await driver.create_xml(domain_xml("bare"))
        with pytest.raises(errors.InvalidArgument, match="no console or serial device"):
            await open_console(bare)
