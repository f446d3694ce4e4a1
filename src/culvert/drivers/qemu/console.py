"""The byte path to a guest's serial port or console: whatever QEMU put behind it, read and written the same way.

One session per domain: who comes second is refused, or takes over by force.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from pathlib import Path

from culvert.domain.chardev import Chardev
from culvert.drivers.qemu.domain import Domain
from culvert.ground import errors
from culvert.io import unix_sockets
from culvert.protocol.constants_flag import ConsoleFlag

KNOWN_FLAGS = int(ConsoleFlag.FORCE | ConsoleFlag.SAFE)


class Console:
    """An open console: raw bytes both ways. ``read`` and ``write`` may run at once, but only one of each."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @property
    def closed(self) -> bool:
        return self._over.done()

    async def read(self, limit: int = 65536) -> bytes:
        """What the guest has written, at most ``limit`` bytes; empty when the session is over. Safe to cancel."""
        while not self.closed:
            try:
                return os.read(self._fd, limit)
            except BlockingIOError:
                await self._ready(writing=False)
            except OSError as err:
                if err.errno == errno.EIO:  # pty(7): the other side has been closed
                    return b""
                raise errors.SystemCallError(
                    f"cannot read from the console: {err.strerror}", errno=err.errno
                ) from err
        return b""

    async def write(self, data: bytes | memoryview) -> None:
        """Give the guest ``data``; waits while QEMU does not take it. Cancelled, a part of it may have gone.

        Raises ``errors.StreamFailed`` when the session is over.
        """
        rest = memoryview(data)
        while rest:
            if self.closed:
                raise errors.StreamFailed("the console session is over")
            try:
                rest = rest[os.write(self._fd, rest) :]
            except BlockingIOError:
                await self._ready(writing=True)
            except OSError as err:
                raise errors.StreamFailed(f"cannot write to the console: {err.strerror}", errno=err.errno) from err

    def close(self) -> None:
        """End the session and wake who waits in it. Idempotent."""
        if not self._over.done():
            loop = asyncio.get_running_loop()
            loop.remove_reader(self._fd)
            loop.remove_writer(self._fd)
            os.close(self._fd)
            self._over.set_result(None)

    async def _ready(self, *, writing: bool) -> None:
        loop = asyncio.get_running_loop()
        ready: asyncio.Future[None] = loop.create_future()

        def wake(_: object = None) -> None:
            if not ready.done():
                ready.set_result(None)

        (loop.add_writer if writing else loop.add_reader)(self._fd, wake)
        self._over.add_done_callback(wake)
        try:
            await ready
        finally:
            self._over.remove_done_callback(wake)
            if not self.closed:
                (loop.remove_writer if writing else loop.remove_reader)(self._fd)


async def open_console(domain: Domain, device: str | None = None, flags: int = 0) -> Console:
    """Open ``device`` (an alias such as "serial0"), or the first console or serial port.

    ``flags`` are ``ConsoleFlag``: FORCE ends the session that is open; SAFE is always kept, sessions exclude each
    other. Raises ``errors.OperationInvalid`` when the guest does not run, ``errors.InvalidArgument`` for a device
    that is not there, ``errors.OperationUnsupported`` for one without a byte path (a file), and
    ``errors.OperationFailed`` when a session is open and FORCE is not given.
    """
    if flags & ~KNOWN_FLAGS:
        raise errors.InvalidArgument(f"unsupported flags (0x{flags:x}) in function qemuDomainOpenConsole")
    domain.require_active()
    chardev = _find(domain, device)
    path = chardev.source.path if chardev.source else None
    if chardev.type not in ("pty", "unix") or not path:
        raise errors.OperationUnsupported(
            f"character device '{chardev.alias}' of domain '{domain.name}' is not using a PTY or UNIX socket"
        )
    if domain.close_console is not None:
        if not flags & ConsoleFlag.FORCE:
            raise errors.OperationFailed(f"Active console session exists for this domain: '{domain.name}'")
        domain.close_console()
    try:
        fd = _open_pty(path) if chardev.type == "pty" else _open_socket(path)
    except OSError as err:
        raise errors.SystemCallError(
            f"cannot open character device '{chardev.alias}' of domain '{domain.name}' at '{path}': {err.strerror}",
            errno=err.errno,
        ) from err
    return _Exclusive(domain, fd)


class _Exclusive(Console):
    """A console that is the domain's one session until it is closed."""

    def __init__(self, domain: Domain, fd: int) -> None:
        super().__init__(fd)
        self._domain = domain
        domain.close_console = self._closer = self.close

    def close(self) -> None:
        super().close()
        if self._domain.close_console is self._closer:
            self._domain.close_console = None


def _find(domain: Domain, device: str | None) -> Chardev:
    devices = domain.definition.devices
    candidates: list[Chardev] = [*devices.consoles, *devices.serials]
    for candidate in candidates:
        if device is None or candidate.alias == device:
            return candidate
    raise errors.InvalidArgument(
        f"domain '{domain.name}' has no character device '{device}'"
        if device
        else f"domain '{domain.name}' has no console or serial device"
    )


def _open_pty(path: str) -> int:
    return os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)


def _open_socket(path: str) -> int:
    connected: socket.socket = unix_sockets.connect(Path(path))
    return connected.detach()
