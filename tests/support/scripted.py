"""A destination that speaks libvirt's protocol and knows nothing of culvert, and that fails on demand.

It is in the test's own process, in a thread with a loop of its own. It believes whatever it is sent: no QEMU runs
here, so a guest that "arrives" is gone. What it is for are the steps on which it does not do what it should.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import replace
from types import TracebackType
from typing import Any, Self
from uuid import UUID, uuid4

from culvert.ground import errors
from culvert.io.listener import listen_tcp
from culvert.migration.options import cookie
from culvert.protocol import (
    constants_migrate,
    remote,
    remote_connect,
    remote_domain,
    remote_migrate,
    shapes,
    typed_params,
    types,
)
from culvert.protocol.constants_state import DomainState, PausedReason, RunningReason
from culvert.protocol.typed_params import Value
from culvert.rpc.answer import StreamBody
from culvert.rpc.dispatch import Handlers
from culvert.rpc.server import Server
from culvert.rpc.session import Session
from culvert.rpc.stream import Stream
from culvert.xdr.struct import Void

STEPS = ("open", "features", "prepare", "stream", "xml", "finish")
LATE = 0.7  # seconds
AFTER = 1 << 20  # bytes of the stream after which it fails


class Scripted:
    """A context manager. ``fail(step, how)``: ``late``, ``error`` or ``dies`` the next time ``step`` comes.

    ``cancelled``: FINISH3 has been called with the word that it came to nothing. ``largest``: bytes of the largest
    piece of a stream. ``rewrite``: what it makes of the XML it was sent when it is asked for it. ``state``: what it
    says of the guest when it is asked, None: it knows no such domain.
    """

    def __init__(self) -> None:
        self.port = 0
        self.cancelled = False
        self.largest = 0
        self.state: tuple[int, int] | None = None
        self._faults: dict[str, str] = {}
        self.rewrite: Callable[[str], str] = lambda xml: xml
        self._xml = ""
        self._dname = ""
        self._uuid = UUID(int=0)
        self._host_uuid = uuid4()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="scripted", daemon=True)
        self._stop: asyncio.Event | None = None
        self._serving: Any = None

    def __enter__(self) -> Self:
        self._thread.start()
        self.revive()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    @property
    def uri(self) -> str:
        """How a source reaches it."""
        return f"qemu+tcp://127.0.0.1:{self.port}/system"

    def fail(self, step: str, how: str) -> None:
        """Once, the next time."""
        assert step in STEPS
        self._faults[step] = how

    def kill(self) -> None:
        """It is gone with all its connections. Idempotent."""
        if self._stop is not None:
            self._loop.call_soon_threadsafe(self._stop.set)
            self._serving.result(20)
            self._stop = None

    def revive(self) -> None:
        """It is there (again), on the same port."""
        ready = threading.Event()
        self._serving = asyncio.run_coroutine_threadsafe(self._serve(ready), self._loop)
        assert ready.wait(20)

    async def _serve(self, ready: threading.Event) -> None:
        stop = self._stop = asyncio.Event()
        async with Server([self._handlers()]) as server:
            for listener in await listen_tcp("127.0.0.1", self.port):
                server.listen(listener)
                assert listener.address is not None
                self.port = listener.address[1]
            ready.set()
            await stop.wait()
            for listener in server.listeners:
                listener.close()
            for session in list(server.sessions.values()):
                session.connection.abort("died")

    # ---- the steps -----------------------------------------------------------------------------------------------

    def _handlers(self) -> Handlers:
        handlers = Handlers(remote.PROGRAM)
        handlers.add(remote_connect.AUTH_LIST, self._auth_list)
        handlers.add(remote_connect.CONNECT_OPEN, self._open)
        handlers.add(remote_connect.CONNECT_CLOSE, self._close)
        handlers.add(remote_connect.CONNECT_SUPPORTS_FEATURE, self._feature)
        handlers.add_stream(remote_migrate.DOMAIN_MIGRATE_PREPARE_TUNNEL3_PARAMS, self._prepare)
        handlers.add(remote_domain.DOMAIN_GET_XML_DESC, self._get_xml)
        handlers.add(remote_domain.DOMAIN_GET_STATE, self._get_state)
        handlers.add(remote_migrate.DOMAIN_MIGRATE_FINISH3_PARAMS, self._finish)
        return handlers

    async def _step(self, name: str, session: Session) -> None:
        match self._faults.pop(name, ""):
            case "late":
                await asyncio.sleep(LATE)
            case "error":
                raise errors.OperationFailed(f"scripted error in {name}")
            case "dies":
                assert self._stop is not None
                self._stop.set()
                session.connection.abort("died")
                await asyncio.sleep(60)

    async def _auth_list(self, session: Session, args: Void) -> remote_connect.AuthListRet:
        return remote_connect.AuthListRet([0])

    async def _open(self, session: Session, args: remote_connect.ConnectOpenArgs) -> Void:
        await self._step("open", session)
        session.opened = True
        return Void()

    async def _close(self, session: Session, args: Void) -> Void:
        session.close_after_reply()
        return Void()

    async def _feature(self, session: Session, args: remote_connect.FeatureArgs) -> remote_connect.FeatureRet:
        await self._step("features", session)
        return remote_connect.FeatureRet(1)

    async def _prepare(
        self, session: Session, args: remote_migrate.Prepare3ParamsArgs
    ) -> tuple[shapes.CookieRet, StreamBody]:
        values: dict[str, Value] = dict(typed_params.decode(args.params, constants_migrate.MIGRATE_PARAMS))
        theirs = cookie.parse(args.cookie_in)
        self._xml, self._dname, self._uuid = str(values["destination_xml"]), theirs.name, theirs.uuid
        self.state = (DomainState.PAUSED, PausedReason.MIGRATION)
        await self._step("prepare", session)
        ours = replace(theirs, hostname="scripted", host_uuid=self._host_uuid, attempt="")

        async def body(stream: Stream) -> None:
            received = 0
            while data := await stream.recv():
                received += len(data)
                self.largest = max(self.largest, len(data))
                if received > AFTER:
                    await self._step("stream", session)

        return shapes.CookieRet(cookie.build(ours)), body

    async def _get_xml(self, session: Session, args: shapes.DomainFlagsArgs) -> shapes.XMLRet:
        await self._step("xml", session)
        return shapes.XMLRet(self.rewrite(self._xml))

    async def _get_state(self, session: Session, args: shapes.DomainFlagsArgs) -> remote_domain.DomainGetStateRet:
        if self.state is None:
            raise errors.NoDomain("Domain not found: scripted")
        return remote_domain.DomainGetStateRet(*self.state)

    async def _finish(self, session: Session, args: remote_migrate.Finish3ParamsArgs) -> shapes.DomainCookieRet:
        if args.cancelled:
            self.cancelled, self.state = True, None
            raise errors.MigrateFinishOk("migration is cancelled")
        await self._step("finish", session)
        self.state = (DomainState.RUNNING, RunningReason.MIGRATED)
        return shapes.DomainCookieRet(types.Domain(self._dname, self._uuid.bytes, 1), b"")
