"""The pump route: QEMU's socket here ⇄ one network connection at a time ⇄ a pump at the peer ⇄ QEMU's socket there.

::

    QEMU ──▶ socket ──recv_into──▶ Outgoing window ──sendmsg──▶ connection ──recvmsg_into──▶ Incoming ──send──▶ QEMU
                                   (kept for replay)    one port, TLS or not

QEMU's bytes go in frames that say which bytes they are, and are kept until the peer has acknowledged them. So a
connection may break at any byte: the channel waits for the next one to be attached, each side says how many bytes it
has received, the other replays exactly from there, and QEMU on neither side notices.

An acknowledgement says that the bytes are held in the peer's process for its QEMU (or by QEMU already): QEMU's socket
lives no longer than that process, so having written them into it would make them no safer. The acknowledgement of
the end says more: QEMU there has taken everything and reads end of file. Both ends acknowledged, the channel is over.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable
from typing import TypeVar, TypeVarTuple

from culvert.ground import errors
from culvert.io.detached import Detached
from culvert.tunnel.limits import ChannelLimits
from culvert.tunnel.qemu_end import QemuEnd
from culvert.tunnel.resumption import Resumption
from culvert.tunnel.statistics import PumpState, PumpStatistics
from culvert.tunnel.window import IncomingWindow, OutgoingWindow
from culvert.tunnel.worker import Worker

__all__ = ["ChannelLimits", "Pump", "PumpState", "PumpStatistics"]

_DEFAULT = ChannelLimits()
_LINGER = 2.0
T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class Pump:
    """One channel: QEMU's socket here and one network connection at a time; a thread of its own moves the bytes.

    ``qemu`` is this side's end of the connection to QEMU; the pump's to close. ``on_lost`` is called in the event
    loop each time the network connection has gone by itself while the channel is not over: then somebody attaches
    another one, or closes the pump. ``compression`` is "off", "auto" or "on"; ``errors.InvalidArgument`` for others.
    ``resumption``: QEMU takes up a post-copy by this channel (``Resumption``).

    Made and used in one event loop. ``statistics`` may be read at any time.
    """

    def __init__(
        self,
        name: str,
        qemu: socket.socket,
        limits: ChannelLimits = _DEFAULT,
        *,
        compression: str = "off",
        resumption: Resumption | None = None,
        on_lost: Callable[[errors.ConnectionLost], None],
    ) -> None:
        self.name = name
        self.statistics = PumpStatistics()
        self._on_lost = on_lost
        self._outcome: Exception | None = None
        self._over = asyncio.Event()
        self._ended = asyncio.Event()
        self._asked = 0  # questions under way
        self._unheard: errors.ConnectionLost | None = None  # may be stale once the question under way is answered
        self._loop = asyncio.get_running_loop()
        self._started = False
        qemu.setblocking(False)
        windows = OutgoingWindow(limits.window), IncomingWindow(limits.inbound)
        end = QemuEnd(qemu, *windows, self.statistics, resumption)
        self._worker = Worker(
            name, end, windows, limits=limits, compression=compression, statistics=self.statistics, tell=self
        )
        self._thread = threading.Thread(target=self._worker.run, name=name, daemon=True)

    def start(self) -> None:
        """Start the worker. Raises ``errors.InternalError`` when there is no thread to be had; then all is closed.

        A pump that is not started has to be closed.
        """
        try:
            self._thread.start()
        except RuntimeError as err:
            self._worker.abandon()
            raise errors.InternalError(f"channel {self.name}: no thread for its worker: {err}") from err
        self._started = True

    async def attach(self, connection: Detached, peer_received: int) -> None:
        """Go on over ``connection``, which is the pump's from now on whatever comes of this; one that is there
        already is closed. ``peer_received``: bytes of ours that the peer has, by its own word; the rest is replayed.

        Raises ``errors.InvalidStream`` when that is outside what can be replayed, and ``errors.OperationInvalid``
        when the channel is over; then nothing has changed but that ``connection`` is closed. For a channel that has
        ended well, a peer that did not hear of it is told so and no error is raised.
        """
        await self._ask(lambda: self._worker.attach(connection, peer_received))

    async def detach(self) -> int:
        """Drop the network connection there is, and say how many of the peer's bytes have been received: the number
        that the peer replays from. ``on_lost`` is not called for it. Any time, also when the channel is over."""
        return await self._ask(self._worker.detach)

    async def wait(self) -> None:
        """Wait until both directions have ended and everything is delivered and acknowledged.

        Raises ``errors.StreamFailed`` with the peer's reason when it gave up, ``errors.RpcError`` when it broke the
        protocol, ``errors.OperationAborted`` after ``abort``, and after ``close`` when the channel had not ended.
        """
        await self._over.wait()
        if self._outcome is not None:
            raise self._outcome

    def abort(self, reason: str) -> None:
        """Give the channel up: QEMU's socket is shut down, the peer is told the reason if it can be. Idempotent."""
        self._command(lambda: self._worker.abort(reason))

    def close(self, linger: float = _LINGER) -> None:
        """What QEMU has written, and its end, still goes out, and the other end is heard out, which else would take
        it for a lost connection: for at most ``linger`` seconds; then all is closed.

        Does not wait for it (see ``closed``). Idempotent.
        """
        self._command(lambda: self._worker.close(linger))

    async def closed(self) -> None:
        """Wait until the worker has ended and all descriptors are closed."""
        await self._ended.wait()
        if self._started:
            self._thread.join()  # that was its last word: it has nothing more to do

    def _command(self, command: Callable[[], None]) -> None:
        if self._started:
            self._worker.inbox.post(command)
        else:
            self._worker.abandon()

    async def _ask(self, question: Callable[[], T]) -> T:
        """Have ``question`` answered in the worker. Cancelled, it is asked all the same."""
        answer: asyncio.Future[T] = asyncio.get_running_loop().create_future()

        def ask() -> None:
            try:
                result = question()
            except Exception as err:
                self._in_loop(self._refused, answer, err)
            else:
                self._in_loop(self._answered, answer, result)

        self._asked += 1
        if not self._worker.inbox.post(ask):
            ask()  # the worker's thread has ended: nobody is in the way
        return await answer

    # What the worker tells, in its thread, and what then happens in the loop in the same order.

    def lost(self, error: errors.ConnectionLost) -> None:
        self._in_loop(self._heard_lost, error)

    def over(self, error: Exception | None) -> None:
        self._in_loop(self._heard_over, error)

    def ended(self) -> None:
        self._in_loop(self._ended.set)

    def _in_loop(self, function: Callable[[*Ts], None], *args: *Ts) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: there is nobody to tell
            self._loop.call_soon_threadsafe(function, *args)

    def _answered(self, answer: asyncio.Future[T], result: T) -> None:
        self._asked -= 1
        self._unheard = None  # whoever attached or detached since knows what came of that connection
        if not answer.done():
            answer.set_result(result)

    def _refused(self, answer: asyncio.Future[T], error: Exception) -> None:
        self._asked -= 1
        if not answer.done():
            answer.set_exception(error)
        if self._unheard is not None:
            self._heard_lost(self._unheard)

    def _heard_lost(self, error: errors.ConnectionLost) -> None:
        self._unheard = None
        if self._over.is_set():
            return
        if self._asked:
            self._unheard = error
        else:
            self._on_lost(error)

    def _heard_over(self, error: Exception | None) -> None:
        self._outcome = error
        self._over.set()
