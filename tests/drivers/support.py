"""What the driver's tests share: where QEMU is, domain XML small enough to start in no time, a guest that answers."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import ParamSpec, TypeVar
from uuid import UUID

import pytest

from culvert.drivers.qemu import power
from culvert.drivers.qemu.console import Console, open_console
from culvert.drivers.qemu.domain import Domain
from culvert.drivers.qemu.driver import Driver
from culvert.drivers.qemu.events import DomainLifecycle
from culvert.drivers.qemu.state.layout import Layout
from culvert.ground import errors
from culvert.io import files
from culvert.protocol import constants_flag, constants_state

EMULATOR = os.environ.get("CULVERT_TEST_QEMU", "/usr/bin/qemu-system-x86_64")

needs_qemu = pytest.mark.skipif(not Path(EMULATOR).exists(), reason=f"{EMULATOR} is not installed")

HOST_UUID = UUID("99999999-2222-4333-8444-000000000001")
PATIENCE = 60.0  # seconds until a test gives up waiting; QEMU under TCG shares two cores with everything else

GREETING = b"!"
POWER_OFF, RESET = b"q", b"r"

# A boot sector that says "!" on the first serial port and then sends back every byte, except those two.
ECHO_GUEST = bytes.fromhex(
    "fa"  # cli
    "baf803 b021 ee"  # mov dx, 0x3f8; mov al, '!'; out dx, al
    "bafd03 ec a801 74fb"  # loop: mov dx, 0x3fd; wait: in al, dx; test al, 1; jz wait
    "baf803 ec"  # mov dx, 0x3f8; in al, dx
    "3c71 7416 3c72 741c"  # cmp al, 'q'; je off; cmp al, 'r'; je reset
    "88c4 bafd03 ec a820 74fb 88e0"  # mov ah, al; mov dx, 0x3fd; full: in al, dx; test al, 0x20; jz full; mov al, ah
    "baf803 ee ebda"  # mov dx, 0x3f8; out dx, al; jmp loop
    "ba0406 b80020 ef f4 ebfd"  # off: mov dx, 0x604 (PM1a_CNT); mov ax, 0x2000 (SLP_EN, S5); out dx, ax; hlt
    "b0fe e664 f4 ebfd"  # reset: mov al, 0xfe; out 0x64, al (pulse the reset line); hlt
)
SECTOR = 512
IMAGE = 1024 * 1024  # the BIOS does not boot a SATA disk of a few sectors
P = ParamSpec("P")
R = TypeVar("R")
SERIAL_PTY = "<serial type='pty'/>"


def echo_disk(place: Path) -> str:
    """The XML of a disk with the echo guest on it; the image is made in ``place``."""
    image = place / "echo.img"
    if not image.exists():
        image.write_bytes(ECHO_GUEST.ljust(SECTOR - 2, b"\0") + b"\x55\xaa" + bytes(IMAGE - SECTOR))
    return f"<disk type='file'><driver name='qemu' type='raw'/><source file='{image}'/><target dev='hda'/></disk>"


def domain_xml(
    name: str,
    devices: str = "",
    *,
    machine: str = "pc",
    uuid: str = "",
    memory: int = 16,
    extra: str = "",
    video: str = "<video><model type='none'/></video>",
) -> str:
    """A guest of ``memory`` MiB under TCG with nothing to boot but what ``devices`` bring."""
    return f"""
    <domain type='qemu'>
      <name>{name}</name>
      {f"<uuid>{uuid}</uuid>" if uuid else ""}
      <memory unit='MiB'>{memory}</memory>
      <os><type arch='x86_64' machine='{machine}'>hvm</type></os>
      <features><acpi/></features>
      {extra}
      <devices>
        <emulator>{EMULATOR}</emulator>
        <controller type='usb' model='none'/>
        <memballoon model='none'/>
        {video}
        {devices}
      </devices>
    </domain>
    """


class Heard:
    """The events of a driver, as (name of the event, detail), and how long it takes until one is there."""

    def __init__(self, driver: Driver) -> None:
        self.events: list[DomainLifecycle] = []
        driver.events.subscribe(self.events.append)

    @property
    def names(self) -> list[tuple[str, str]]:
        return [
            (
                constants_state.DomainEvent(one.event).name,
                constants_state.DETAILS[constants_state.DomainEvent(one.event)](one.detail).name,
            )
            for one in self.events
        ]

    async def until(self, *wanted: str) -> None:
        """Wait until an event with this name and detail has come."""
        async with asyncio.timeout(PATIENCE):
            await eventually(lambda: wanted in self.names)


@contextlib.asynccontextmanager
async def running_driver(root: Path, *, leave_guests: bool = False) -> AsyncIterator[Driver]:
    """A driver below ``root``; its guests are ended with it unless the test goes on with them."""
    async with Driver(Layout.below(root), HOST_UUID, emulator=EMULATOR, emulators=["*"]) as driver:
        try:
            yield driver
        except BaseException:
            await end_guests(driver)
            raise
        if not leave_guests:
            await end_guests(driver)


async def end_guests(driver: Driver) -> None:
    for domain in driver.domains(constants_flag.ListFlag.ACTIVE):
        with contextlib.suppress(errors.OperationInvalid):
            await power.destroy(domain)


async def booted(domain: Domain) -> Console:
    """The console of an echo guest that has been started paused and has now said hello.

    A pty drops what the guest says while nobody holds it, so it is opened first.
    """
    console = await open_console(domain)
    await power.resume(domain)
    await read_until(console, GREETING)
    return console


async def read_until(console: Console, wanted: bytes) -> bytes:
    """Read until ``wanted`` has come."""
    seen = b""
    async with asyncio.timeout(PATIENCE):
        while wanted not in seen:
            piece = await console.read()
            if not piece:
                raise EOFError(f"the console ended after {seen!r}")
            seen += piece
    return seen


async def eventually(condition: Callable[[], bool]) -> None:
    """Wait for something that tells nobody when it happens; the caller sets the deadline."""
    while not condition():  # noqa: ASYNC110 - that is what it is for
        await asyncio.sleep(0.01)


class Gate:
    """Holds the first call of a function in its thread until it is opened."""

    def __init__(self) -> None:
        self.reached, self.opened = threading.Event(), threading.Event()

    def around(self, work: Callable[P, R]) -> Callable[P, R]:
        def held(*args: P.args, **kwargs: P.kwargs) -> R:
            if not self.reached.is_set():
                self.reached.set()
                assert self.opened.wait(PATIENCE)
            return work(*args, **kwargs)

        return held

    async def wait_reached(self) -> None:
        async with asyncio.timeout(PATIENCE):
            await eventually(self.reached.is_set)


@contextlib.contextmanager
def held(monkeypatch: pytest.MonkeyPatch, function: str) -> Iterator[Gate]:
    """The first call of ``io.files.function`` from now on stands until the gate is opened."""
    gate = Gate()
    with monkeypatch.context() as patch:
        patch.setattr(files, function, gate.around(getattr(files, function)))
        try:
            yield gate
        finally:
            gate.opened.set()
