"""Tap devices; with a real bridge where the test may make one."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import subprocess
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from culvert.drivers.qemu import network, power
from culvert.ground import errors
from tests.drivers.support import domain_xml, needs_qemu, running_driver

MAC = "52:54:00:12:34:56"


async def _tap_or_skip(name: str | None = None, bridge: str | None = None) -> network.Tap:
    try:
        return await network.open_tap(name, mac=MAC, bridge=bridge)
    except errors.SystemCallError as err:
        pytest.skip(f"tap devices cannot be made here: {err.message}")


def _failed(argv: list[str]) -> bool:
    return subprocess.run(argv, capture_output=True, check=False).returncode != 0


@pytest.fixture
def bridge() -> Iterator[str]:
    name = f"cv{uuid.uuid4().hex[:8]}"
    ip = shutil.which("ip")
    if ip is None or _failed([ip, "link", "add", name, "type", "bridge"]):
        pytest.skip("bridges cannot be made here")
    try:
        yield name
    finally:
        subprocess.run([ip, "link", "delete", name], check=True)


async def test_a_tap_lives_as_long_as_its_descriptor() -> None:
    tap = await _tap_or_skip()
    place = Path("/sys/class/net", tap.name)
    try:
        assert tap.name.startswith(network.GENERATED)
        assert (place / "address").read_text().strip() == "fe" + MAC[2:]
        assert int((place / "flags").read_text(), 16) & network.IFF_UP
    finally:
        os.close(tap.fd)
    assert tap.name not in os.listdir("/sys/class/net")


async def test_a_kernel_that_keeps_it_waiting_holds_up_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits for rtnl waits in a thread; the device of a start that was called off meanwhile goes with it."""
    asked, let_go, closed = threading.Event(), threading.Event(), threading.Event()

    def ioctl(fd: int, request: int, argument: bytes) -> bytes:
        asked.set()
        let_go.wait(30)
        return argument

    def close(fd: int) -> None:
        closed.set()

    monkeypatch.setattr(network, "fcntl", SimpleNamespace(ioctl=ioctl))
    monkeypatch.setattr(network, "os", SimpleNamespace(**{**vars(os), "open": lambda *words: -1, "close": close}))
    async with asyncio.TaskGroup() as tasks:
        opening = tasks.create_task(network.open_tap("tap7", mac=MAC, bridge=None), name="opening")
        await asyncio.to_thread(asked.wait, 30)
        opening.cancel()
        let_go.set()
    assert opening.cancelled()
    assert closed.is_set()


async def test_a_tap_on_a_bridge(bridge: str) -> None:
    tap = await _tap_or_skip(f"t{uuid.uuid4().hex[:8]}", bridge)
    with contextlib.closing(os.fdopen(tap.fd, "rb", buffering=0)):
        assert os.path.basename(os.readlink(f"/sys/class/net/{tap.name}/master")) == bridge


@needs_qemu
async def test_a_guest_on_a_bridge(bridge: str, tmp_path: Path) -> None:
    os.close((await _tap_or_skip()).fd)
    card = f"<interface type='bridge'><source bridge='{bridge}'/><model type='virtio'/></interface>"
    async with running_driver(tmp_path) as driver:
        domain = await driver.create_xml(domain_xml("g", card))
        target = domain.definition.devices.interfaces[0].target
        assert target is not None
        assert target.dev in os.listdir(f"/sys/class/net/{bridge}/brif")
        await power.destroy(domain)
        assert target.dev not in os.listdir("/sys/class/net")
        with pytest.raises(errors.OperationFailed, match="no bridge 'absent0'"):
            await driver.create_xml(domain_xml("h", card.replace(bridge, "absent0")))
        assert driver.domains() == []


async def test_a_bridge_that_is_not_there() -> None:
    os.close((await _tap_or_skip()).fd)
    with pytest.raises(errors.OperationFailed, match="no bridge 'absent0'"):
        await network.open_tap(None, mac=MAC, bridge="absent0")


async def test_a_name_that_is_too_long() -> None:
    with pytest.raises(errors.InvalidArgument, match="longer than 15"):
        await network.open_tap("x" * 16, mac=MAC, bridge=None)
