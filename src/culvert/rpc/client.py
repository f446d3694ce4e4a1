"""A client of a daemon: calls, streams and events on one connection.

Nothing here runs in a task: replies and events are handled as they are read, and whoever waits is woken. So an
exception raised inside ``async with connect(...)`` comes out as it is.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from culvert.ground import errors
from culvert.ground import uri as uris
from culvert.ground.uri import ConnectionURI
from culvert.io import connector
from culvert.io.detached import Detached
from culvert.io.ssh import SshProcess
from culvert.io.tls_side import ClientSide
from culvert.protocol import errors as wire_errors
from culvert.protocol import remote_connect, types
from culvert.protocol.procedure import Message, Procedure, Program, StreamDirection
from culvert.rpc import programs as known
from culvert.rpc.connection import RpcConnection
from culvert.rpc.limits import RpcLimits
from culvert.rpc.stream import Stream
from culvert.wire import events
from culvert.wire.keepalive import DEFAULT_COUNT, DEFAULT_INTERVAL
from culvert.wire.stream import Role
from culvert.xdr.codec import XdrError
from culvert.xdr.struct import Void, decode, encode

log = logging.getLogger(__name__)

SSH_FAREWELL = 2.0  # seconds for ssh to end when its connection is closed; it does so by itself

A = TypeVar("A")
R = TypeVar("R")
M = TypeVar("M")

_Waiting = tuple[Procedure[Any, Any], "asyncio.Future[tuple[Any, Stream | None]]"]


class Client:
    """One connection to the daemon at ``uri``; made by ``connect``.

    ``closed`` is set when the connection is gone, whatever the reason; ``close_reason`` is that reason.
    """

    def __init__(
        self,
        uri: ConnectionURI,
        *,
        keepalive: tuple[float, int] = (DEFAULT_INTERVAL, DEFAULT_COUNT),
        limits: RpcLimits | None = None,
        programs: Sequence[Program] = known.KNOWN,
    ) -> None:
        self.uri = uri
        self.peer = connector.peer_name(uri)
        self.connection = RpcConnection(Role.CLIENT, self, limits or RpcLimits(), peer=self.peer)
        if uri.transport == "tcp":
            self.connection.unheard = " before it said anything: does it expect TLS on this port (qemu+tls)?"
        self._keepalive = keepalive
        self._index = known.Index(programs)
        self._waiting: dict[int, _Waiting] = {}
        self._subscribers: dict[int, list[Callable[[Any], object]]] = {}
        self._last: Procedure[Any, Any] | None = None
        self._ssh: SshProcess | None = None
        self._handed_over = False

    def __repr__(self) -> str:
        return f"<Client {self.uri} {self.close_reason or 'open'}>"

    @property
    def closed(self) -> asyncio.Event:
        """Set when the connection is gone."""
        return self.connection.closed

    @property
    def close_reason(self) -> str:
        """Why it is gone, or going; empty while it lives."""
        return self.connection.reason

    async def call(self, row: Procedure[A, R], args: A, timeout: float | None = None) -> R:
        """Call a procedure and wait for its result, by default as long as the row says.

        Raises ``errors.RemoteError`` with the daemon's refusal, ``errors.OperationTimeout`` after ``timeout``
        seconds, ``errors.ConnectionLost``, ``errors.RpcError`` for a result that cannot be read. After a timeout or
        cancellation the call may or may not be carried out; its late reply is dropped.
        """
        if row.stream is not StreamDirection.NONE:
            raise ValueError(f"{row.name} opens a stream: use open_stream()")
        ret, _ = await self._exchange(row, args, timeout)
        result: R = ret
        return result

    async def open_stream(self, row: Procedure[A, R], args: A, timeout: float | None = None) -> tuple[R, Stream]:
        """Call a procedure that opens a stream. Raises as ``call`` does; after a timeout or cancellation the stream
        of a late good reply is aborted."""
        if row.stream is StreamDirection.NONE:
            raise ValueError(f"{row.name} opens no stream: use call()")
        ret, stream = await self._exchange(row, args, timeout)
        assert stream is not None
        result: R = ret
        return result, stream

    def subscribe(self, row: Message[M], callback: Callable[[M], object]) -> Callable[[], None]:
        """Call ``callback`` with the body of every such event; it must not block. Answers what ends that."""
        self._index.of(row)
        callbacks = self._subscribers.setdefault(id(row), [])
        callbacks.append(callback)

        def unsubscribe() -> None:
            if callback in callbacks:
                callbacks.remove(callback)

        return unsubscribe

    def start_keepalive(self) -> None:
        """Ping from now on, as ``connect`` was told. Only for a daemon that has said it answers (feature 10)."""
        self.connection.start_keepalive(*self._keepalive)

    async def close(self, reason: str = "closed here") -> None:
        """Send what is written, close, and wait until it is closed. Whoever waits gets ``ConnectionLost``."""
        await self.connection.end(reason)

    async def turn_into(self, row: Procedure[A, R], args: A) -> tuple[R, Detached]:
        """The last call of this connection: after a good answer it is somebody else's. See ``RpcConnection.detach``.

        Raises as ``call`` does, and ``errors.InvalidStream`` when other calls wait on the connection.
        """
        self._last = row
        ret: R = await self.call(row, args)
        detached = self.connection.detach()
        self._handed_over = True
        try:
            await self.close("handed over")
        except BaseException:
            detached.sock.close()
            raise
        return ret, detached

    async def _exchange(
        self, row: Procedure[Any, Any], args: object, timeout: float | None
    ) -> tuple[Any, Stream | None]:
        program = self._index.of(row)
        payload = encode(args)
        seconds = row.wait.value if timeout is None else timeout
        future: asyncio.Future[tuple[Any, Stream | None]] = asyncio.get_running_loop().create_future()
        serial = None
        try:
            async with asyncio.timeout(seconds) as deadline:
                with await self.connection.turn():
                    opens = row.stream is not StreamDirection.NONE
                    wire = self.connection.wire
                    serial, data = wire.call(program.number, program.version, row.number, payload, stream=opens)
                    self._waiting[serial] = (row, future)
                    self.connection.write(data)
                return await future
        except TimeoutError:
            if not deadline.expired():
                raise
            raise errors.OperationTimeout(f"{row.name}: no answer from {self.peer} in {seconds:g} s") from None
        finally:
            if serial is not None:
                self._waiting.pop(serial, None)

    # A connection by ssh.

    def carried(self, ssh: SshProcess) -> None:
        """``ssh`` carries this connection."""
        self._ssh = ssh
        self.connection.last_words = lambda: ssh.words

    async def reach(self, seconds: float) -> None:
        """Whether a daemon is at the other end is known only when it has answered something: ask.

        Raises ``errors.SystemCallError`` with ssh's own words, ``errors.OperationTimeout``; a refusal is an answer.
        """
        try:
            await self.call(remote_connect.AUTH_LIST, Void(), timeout=seconds)
        except errors.RemoteError:
            return
        except errors.ConnectionLost:
            why = (self._ssh.words if self._ssh is not None else "") or "ssh has ended without a word"
            raise errors.SystemCallError(
                f"unable to connect to server at '{self.peer}' by ssh: {why}", errno=errno.ECONNRESET
            ) from None
        except errors.OperationTimeout:
            said = f" ({self._ssh.words})" if self._ssh is not None and self._ssh.words else ""
            raise errors.OperationTimeout(
                f"unable to connect to server at '{self.peer}' by ssh: no answer in {seconds:g} s{said}"
            ) from None

    async def see_off(self) -> None:
        """Wait a little for the end of what carries a connection that is closed and nobody else's."""
        if self._ssh is not None and not self._handed_over:
            await self._ssh.finish(SSH_FAREWELL)

    # For the connection.

    def on_event(self, event: events.CallReceived | events.ReplyReceived | events.MessageReceived) -> None:
        """A reply or a message has come."""
        if isinstance(event, events.ReplyReceived):
            self._reply(event)
        elif isinstance(event, events.MessageReceived):
            self._message(event)

    def on_lost(self, error: errors.ConnectionLost) -> None:
        """The connection is gone."""
        log.debug('connection closed peer="%s" reason="%s"', self.peer, self.close_reason)
        for _, future in self._waiting.values():
            if not future.done():
                future.set_exception(error)

    def _reply(self, event: events.ReplyReceived) -> None:
        waiting = self._waiting.pop(event.serial, None)
        if waiting is None or waiting[1].done():
            # The caller has gone. A stream that this reply opened is nobody's.
            if event.stream is not None:
                self.connection.write(self.connection.wire.stream_abort(event.stream))
            return
        row, future = waiting
        if row is self._last and event.ok:
            self.connection.hold("detached")  # what comes behind this answer is no packet any more
        # The stream is made first: when its result cannot be read it is dropped, and so aborted.
        stream = None if event.stream is None else Stream(self.connection, event.stream, row.name, row.stream)
        try:
            if event.ok:
                future.set_result((decode(row.ret, event.payload), stream))
            else:
                future.set_exception(wire_errors.from_wire(decode(types.Error, event.payload)))
        except XdrError as err:
            future.set_exception(errors.RpcError(f"{row.name}: the answer of {self.peer} cannot be read: {err}"))

    def _message(self, event: events.MessageReceived) -> None:
        program = self._index.get(event.program, event.version)
        row = program.messages.get(event.procedure) if program is not None else None
        if row is None:
            log.debug("message not known program=%#x procedure=%d", event.program, event.procedure)
            return
        callbacks = self._subscribers.get(id(row))
        if not callbacks:
            return
        try:
            body = decode(row.body, event.payload)
        except XdrError as err:
            log.warning("message not readable name=%s error=%s", row.name, err)
            return
        for callback in list(callbacks):
            try:
                callback(body)
            except Exception:
                log.exception("event callback failed name=%s", row.name)


@asynccontextmanager
async def connect(
    uri: ConnectionURI | str,
    *,
    timeout: float = connector.DEFAULT_TIMEOUT,
    keepalive: tuple[float, int] = (DEFAULT_INTERVAL, DEFAULT_COUNT),
    limits: RpcLimits | None = None,
    programs: Sequence[Program] = known.KNOWN,
    security: ClientSide | None = None,
) -> AsyncIterator[Client]:
    """A connection to the daemon at ``uri`` for the length of the block; ``prologue`` says the customary hello.

    ``security``: the certificates of a tls connection, by default those in the usual places.
    ``keepalive``: interval in seconds and count, used once ``start_keepalive`` is called. Raises what
    ``connector.connect`` raises. Afterwards everything is closed, and whoever still waits has been woken.
    """
    client = Client(
        uris.parse(uri) if isinstance(uri, str) else uri, keepalive=keepalive, limits=limits, programs=programs
    )
    began = time.monotonic()
    await connector.connect(
        client.uri, lambda: client.connection, timeout=timeout, security=security, carried=client.carried
    )
    try:
        if client.uri.transport == "ssh":
            await client.reach(max(timeout - (time.monotonic() - began), 0.0))
        yield client
    finally:
        try:
            await client.close()
        finally:
            await client.see_off()
