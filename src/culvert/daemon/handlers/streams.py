"""Streams that a user sees: the console in both directions, the picture of the screen; and the screen itself."""

from __future__ import annotations

import asyncio
import contextlib
import socket

from culvert.daemon.service import Service, no_flags
from culvert.drivers.qemu import screenshot, vnc
from culvert.drivers.qemu.console import Console, open_console
from culvert.ground import errors
from culvert.protocol import remote_domain
from culvert.rpc.answer import StreamBody
from culvert.rpc.dispatch import Handlers
from culvert.rpc.session import Session
from culvert.rpc.stream import Stream
from culvert.xdr.struct import Void

SKIP_AUTH = 1  # VIR_DOMAIN_OPEN_GRAPHICS_SKIPAUTH


class StreamHandlers:
    """Handlers of the stream group."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def register(self, handlers: Handlers) -> None:
        """The procedures served here."""
        handlers.add_stream(remote_domain.DOMAIN_OPEN_CONSOLE, self.open_console)
        handlers.add_stream(remote_domain.DOMAIN_SCREENSHOT, self.screenshot)
        handlers.add_passing(remote_domain.DOMAIN_OPEN_GRAPHICS_FD, self.open_graphics)

    async def open_console(
        self, session: Session, args: remote_domain.DomainOpenConsoleArgs
    ) -> tuple[Void, StreamBody]:
        console = await open_console(self._service.domain(args.dom), args.dev_name, args.flags)

        async def body(stream: Stream) -> None:
            await converse(stream, console)

        return Void(), body

    async def screenshot(
        self, session: Session, args: remote_domain.DomainScreenshotArgs
    ) -> tuple[remote_domain.ScreenshotRet, StreamBody]:
        no_flags(args.flags, "qemuDomainScreenshot")
        picture = await screenshot.take(self._service.domain(args.dom), args.screen)

        async def body(stream: Stream) -> None:
            with picture:
                while data := await picture.read():
                    await stream.send(data)

        return remote_domain.ScreenshotRet(picture.mime), body

    async def open_graphics(
        self, session: Session, args: remote_domain.DomainOpenGraphicsFDArgs
    ) -> tuple[Void, socket.socket]:
        no_flags(args.flags, "qemuDomainOpenGraphicsFD", SKIP_AUTH)
        domain = self._service.domain(args.dom)
        return Void(), await vnc.connect(domain, args.idx, skip_auth=bool(args.flags & SKIP_AUTH))


async def converse(stream: Stream, console: Console) -> None:
    """Pass bytes both ways until either side ends; the console is closed on return.

    The guest's side ends with end of data, the client's side with its finish. Raises what the stream raises.
    """

    async def typed() -> errors.RequestError | None:
        try:
            while data := await stream.recv():
                await console.write(data)
        except errors.RequestError as err:
            return err
        return None

    async def shown() -> errors.RequestError | None:
        try:
            while data := await console.read():
                await stream.send(data)
            await stream.send_eof()
        except errors.RequestError as err:
            return err
        return None

    with contextlib.closing(console):
        async with asyncio.TaskGroup() as tasks:
            both = [
                tasks.create_task(typed(), name=f"console {stream.name}: typed"),
                tasks.create_task(shown(), name=f"console {stream.name}: shown"),
            ]
            done, pending = await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            for task in pending:
                task.cancel()
    for task in done:
        if (error := task.result()) is not None:
            raise error
