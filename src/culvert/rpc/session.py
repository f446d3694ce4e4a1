"""One client of the server: its calls, its streams, its events, its end.

Calls of one connection run at the same time, each in a task of its own, and are answered as they get ready. A call
keeps its slot until its answer is on its way; with all slots taken the connection is not read. A call that runs when
its connection ends is not cancelled: what it does concerns others too.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import socket
import time
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from culvert.ground import errors
from culvert.io import tls
from culvert.io.detached import Detached
from culvert.io.listener import Accepted
from culvert.io.tls_identity import Identity
from culvert.protocol.procedure import Message, Procedure
from culvert.rpc.answer import Answer, StreamBody, refusal
from culvert.rpc.connection import RpcConnection
from culvert.rpc.limits import RpcLimits
from culvert.rpc.programs import Index
from culvert.rpc.stream import Stream
from culvert.wire import events
from culvert.wire.keepalive import DEFAULT_COUNT, DEFAULT_INTERVAL
from culvert.wire.stream import Role, StreamState
from culvert.xdr.struct import encode

log = logging.getLogger(__name__)

M = TypeVar("M")


class Answerer(Protocol):
    """Who serves a session's calls: ``dispatch.Dispatcher``."""

    @property
    def index(self) -> Index:
        """The programs served."""

    async def answer(self, session: Session, call: events.CallReceived) -> Answer:
        """Serve ``call``. Raises nothing but cancellation: whatever goes wrong is the answer."""


class Session:
    """A client's connection, as handlers see it.

    ``id`` counts from 1 in each server; ``transport`` is "unix", "tcp" or "tls"; ``peer`` names the client for
    people; ``peer_uid`` is the kernel's word on a unix client; ``identity`` is what a tls client's certificate says,
    verified; ``local_address`` is where a client of the network came in, ``remote_address``
    where from; ``way`` is the kind of listener. Handlers set ``authenticated``, ``opened``,
    ``read_only`` and ``keepalive_wanted``; ``data`` is theirs to use.
    """

    def __init__(
        self,
        number: int,
        peer: Accepted,
        dispatcher: Answerer,
        limits: RpcLimits,
        *,
        authenticated: bool = True,
        keepalive: tuple[float, int] = (DEFAULT_INTERVAL, DEFAULT_COUNT),
    ) -> None:
        self.id = number
        self.transport = peer.transport
        self.peer = peer.name
        self.peer_uid = peer.uid
        self.local_address = peer.local_address
        self.remote_address = peer.remote_address
        self.identity: Identity | None = None
        self._security = peer.security
        self.authenticated = authenticated
        self.opened = False
        self.way = peer.way
        self.read_only = peer.read_only
        self.data: dict[str, Any] = {}
        self.calls = 0
        self.connection = RpcConnection(
            Role.SERVER, self, limits, peer=peer.name, maximum=min(limits.anonymous_packet, limits.packet)
        )
        self.on_known: Callable[[], object] | None = None
        self._dispatcher = dispatcher
        self._limits = limits
        self._keepalive = keepalive
        self._in_flight = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._streams = 0
        self._cut_short = False  # a stream has been ended because the server stops
        self._closing: asyncio.Task[Any] | None = None  # serves the call after whose answer the connection is closed
        self._greeted = asyncio.Event()
        self._callbacks: dict[int, Callable[[], object]] = {}
        self._callback_numbers = itertools.count()
        self._tasks: asyncio.TaskGroup | None = None

    def __repr__(self) -> str:
        return f"<Session {self.id} {self.transport} {self.peer}>"

    # For handlers.

    @property
    def anonymous(self) -> bool:
        """Whether nothing is known of the client yet: no call answered, or not authenticated."""
        return not self._greeted.is_set()

    @property
    def principal(self) -> str:
        """Who the client has proved to be: its certificate's name, or its user on this host; empty for nobody."""
        if self.identity is not None:
            return str(self.identity)
        return "" if self.peer_uid is None else f"uid {self.peer_uid}"

    @property
    def keepalive_wanted(self) -> bool:
        """Whether the client has asked for keepalive (feature 10)."""
        return self.connection.keepalive

    @keepalive_wanted.setter
    def keepalive_wanted(self, wanted: bool) -> None:
        if wanted:
            self.connection.start_keepalive(*self._keepalive)

    def post(self, row: Message[M], body: M) -> None:
        """Send an event now. Nothing happens when the connection is gone.

        A client that does not read its events is disconnected when ``limits.event_backlog`` bytes wait for it.
        """
        program = self._dispatcher.index.of(row)
        if self.connection.backlog > self._limits.event_backlog:
            self.connection.abort(f"the client does not read its events: {self.connection.backlog} bytes are waiting")
            return
        wire = self.connection.wire
        self.connection.write(wire.message(program.number, program.version, row.number, encode(body)))

    def on_close(self, callback: Callable[[], object]) -> Callable[[], None]:
        """Call ``callback`` once when the connection has ended; at once when it has ended already.

        Returns what takes that back; calling it later, or twice, does no harm.
        """
        if self.connection.closed.is_set():
            callback()
            return lambda: None
        number = next(self._callback_numbers)
        self._callbacks[number] = callback

        def take_back() -> None:
            self._callbacks.pop(number, None)

        return take_back

    def close_after_reply(self) -> None:
        """Close the connection when the answer to the call being served has been sent (CONNECT_CLOSE).

        To be called in the handler's own task: other calls' answers, which may be ready before, close nothing.
        """
        self._closing = asyncio.current_task()

    def detach(self) -> Detached:
        """This connection for somebody else, once the call being served is answered; see ``RpcConnection.detach``.

        The connection is closed here when the answer has been sent; ``on_close`` then says that the other one may
        write.
        """
        detached = self.connection.detach()
        self.close_after_reply()
        return detached

    async def idle(self) -> None:
        """Wait until no call is being served."""
        await self._idle.wait()

    def disconnect(self, reason: str) -> None:
        """Send what is written and close."""
        self.connection.close(reason)

    # For the server.

    async def run(self, sock: socket.socket) -> None:
        """Serve the client on ``sock`` until the connection has ended and every call and stream of it too.

        Cancelled: ends the calls and streams, sends what is written, closes. The socket is closed in every case.
        """
        started = time.monotonic()
        try:
            async with asyncio.TaskGroup() as tasks:
                self._tasks = tasks
                if await self._connected(sock):
                    tasks.create_task(self._greeting(), name=f"session {self.id} greeting")
                    await self.connection.closed.wait()
        finally:
            self._tasks = None
            if self._cut_short:
                # libvirt's client loses the error of a stream when the end of the connection comes right behind it,
                # and then waits for ever: it gets the time to close by itself.
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._limits.farewell):
                        await self.connection.closed.wait()
            await self.connection.end("the server is stopping")
            sock.close()
            log.info(
                'session close id=%d peer="%s" reason="%s" calls=%d received=%d sent=%d seconds=%.1f',
                *(self.id, self.peer, self.connection.reason, self.calls),
                *(self.connection.bytes_received, self.connection.bytes_sent, time.monotonic() - started),
            )

    async def _connected(self, sock: socket.socket) -> bool:
        """Join socket and connection, over TLS once the client is let in; false, and the reason kept, if not."""
        loop = asyncio.get_running_loop()
        if self._security is None:
            await loop.connect_accepted_socket(lambda: self.connection, sock)
            return True
        try:
            async with asyncio.timeout(self._limits.handshake):
                await tls.serve(sock, self.connection, self._security.context, self._admit)
        except TimeoutError:
            self.connection.abort(f"TLS handshake failed: not done in {self._limits.handshake:g} s")
        except errors.AuthenticationFailed as err:
            self.connection.abort(str(err))
        else:
            return True
        log.warning('session refused id=%d peer="%s" reason="%s"', self.id, self.peer, self.connection.reason)
        return False

    def _admit(self, identity: Identity | None) -> None:
        """Before the first call can come."""
        assert self._security is not None
        self._security.admit(identity)
        self.identity = identity
        log.info('session verified id=%d peer="%s" identity="%s"', self.id, self.peer, identity)

    async def _greeting(self) -> None:
        try:
            async with asyncio.timeout(self._limits.greeting):
                await self._greeted.wait()
        except TimeoutError:
            self.connection.abort(f"nothing asked, or not authenticated, in {self._limits.greeting:g} s")

    # For the connection.

    def on_event(self, event: events.CallReceived | events.ReplyReceived | events.MessageReceived) -> None:
        """A call has come."""
        assert isinstance(event, events.CallReceived)
        if self._tasks is None:
            return
        self._in_flight += 1
        self._idle.clear()
        if self._in_flight >= self._limits.calls_in_flight:
            self.connection.hold("calls in flight")
        name = f"session {self.id} call {event.program:#x}/{event.procedure} serial {event.serial}"
        self._tasks.create_task(self._serve(event), name=name)

    def on_lost(self, error: errors.ConnectionLost) -> None:
        """The connection is gone."""
        self._greeted.set()
        callbacks, self._callbacks = self._callbacks, {}
        for callback in callbacks.values():
            try:
                callback()
            except Exception:
                log.exception("close callback failed session=%d", self.id)

    async def _serve(self, call: events.CallReceived) -> None:
        try:
            answer = await self._answer(call)
            opened = False
            try:
                opened = await self._deliver(call, answer)
            finally:
                if answer.body is not None and not opened:
                    self._streams -= 1
        finally:
            self._in_flight -= 1
            if not self._in_flight:
                self._idle.set()
            self.connection.release("calls in flight")

    async def _deliver(self, call: events.CallReceived, answer: Answer) -> bool:
        """Write the answer in its turn; whether a stream is open by it. If it cannot be, what it would have opened or
        passed is let go of."""
        try:
            if answer.passed is not None:
                with answer.passed:
                    data = self.connection.wire.reply_passing(call, answer.payload)
                    await self.connection.send_passing(data, answer.passed.fileno())
                return False
            doubled = None
            with await self.connection.turn():
                if answer.body is not None and call.key in self.connection.wire.streams:
                    doubled = errors.RpcError(f"serial {call.serial} already names an open stream")
                self._reply(call, refusal(doubled) if doubled else answer)
            if doubled is None:
                return answer.body is not None
            await self._let_go(call, answer, doubled)
        except errors.ConnectionLost as err:
            log.debug("answer not wanted any more session=%d serial=%d", self.id, call.serial)
            await self._let_go(call, answer, err)
        return False

    async def _let_go(self, call: events.CallReceived, answer: Answer, error: errors.RequestError) -> None:
        """The body of a stream that never opened holds things all the same: it meets a stream that has failed."""
        if answer.body is None or answer.row is None:
            return
        stream = Stream(self.connection, call.key, answer.row.name, answer.row.stream, state=StreamState(Role.SERVER))
        stream.fail(error)
        try:
            async with asyncio.timeout(self._limits.stream_grace):
                await answer.body(stream)
        except (errors.RequestError, TimeoutError) as err:
            log.debug("stream never opened session=%d procedure=%s error=%s", self.id, answer.row.name, err)
        except Exception:
            log.exception("stream failed session=%d procedure=%s", self.id, answer.row.name)

    async def _answer(self, call: events.CallReceived) -> Answer:
        self.calls += 1
        if call.descriptors:
            return refusal(errors.OperationUnsupported("passing file descriptors is not supported"))
        answer = await self._dispatcher.answer(self, call)
        if self.authenticated and self.anonymous:
            self._greeted.set()
            self.connection.wire.maximum = self._limits.packet
            if self.on_known is not None:
                self.on_known()
        if answer.body is not None and self._streams >= self._limits.streams:
            return await self._refuse(call, answer, f"this connection has {self._streams} streams open already")
        if answer.body is not None:
            self._streams += 1  # from here on, or as many as there are calls in flight would pass together
        return answer

    async def _refuse(self, call: events.CallReceived, answer: Answer, why: str) -> Answer:
        error = errors.ResourceBusy(why)
        await self._let_go(call, answer, error)
        return refusal(error)

    def _reply(self, call: events.CallReceived, answer: Answer) -> None:
        """Write the answer and start its stream, in one go."""
        wire = self.connection.wire
        if answer.body is None:
            self.connection.write(wire.reply(call, answer.payload, ok=answer.ok))
        elif self._tasks is not None:
            assert answer.row is not None
            self.connection.write(wire.reply(call, answer.payload, stream=True))
            stream = Stream(self.connection, call.key, answer.row.name, answer.row.stream)
            name = f"session {self.id} stream {answer.row.name} serial {call.serial}"
            self._tasks.create_task(self._stream(stream, answer.row, answer.body), name=name)
        if self._closing is not None and self._closing is asyncio.current_task():
            self.connection.close("the client has closed the connection")

    async def _stream(self, stream: Stream, row: Procedure[Any, Any], body: StreamBody) -> None:
        """Run the body and end the stream as it ended."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(None) as grace:
                stream.on_failed = lambda: grace.reschedule(loop.time() + self._limits.stream_grace)
                try:
                    await body(stream)
                    await stream.conclude()
                finally:
                    stream.on_failed = None
        except errors.RequestError as err:
            log.debug("stream failed session=%d procedure=%s error=%s", self.id, row.name, err)
            stream.reject(err)
        except TimeoutError as err:
            if not grace.expired():
                log.exception("stream failed session=%d procedure=%s", self.id, row.name)
            stream.reject(errors.InternalError(f"internal error: {row.name}: {err or 'deadline passed'}"))
        except asyncio.CancelledError:
            stream.reject(errors.OperationAborted(f"{row.name}: the server is stopping"))
            self._cut_short = True
            raise
        except Exception as err:
            log.exception("stream failed session=%d procedure=%s", self.id, row.name)
            stream.reject(errors.InternalError(f"internal error: {row.name}: {err or type(err).__name__}"))
        else:
            stream.confirm()
        finally:
            self._streams -= 1
