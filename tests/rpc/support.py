"""A little program of its own, a server for it, and ways to reach that."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated

from culvert.ground import errors
from culvert.ground.uri import ConnectionURI
from culvert.io.listener import Accepted, listen_tcp, listen_unix
from culvert.protocol.procedure import Message, Procedure, Program, StreamDirection, Wait
from culvert.protocol.types import Str, UInt
from culvert.rpc.answer import StreamBody
from culvert.rpc.client import Client, connect
from culvert.rpc.dispatch import Handlers
from culvert.rpc.limits import RpcLimits
from culvert.rpc.server import Server
from culvert.rpc.session import Session
from culvert.rpc.stream import Stream
from culvert.xdr import codec
from culvert.xdr.struct import Void, struct

Blob = Annotated[bytes, codec.Opaque(16 * 1024 * 1024)]


@struct
class Text:
    text: Str


@struct
class Bytes:
    data: Blob


@struct
class Size:
    size: UInt


ECHO = Procedure(1, "ECHO", Text, Text, before_open=True)
OPEN = Procedure(2, "OPEN", Void, Void, before_open=True)
LOGIN = Procedure(3, "LOGIN", Void, Void, before_auth=True)
CLOSE = Procedure(4, "CLOSE", Void, Void, before_open=True)
NEEDS_OPEN = Procedure(5, "NEEDS_OPEN", Void, Void, read_only=True)
MODIFY = Procedure(6, "MODIFY", Void, Void, before_open=True)
REFUSED = Procedure(7, "REFUSED", Text, Void, before_open=True)
BROKEN = Procedure(8, "BROKEN", Void, Void, before_open=True)
GATE = Procedure(9, "GATE", Void, Void, before_open=True, wait=Wait.NORMAL)
BLOB = Procedure(10, "BLOB", Size, Bytes, before_open=True)
POST = Procedure(11, "POST", Size, Void, before_open=True)
UNSERVED = Procedure(12, "UNSERVED", Void, Void, before_open=True)
KEEPALIVE = Procedure(13, "KEEPALIVE", Void, Void, before_open=True)
UPLOAD = Procedure(20, "UPLOAD", Text, Void, stream=StreamDirection.WRITE, before_open=True)
DOWNLOAD = Procedure(21, "DOWNLOAD", Size, Void, stream=StreamDirection.READ, before_open=True)
TALK = Procedure(22, "TALK", Void, Void, stream=StreamDirection.BOTH, before_open=True)
TICK = Message(100, "TICK", Bytes)

PROGRAM = Program(
    "TEST",
    0x7E57,
    1,
    [
        *(ECHO, OPEN, LOGIN, CLOSE, NEEDS_OPEN, MODIFY, REFUSED, BROKEN, GATE, BLOB, POST, UNSERVED, KEEPALIVE),
        *(UPLOAD, DOWNLOAD, TALK),
    ],
    [TICK],
)


def pattern(size: int, seed: int = 0) -> bytes:
    """``size`` bytes in which a lost, repeated or moved piece shows."""
    unit = b"".join((seed + number).to_bytes(4, "big") for number in range(min(size, 65536) // 4 + 1))
    return (unit * (size // len(unit) + 1))[:size]


class Service:
    """The handlers of ``PROGRAM``, and what the tests watch and turn."""

    def __init__(self) -> None:
        self.handlers = Handlers(PROGRAM)
        self.sessions: list[Session] = []
        self.gate = asyncio.Event()
        self.waiting = 0
        self.closing = 0
        self.close_gate = asyncio.Event()
        self.close_gate.set()
        self.read_gate = asyncio.Event()
        self.read_gate.set()
        self.received = bytearray()
        self.outcome: list[str] = []
        self.ended = asyncio.Event()
        self.events = 0
        add, add_stream = self.handlers.add, self.handlers.add_stream
        add(ECHO, self.echo)
        add(OPEN, self.open)
        add(LOGIN, self.login)
        add(CLOSE, self.close)
        add(NEEDS_OPEN, self.nothing)
        add(MODIFY, self.nothing)
        add(REFUSED, self.refused)
        add(BROKEN, self.broken)
        add(GATE, self.wait)
        add(BLOB, self.blob)
        add(POST, self.post)
        add(KEEPALIVE, self.keepalive)
        add_stream(UPLOAD, self.upload)
        add_stream(DOWNLOAD, self.download)
        add_stream(TALK, self.talk)

    async def echo(self, session: Session, args: Text) -> Text:
        if session not in self.sessions:
            self.sessions.append(session)
        return args

    async def open(self, session: Session, args: Void) -> Void:
        session.opened = True
        return args

    async def login(self, session: Session, args: Void) -> Void:
        session.authenticated = True
        return args

    async def close(self, session: Session, args: Void) -> Void:
        session.close_after_reply()
        self.closing += 1
        await self.close_gate.wait()
        return args

    async def nothing(self, session: Session, args: Void) -> Void:
        return args

    async def keepalive(self, session: Session, args: Void) -> Void:
        session.keepalive_wanted = True
        self.sessions.append(session)
        return args

    async def refused(self, session: Session, args: Text) -> Void:
        raise errors.NoDomain(args.text)

    async def broken(self, session: Session, args: Void) -> Void:
        raise KeyError("a bug")

    async def wait(self, session: Session, args: Void) -> Void:
        self.waiting += 1
        await self.gate.wait()
        return args

    async def blob(self, session: Session, args: Size) -> Bytes:
        return Bytes(bytes(args.size))

    async def post(self, session: Session, args: Size) -> Void:
        for _ in range(args.size):
            session.post(TICK, Bytes(bytes(1000)))
            self.events += 1
        return Void()

    async def upload(self, session: Session, args: Text) -> tuple[Void, StreamBody]:
        async def body(stream: Stream) -> None:
            try:
                while data := await stream.recv():
                    await self.read_gate.wait()
                    self.received += data
                    if args.text == "fail early":
                        raise errors.OperationFailed("disk full")
                if args.text == "fail late":
                    raise errors.OperationFailed("fsync failed")
                if args.text == "bug":
                    raise KeyError("a bug")
                if args.text == "hang":
                    self.waiting += 1
                    await asyncio.Event().wait()
                self.outcome.append("finished")
            except BaseException as err:
                self.outcome.append(f"{type(err).__name__}: {err}")
                raise
            finally:
                self.ended.set()

        if args.text == "refuse":
            raise errors.OperationInvalid("no upload now")
        return Void(), body

    async def download(self, session: Session, args: Size) -> tuple[Void, StreamBody]:
        async def body(stream: Stream) -> None:
            try:
                await stream.send(pattern(args.size))
                self.outcome.append("sent")
            except errors.RequestError as err:
                self.outcome.append(f"{type(err).__name__}: {err}")
                raise
            finally:
                self.ended.set()

        return Void(), body

    async def talk(self, session: Session, args: Void) -> tuple[Void, StreamBody]:
        async def body(stream: Stream) -> None:
            while data := await stream.recv():
                if data == b"fail":
                    raise errors.OperationFailed("told to fail")
                if data == b"abort":
                    await stream.abort()
                if data == b"bye":
                    return
                await stream.send(data)

        return Void(), body


@asynccontextmanager
async def serving(
    service: Service | Handlers | None = None,
    *,
    path: Path | None = None,
    limits: RpcLimits | None = None,
    authentication: bool = False,
    keepalive: tuple[float, int] = (5.0, 5),
) -> AsyncIterator[tuple[Server, ConnectionURI]]:
    """A server on a UNIX socket at ``path``, or on TCP without one, and its URI."""
    service = service or Service()
    handlers = service.handlers if isinstance(service, Service) else service
    async with Server([handlers], limits, authentication=authentication, keepalive=keepalive) as server:
        if path is not None:
            server.listen(await listen_unix(path))
            yield server, ConnectionURI("qemu", "unix", parameters={"socket": str(path)})
            return
        for listener in await listen_tcp("127.0.0.1", 0):
            server.listen(listener)
        address = server.listeners[0].address
        assert address is not None
        yield server, ConnectionURI("qemu", "tcp", host=address[0], port=address[1])


@asynccontextmanager
async def connected(
    service: Service | None = None, limits: RpcLimits | None = None, client_limits: RpcLimits | None = None
) -> AsyncIterator[tuple[Client, Server]]:
    """A client and a server joined by a socket pair."""
    service = service or Service()
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.setblocking(False)
    async with Server([service.handlers], limits) as server:
        server.serve(theirs, Accepted("unix", "pair"))
        client = Client(ConnectionURI("qemu", "unix"), programs=[PROGRAM], limits=client_limits)
        await asyncio.get_running_loop().create_unix_connection(lambda: client.connection, sock=ours)
        try:
            yield client, server
        finally:
            await client.close()


async def until(condition: object, seconds: float = 30) -> None:
    """Wait until ``condition()`` is true."""
    assert callable(condition)
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110  what is waited for is not an event
            await asyncio.sleep(0.005)


__all__ = ["Client", "connect"]
