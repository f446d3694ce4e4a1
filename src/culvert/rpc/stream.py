"""A stream: bytes beside the calls of a connection, in both directions.

The contract, at either end:

- ``send`` waits while the other end does not take what was sent; ``recv`` gives bytes in order and ``b""`` at their
  end.
- The client ends a stream with ``finish``, a round trip that brings the other end's late errors, or with ``abort``.
  The server's end is the body of a handler (``answer.StreamBody``): its return ends the stream well, its exception
  with an error.
- A client's stream that is dropped, or left as a context manager, without ``finish`` is aborted.
- Whatever ends the stream otherwise is raised by every call that waits and by every later one:
  ``errors.ConnectionLost``, ``errors.StreamFailed`` when the other end aborted, ``errors.RemoteError`` with the
  other end's own error.

A received byte waits in a queue of at most ``limits.stream_queue`` bytes; when that is full the whole connection is
not read until half of it is consumed. A consumer that only calls, and never receives, stops its own calls so.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Self

from culvert.ground import errors
from culvert.protocol import errors as wire_errors
from culvert.protocol import types
from culvert.protocol.procedure import StreamDirection, Wait
from culvert.rpc.connection import RpcConnection
from culvert.rpc.limits import PACKET_OVERHEAD
from culvert.rpc.turns import Waiters
from culvert.wire import events
from culvert.wire.packet import LEGACY_PAYLOAD_MAX
from culvert.wire.stream import HalfState, Role, StreamKey, StreamState
from culvert.xdr.codec import XdrError
from culvert.xdr.struct import decode, encode

CHUNK = LEGACY_PAYLOAD_MAX
"""The largest payload sent: what every libvirt peer, however old, can take."""

_ABORT_WAIT = 10.0  # seconds for the other end to confirm an abort; nothing depends on the answer
_BREATH = 16  # packets sent in one go before other tasks get the processor


class Stream:
    """One end of a stream; see the module's text for the contract.

    ``bytes_received`` and ``bytes_sent`` count payload. Two tasks may send and receive at the same time; two tasks
    receiving at once are refused with ``errors.InvalidStream``.
    """

    def __init__(
        self,
        connection: RpcConnection,
        key: StreamKey,
        name: str,
        direction: StreamDirection,
        *,
        state: StreamState | None = None,
    ) -> None:
        """The end of the stream ``key``, which is open on ``connection``; ``name`` is its procedure's.

        ``state``: of a stream that is not, and that is failed at once.
        """
        self.name = name
        self.direction = direction
        self.bytes_received = 0
        self.bytes_sent = 0
        self.on_failed: Callable[[], object] | None = None
        self._connection = connection
        self._key = key
        self._state = connection.wire.streams[key] if state is None else state
        self._queue: deque[bytes] = deque()
        self._queued = 0
        self._ended = False  # nothing more will come into the queue, and that is well
        self._discarding = False
        self._overrun = False
        self._error: errors.RequestError | None = None
        self._receiver: asyncio.Future[None] | None = None
        self._senders: Waiters = set()
        self._over = asyncio.Event()  # nothing more will pass
        self._asked = asyncio.Event()  # server: the client has said finish or abort
        if state is None:
            connection.streams[key] = self

    def __repr__(self) -> str:
        return f"<Stream {self.name} serial={self._key.serial} send={self._state.send} receive={self._state.receive}>"

    # For everybody.

    @property
    def aborted(self) -> bool:
        """Server: the client has aborted."""
        return self._state.role is Role.SERVER and self._state.receive is HalfState.ABORTING

    async def send(self, data: bytes | bytearray | memoryview) -> None:
        """Send all of ``data``, waiting while the other end is slow. Sending nothing does nothing.

        It has not arrived when this returns; only the end of the stream tells that. Cancelling leaves whole packets
        of ``data`` sent and the rest not. ``data`` may be changed again afterwards.
        """
        view = memoryview(data).cast("B")
        for number, start in enumerate(range(0, len(view), CHUNK), 1):
            self._check()
            with await self._connection.turn(self._senders):
                self._check()
                chunk = view[start : start + CHUNK]
                header = self._connection.wire.stream_data(self._key, len(chunk))
                self._connection.write(header, chunk)
            self.bytes_sent += len(chunk)
            if number % _BREATH == 0:
                await asyncio.sleep(0)

    async def recv(self) -> bytes:
        """The next bytes, as they came in one packet; ``b""`` when the other end has sent all it will."""
        while not self._queue:
            self._check()
            if self._overrun:
                raise errors.StreamFailed(f"{self.name}: bytes that came after finish were not received in time")
            if self._ended:
                return b""
            if self._receiver is not None:
                raise errors.InvalidStream(f"{self.name}: another task is receiving from this stream")
            self._receiver = asyncio.get_running_loop().create_future()
            try:
                await self._receiver
            finally:
                self._receiver = None
        data = self._queue.popleft()
        self._charge(-len(data) - PACKET_OVERHEAD)
        return data

    async def abort(self) -> None:
        """End abnormally. The client waits a little for the server to confirm. Idempotent; raises nothing."""
        self.abort_now()
        if not self._over.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_ABORT_WAIT):
                    await self._over.wait()

    def abort_now(self) -> None:
        """Abort without waiting for the other end's answer."""
        if self._over.is_set():
            return
        error = errors.StreamFailed(f"{self.name}: stream aborted")
        if self._state.role is Role.SERVER:
            self.reject(error)
            return
        with contextlib.suppress(errors.InvalidStream):  # aborted before
            self._connection.write(self._connection.wire.stream_abort(self._key))
        self._fail(error)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._over.is_set():
            await self.abort()

    def __del__(self) -> None:
        # Only a client's stream can be forgotten: the server's is held by the task that runs its body.
        if not self._over.is_set() and self._state.role is Role.CLIENT and not self._connection.closed.is_set():
            self.abort_now()

    # For the client.

    async def finish(self, timeout: float = Wait.NORMAL.value) -> None:
        """Say that all is sent, and wait until the other end has consumed it.

        Raises what went wrong there, however late; ``errors.OperationTimeout`` after ``timeout`` seconds, and then,
        as after cancellation, the stream is aborted. Bytes still coming can be received by another task meanwhile.
        Doing it again after success does nothing.
        """
        if self._over.is_set() and self._error is None:
            return
        self._check()
        try:
            async with asyncio.timeout(timeout):
                with await self._connection.turn(self._senders):
                    self._check()
                    self._connection.write(self._connection.wire.stream_finish(self._key))
                self._discarding = True
                self._settle()
                await self._over.wait()
        except TimeoutError:
            self.abort_now()
            raise errors.OperationTimeout(
                f"{self.name}: finish of the stream not answered in {timeout:g} s"
            ) from None
        except asyncio.CancelledError:
            self.abort_now()
            raise
        self._check()

    # For the server.

    async def send_eof(self) -> None:
        """Tell the client that there is no more data; it may still send. Doing it again does nothing."""
        self._check()
        if self._state.send is HalfState.ENDED:
            return
        with await self._connection.turn(self._senders):
            self._check()
            self._connection.write(self._connection.wire.stream_end(self._key))

    async def conclude(self) -> None:
        """The body has returned: say end of data where data was expected, wait for the client's finish, confirm it.

        Raises ``errors.OperationTimeout`` when the client has said neither finish nor abort, and sent nothing, for
        ``limits.stream_end`` seconds.
        """
        if self._error is not None:
            return
        if self._state.send is HalfState.OPEN and (self.direction is not StreamDirection.WRITE or self.bytes_sent):
            await self.send_eof()
        self._discarding = True
        self._discard()
        heard = -1
        while not self._asked.is_set():
            if heard == self.bytes_received:
                limit = self._connection.limits.stream_end
                raise errors.OperationTimeout(f"{self.name}: the client has not finished the stream in {limit:g} s")
            heard = self.bytes_received
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._connection.limits.stream_end):
                    await self._asked.wait()
        self.confirm()

    def confirm(self) -> None:
        """Confirm the client's finish or abort, if it has said either and the connection lives."""
        if self._over.is_set() or not self._asked.is_set():
            return
        self._connection.write(self._connection.wire.stream_confirm(self._key))
        self._end()

    def reject(self, error: errors.RequestError) -> None:
        """End the stream with ``error``, which the client will raise; an abort of the client's is confirmed
        instead."""
        if self._over.is_set():
            return
        if self.aborted:
            self.confirm()
            return
        self._connection.write(self._connection.wire.stream_error(self._key, encode(wire_errors.to_wire(error))))
        self._fail(error)
        self._end()

    # For the connection.

    def data(self, payload: bytes) -> None:
        """Bytes have come."""
        self.bytes_received += len(payload)
        if self._discarding:
            if self._state.role is Role.SERVER or self._error is not None:
                return
            if self._queued > self._connection.limits.stream_queue:
                self._overrun = True
                return
        self._queue.append(payload)
        self._charge(len(payload) + PACKET_OVERHEAD)
        self._wake()

    def on_event(self, event: events.StreamEvent) -> None:
        """Something other than bytes has come."""
        match event:
            case events.StreamEnded() | events.StreamFinished():
                self._ended = True
                self._wake()
            case events.StreamError(_, payload):
                self._fail(_error_of(self.name, payload))
                self._end()
            case events.StreamAborted():
                self._fail(errors.StreamFailed(f"{self.name}: stream aborted by the other end"))
            case events.StreamConfirmed():
                self._end()
            case _:
                pass
        if isinstance(event, events.StreamFinished | events.StreamAborted):
            self._asked.set()

    def fail(self, error: errors.RequestError) -> None:
        """The connection is gone."""
        self._fail(error)
        self._asked.set()
        self._end()

    # Within.

    def _check(self) -> None:
        if self._error is not None:
            raise self._error.with_traceback(None)

    def _wake(self) -> None:
        if self._receiver is not None and not self._receiver.done():
            self._receiver.set_result(None)

    def _fail(self, error: errors.RequestError) -> None:
        """From here on every call raises ``error``; the first one given counts."""
        if self._error is not None or self._over.is_set():
            return
        self._error = error
        self._discarding = True
        self._discard()
        self._wake()
        for sender in list(self._senders):
            if not sender.done():
                sender.set_exception(error)
        if self.on_failed is not None:
            self.on_failed()

    def _end(self) -> None:
        """Nothing more will pass."""
        self._ended = True
        self._over.set()
        self._settle()
        self._wake()

    def _charge(self, size: int) -> None:
        self._queued += size
        self._connection.charge(size)
        self._settle()

    def _settle(self) -> None:
        """Hold the connection while the queue is full. A stream that is ending never does: its last answer must get
        through."""
        limit = self._connection.limits.stream_queue
        if self._queued > limit and not self._discarding:
            self._connection.hold(self._key)
        elif self._queued <= limit // 2 or self._discarding:
            self._connection.release(self._key)

    def _discard(self) -> None:
        self._queue.clear()
        size, self._queued = self._queued, 0
        self._connection.charge(-size)
        self._connection.release(self._key)


def _error_of(name: str, payload: bytes) -> errors.RequestError:
    if not payload:
        return errors.StreamFailed(f"{name}: stream aborted by the other end")
    try:
        return wire_errors.from_wire(decode(types.Error, payload))
    except XdrError as err:
        return errors.StreamFailed(f"{name}: the other end failed with an error that cannot be read: {err}")
