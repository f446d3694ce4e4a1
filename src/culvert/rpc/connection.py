"""One connection alive: a socket's transport below, the sans-IO connection within, its streams and its keepalive.

Theory of operation. asyncio hands in received bytes; they go into ``wire.Connection``, and its events go to the
streams they are of, the rest to the ``ConnectionOwner`` (a client or a session), synchronously and in order. Whoever
cannot take more *holds* the connection: then nothing is read and nothing more is reported until the last hold is
released. Writers take a turn (``turns``), write, and pass it on, so neither direction ever holds more than its
stated limits.

There is one end: ``connection_lost``. It is called once, however the connection ends, and wakes everybody with
``errors.ConnectionLost``, whose text is the first reason given.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
from collections.abc import Callable
from typing import Protocol
from weakref import WeakValueDictionary

from culvert.ground import errors
from culvert.io.detached import Detached
from culvert.io.hangup import HangupWatch
from culvert.io.tls import TlsTransport
from culvert.rpc.limits import RpcLimits
from culvert.rpc.outbox import Outbox
from culvert.rpc.turns import Turns, Waiters
from culvert.wire import events
from culvert.wire.connection import Connection
from culvert.wire.keepalive import Keepalive, KeepaliveAction
from culvert.wire.stream import Role, StreamKey

log = logging.getLogger(__name__)

_DRAIN = 0.01  # seconds between two looks whether the socket has taken everything


class ConnectionOwner(Protocol):
    """Who a connection belongs to."""

    def on_event(self, event: events.CallReceived | events.ReplyReceived | events.MessageReceived) -> None:
        """Something came that is not of a stream."""

    def on_lost(self, error: errors.ConnectionLost) -> None:
        """The connection is gone; called once, after the streams have been told."""


class ConnectionStream(Protocol):
    """A stream as its connection sees it: ``stream.Stream``."""

    def data(self, payload: bytes) -> None:
        """Bytes have come."""

    def on_event(self, event: events.StreamEvent) -> None:
        """Something other than bytes has come."""

    def fail(self, error: errors.RequestError) -> None:
        """The connection is gone."""


class RpcConnection(asyncio.Protocol):
    """The shell around one ``wire.Connection``. ``peer`` names the other end in errors and logs.

    ``clock`` answers monotonic seconds; only keepalive reads it.
    """

    def __init__(
        self,
        role: Role,
        owner: ConnectionOwner,
        limits: RpcLimits,
        *,
        peer: str,
        maximum: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.wire = Connection(role, maximum=maximum or limits.packet)
        self.limits = limits
        self.peer = peer
        self.streams: WeakValueDictionary[StreamKey, ConnectionStream] = WeakValueDictionary()
        self.turns = Turns()
        self.closed = asyncio.Event()
        self.error: errors.ConnectionLost | None = None
        self.bytes_received = 0
        self.bytes_sent = 0
        self.unheard = ""
        """What is added to the reason when the other end closes without having said anything."""
        self.last_words: Callable[[], str] = lambda: ""
        """What carries the connection has said, where that is a program: added to the reason too."""
        self._owner = owner
        self._clock = clock
        self._transport: asyncio.Transport | None = None
        self._outbox: Outbox | None = None
        self._reason = ""
        self._holds: set[object] = set()
        self._watch: HangupWatch | None = None
        self._reporting = False
        self._queued = 0
        self._keepalive: Keepalive | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._farewell: asyncio.TimerHandle | None = None

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._outbox = Outbox(transport, self.turns)

    def data_received(self, data: bytes) -> None:
        self.bytes_received += len(data)
        if self._reason:
            return
        if self._keepalive is not None:
            self._keepalive.received(self._clock())
        self.wire.receive(data)
        self._report()

    def eof_received(self) -> None:
        self._because(self._hung_up_reason())
        if self._outbox is not None:  # asyncio closes now; who has only stopped sending may still read
            self._outbox.flush()

    def connection_lost(self, exc: Exception | None) -> None:
        self._because(f"connection failed: {exc}{self._told()}" if exc else self._hung_up_reason())
        for timer in (self._timer, self._farewell):
            if timer is not None:
                timer.cancel()
        self._timer = self._farewell = self._transport = self._outbox = None
        self._stop_watch()
        error = self.error = errors.ConnectionLost(f"connection to {self.peer} lost: {self._reason}")
        self.turns.close(error)
        for stream in list(self.streams.values()):
            stream.fail(error)
        self.closed.set()
        self._owner.on_lost(error)

    def _hung_up_reason(self) -> str:
        return f"the other end closed the connection{'' if self.bytes_received else self.unheard}{self._told()}"

    def _told(self) -> str:
        return f": {words}" if (words := self.last_words()) else ""

    def pause_writing(self) -> None:
        if self._outbox is not None:
            self._outbox.pause()

    def resume_writing(self) -> None:
        if self._outbox is not None:
            self._outbox.resume()

    # Reading.

    def hold(self, why: object) -> None:
        """Stop reading and reporting until ``release(why)``. Holding twice for one reason is once."""
        if not self._holds:
            if self._keepalive is not None:
                self._keepalive.hold(self._clock())
            if self._transport is not None and not self._transport.is_closing():
                self._transport.pause_reading()
                self._stop_watch()
                sock = self._transport.get_extra_info("socket")
                self._watch = HangupWatch(sock.fileno(), self._hung_up)
        self._holds.add(why)

    def release(self, why: object) -> None:
        """Take one reason not to read away; go on reading when it was the last."""
        if why not in self._holds:
            return
        self._holds.discard(why)
        if self._holds:
            return
        if self._keepalive is not None:
            self._keepalive.release(self._clock())
        self._report()
        if not self._holds and self._transport is not None and not self._transport.is_closing():
            self._stop_watch()
            self._transport.resume_reading()

    def _stop_watch(self) -> None:
        if self._watch is not None:
            self._watch.stop()
            self._watch = None

    def _hung_up(self) -> None:
        self.abort("the other end closed the connection before what it had sent was consumed")

    @property
    def held(self) -> bool:
        """Whether reading is stopped."""
        return bool(self._holds)

    def charge(self, size: int) -> None:
        """``size`` more bytes (fewer, when negative) wait for the consumers of streams."""
        self._queued += size
        if self._queued > self.limits.connection_queue:
            self.hold("all streams")
        elif self._queued <= self.limits.connection_queue // 2:
            self.release("all streams")

    def _report(self) -> None:
        """Pass on what has been received, until it is all passed on or somebody holds."""
        if self._reporting:
            return  # the loop below, further up the stack, goes on
        self._reporting = True
        try:
            while not self._holds and not self._reason:
                event = self.wire.next_event()
                if event is None:
                    return
                self._pass_on(event)
        except errors.ProtocolViolation as err:
            self.abort(f"protocol violation: {err}")
        finally:
            self._reporting = False

    def _pass_on(self, event: events.Event) -> None:
        match event:
            case events.StreamData(key, payload):
                stream = self.streams.get(key)
                if stream is not None:
                    stream.data(payload)
            case events.CallReceived() | events.ReplyReceived() | events.MessageReceived():
                self._owner.on_event(event)
            case events.PingReceived():
                # With the outgoing side full, what is queued there is sign of life enough.
                if self.turns.open:
                    self.write(self.wire.pong())
            case events.PongReceived():
                pass
            case _:
                stream = self.streams.get(event.key)
                if stream is not None:
                    stream.on_event(event)

    # Writing.

    async def turn(self, waiters: Waiters | None = None) -> Turns:
        """Wait for a turn to write; see ``Turns.take``. Raises ``errors.ConnectionLost``."""
        turn = await self.turns.take(waiters)
        if self._reason:
            raise self.error or errors.ConnectionLost(f"connection to {self.peer} lost: {self._reason}")
        return turn

    def write(self, *buffers: bytes | memoryview) -> None:
        """Write now, turn or not; nothing is written on a connection that is closing."""
        if self._outbox is None or self._reason:
            return
        self.bytes_sent += sum(map(len, buffers))
        # Joined here, as asyncio did itself before Python 3.12. Since then its writelines keeps the caller's memory,
        # which may be changed again, and in 3.13.5 it watches a socket that was lost a moment ago, so that the next
        # connection with that descriptor is not.
        self._outbox.write(buffers[0] if len(buffers) == 1 else b"".join(buffers))

    async def send(self, data: bytes) -> None:
        """Write ``data`` in its turn: all of it, or with an exception nothing."""
        with await self.turn():
            self.write(data)

    async def send_passing(self, data: bytes, descriptor: int) -> None:
        """Write ``data`` and right behind it, in a byte of its own, ``descriptor``: over a UNIX socket.

        Either both go out or nothing, or the connection is closed. Raises ``errors.ConnectionLost``, also when the
        other end reads nothing for ``limits.farewell`` seconds.
        """
        try:
            async with asyncio.timeout(self.limits.farewell):
                with await self.turn():
                    # asyncio has no word for "the buffer is empty"; it nearly always is.
                    while self.backlog or not self._pass(data, descriptor):  # noqa: ASYNC110
                        await asyncio.sleep(_DRAIN)
        except TimeoutError:
            self.abort("nothing was read, and a descriptor was to be passed")
        if self._reason:
            raise self.error or errors.ConnectionLost(f"connection to {self.peer} lost: {self._reason}")

    def _pass(self, data: bytes, descriptor: int) -> bool:
        """Both at once, past the transport, which has nothing to send; false while the socket is full."""
        if self._transport is None or self._reason:
            return True
        with socket.socket(fileno=os.dup(self._transport.get_extra_info("socket").fileno())) as sock:
            sock.setblocking(False)
            sent = 0
            try:
                sent = sock.send(data)
                if sent == len(data):
                    socket.send_fds(sock, [b"\0"], [descriptor])
                    self.bytes_sent += len(data) + 1
                    return True
            except BlockingIOError:
                if not sent:
                    return False
            except OSError as err:
                self.abort(f"connection failed: {err}")
                return True
        self.abort("a descriptor could not be passed: the socket filled up in the middle")
        return True

    @property
    def backlog(self) -> int:
        """Bytes written that the socket has not taken."""
        return self._outbox.size if self._outbox is not None else 0

    # The socket for somebody else.

    def detach(self) -> Detached:
        """The connection for somebody who goes on where RPC ends: another descriptor of its socket, its TLS state.

        Nothing is read here from now on; what is written still goes out, and the caller then closes it, which
        leaves the socket to the other one: until ``closed`` is set the other one must not write. Raises
        ``errors.InvalidStream`` when a call is waiting, or when keepalive could still write into the other's bytes,
        ``errors.SystemCallError`` when there is no descriptor to be had.
        """
        if self._transport is None or self._reason:
            raise errors.InvalidStream(f"connection to {self.peer} is closed")
        if self.wire.pending or self._keepalive is not None:
            raise errors.InvalidStream(f"connection to {self.peer} is in use and cannot become a data path")
        try:
            sock = socket.socket(fileno=os.dup(self._transport.get_extra_info("socket").fileno()))
        except OSError as err:
            raise errors.SystemCallError(
                f"connection to {self.peer} cannot become a data path: {err.strerror}", errno=err.errno
            ) from err
        self.hold("detached")
        if self._outbox is not None:
            self._outbox.flush()
        session = self._transport.detach() if isinstance(self._transport, TlsTransport) else None
        sock.setblocking(False)
        return Detached(sock, session, self.wire.rest())

    # Keepalive.

    @property
    def keepalive(self) -> bool:
        """Whether this end pings."""
        return self._keepalive is not None

    def start_keepalive(self, interval: float, count: int) -> None:
        """Ping from now on, and close a connection whose other end is silent. ``interval`` 0: never. Idempotent."""
        if self._keepalive is not None or interval <= 0 or self._reason:
            return
        now = self._clock()
        self._keepalive = Keepalive(interval, count, now)
        if self._holds:
            self._keepalive.hold(now)
        self._arm(now)

    def tick(self) -> None:
        """Do what keepalive has due now; called by a timer."""
        if self._keepalive is None or self._reason:
            return
        now = self._clock()
        match self._keepalive.tick(now):
            case KeepaliveAction.PING:
                self.write(self.wire.ping())
            case KeepaliveAction.PONG if self.turns.open:
                self.write(self.wire.pong())
            case KeepaliveAction.DEAD:
                self.abort(f"keepalive timeout: nothing heard for {self._keepalive.limit:g} s")
                return
            case _:
                pass
        self._arm(now)

    def _arm(self, now: float) -> None:
        assert self._keepalive is not None
        if self._timer is not None:
            self._timer.cancel()
        delay = max(self._keepalive.wake_at - now, 0.0)
        self._timer = asyncio.get_running_loop().call_later(delay, self.tick)

    # The end.

    def _because(self, reason: str) -> None:
        self._reason = self._reason or reason

    @property
    def reason(self) -> str:
        """Why the connection ended or is ending; empty while it lives."""
        return self._reason

    def close(self, reason: str) -> None:
        """Send what has been written, for at most ``limits.farewell`` seconds, then close. Idempotent."""
        if self._reason or self._transport is None:
            self._because(reason)
            return
        self._because(reason)
        if self._outbox is not None:
            self._outbox.flush()
        self._transport.close()
        loop = asyncio.get_running_loop()
        self._farewell = loop.call_later(self.limits.farewell, self._transport.abort)

    def abort(self, reason: str) -> None:
        """Close at once; what waits to be sent is lost. Idempotent."""
        self._because(reason)
        if self._transport is not None:
            self._transport.abort()

    async def end(self, reason: str) -> None:
        """Close and wait until it is closed; everything that waits on it has been woken then."""
        self.close(reason)
        if self._transport is not None:
            await self.closed.wait()
