"""The source's side of the pump route: one connection and one pump for every channel, mended when they break.

::

    QEMU ═ memory-main ══════ pump ═ connection ═ … ═ pump ═ memory-main ══════ QEMU
         ═ memory-multifd 1 ═ pump ═ connection ═ … ═ pump ═ memory-multifd 1 ═
         ⋮                                 the same port for all

All connections are opened before QEMU is told to begin, so that what stands in their way is known while nothing has
happened. A channel whose connection is lost gets another one within ``patience`` seconds; QEMU only feels a socket
that takes nothing for a while. Nobody waits for the channels at the end: with its return path QEMU itself knows that
all has been loaded, and what the pumps have still to say to each other they say while the guest goes on.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from culvert.channels.plan import Channel, ChannelPlan
from culvert.channels.route import Route
from culvert.channels.work import Done, begin, captured
from culvert.ground import errors
from culvert.hypervisor.setup import Entrance, Setup
from culvert.io import blocking, unix_sockets
from culvert.io.detached import Detached
from culvert.tunnel import relay
from culvert.tunnel.limits import ChannelLimits
from culvert.tunnel.pump import Pump

log = logging.getLogger(__name__)

Dial = Callable[[Channel, int], Awaitable[tuple[int, Detached]]]
"""(channel, bytes received on it) → (bytes the destination has received, a new connection for it)."""

SOCKET = "migrate-out.sock"
MEET_TIMEOUT = 30.0  # seconds for QEMU to connect a channel once it has been told to begin
DIAL_TIMEOUT = (
    2.0  # seconds for one try to open a lost connection anew: a try that began in the cut must not outlive it
)
DIAL_PAUSE = 0.2  # seconds between the tries


@dataclass(slots=True)
class _Tended:
    channel: Channel
    pump: Pump
    lost: asyncio.Event = field(default_factory=asyncio.Event)
    failure: errors.RequestError | None = None
    connected: asyncio.Event = field(default_factory=asyncio.Event)


class PumpPath:
    """``name`` is for logs and threads; ``directory`` is where QEMU meets the channels, when there are many;
    ``limits`` are each channel's; ``patience`` is how many seconds a channel may go without a connection."""

    route = Route.PUMP
    outlives_connection = True

    def __init__(
        self,
        name: str,
        dial: Dial,
        directory: Path,
        *,
        setup: Setup,
        compression: str,
        limits: ChannelLimits,
        patience: float,
    ) -> None:
        self.setup = setup
        self.plan = ChannelPlan.of(setup)
        self._name = name
        self._dial = dial
        self._limits = limits
        self._meeting = directory / SOCKET
        self._compression = compression
        self._opened: dict[Channel, Detached] = {}
        self._ours: socket.socket | None = None
        self._listener: socket.socket | None = None
        self._tended: dict[Channel, _Tended] = {}
        self._resources = contextlib.ExitStack()
        self._patience: float | None = patience

    @property
    def meter(self) -> relay.Meter:
        """The guest's bytes that the other end has been sent, in all channels."""
        return relay.Meter(sum(channel.pump.statistics.bytes_in for channel in self._tended.values()))

    @property
    def interruptions(self) -> int:
        """How often a connection was lost and opened anew."""
        return sum(max(0, channel.pump.statistics.connections - 1) for channel in self._tended.values())

    @property
    def is_whole(self) -> bool:
        """Whether every channel that QEMU has opened has its connection."""
        return all(tended.connected.is_set() for tended in self._tended.values())

    async def open(self) -> None:
        """Connect every channel, and make the socket where QEMU meets them when there are many. Raises why one cannot
        be, or ``OSError``; nothing is left open then."""
        try:
            for channel in self.plan:  # the first makes the destination's QEMU listen
                self._opened[channel] = (await self._dial(channel, 0))[1]
            if not self.plan.is_single:
                self._resources.callback(self._meeting.unlink, missing_ok=True)
                self._listener = await blocking.made(self._listen, undo=socket.socket.close)
        except BaseException:
            self.close()
            raise

    def entrance(self) -> AbstractContextManager[Entrance]:
        if self.plan.is_single:
            self._ours, theirs = relay.channel()
            return theirs
        where = self._resources.enter_context(unix_sockets.for_qemu(self._meeting))
        return contextlib.nullcontext(Path(where))

    def _listen(self) -> socket.socket:
        return unix_sockets.listen(self._meeting, backlog=len(self._opened))

    async def carry(self) -> None:
        tending: set[asyncio.Task[Done[None]]] = set()
        async with asyncio.TaskGroup() as tasks:
            meeting = begin(tasks, self._meet(), f"{self._name}: QEMU connects")
            try:
                error = (await meeting).error
                late = [channel for channel in self.plan if channel not in self.plan.at_once]
                works = [(each.channel, self._tend(each)) for each in self._tended.values()]
                works += [(channel, self._tend_late(channel)) for channel in late]
                tending = {begin(tasks, work, f"{self._name}: channel {channel}") for channel, work in works}
                # A late channel that QEMU never needed is not waited for.
                while len(tending) > len(works) - len(self._tended) and error is None:
                    done, tending = await asyncio.wait(tending, return_when=asyncio.FIRST_COMPLETED)
                    error = next((found for task in done if (found := task.result().error)), None)
            finally:
                for task in (meeting, *tending):
                    task.cancel()
        if error is not None:
            raise error

    async def _meet(self) -> None:
        """Join each channel's connection and QEMU's end of it, in the order in which QEMU opens them: main first."""
        for channel in self.plan.at_once:
            ours, self._ours = self._ours or await self._accept(MEET_TIMEOUT), None
            await self._join(channel, ours)

    async def _tend_late(self, channel: Channel) -> None:
        """A channel that QEMU may open only at the switch to post-copy: met, then tended."""
        await self._tend(await self._join(channel, await self._accept(None)))

    async def _join(self, channel: Channel, ours: socket.socket) -> _Tended:
        """Make ``channel`` of ``ours`` and of the connection opened for it."""
        pump = Pump(
            f"{self._name} channel {channel}",
            ours,
            self._limits,
            compression=self._compression,
            on_lost=partial(self._lost, channel),
        )
        tended = self._tended[channel] = _Tended(channel, pump)
        pump.start()
        await pump.attach(self._opened[channel], 0)
        tended.connected.set()
        return tended

    async def _accept(self, seconds: float | None) -> socket.socket:
        assert self._listener is not None, "QEMU has been told where"
        try:
            async with asyncio.timeout(seconds):
                ours, _ = await asyncio.get_running_loop().sock_accept(self._listener)
        except TimeoutError:
            raise errors.OperationTimeout(f"{self._name}: QEMU did not connect in {seconds:g} s") from None
        ours.setblocking(False)
        return ours

    def _lost(self, channel: Channel, error: errors.ConnectionLost) -> None:
        log.warning("%s: channel %s: %s; connecting again", self._name, channel, error)
        self._tended[channel].connected.clear()
        self._tended[channel].lost.set()

    async def _tend(self, tended: _Tended) -> None:
        """Keep the channel connected until it has ended; raises why it did not end well."""
        async with asyncio.TaskGroup() as tasks:
            mending = tasks.create_task(self._mend(tended), name=f"{self._name}: channel {tended.channel} mending")
            done = await captured(tended.pump.wait())
            mending.cancel()
        if tended.failure is not None:
            raise tended.failure
        done.unwrap()

    async def _mend(self, tended: _Tended) -> None:
        while tended.failure is None:
            await tended.lost.wait()
            tended.lost.clear()
            try:
                await self._reattach(tended)
            except errors.OperationInvalid:
                return  # it is over, and says why by itself
            except errors.RequestError as err:
                tended.failure = err
                tended.pump.abort(str(err))

    async def _reattach(self, tended: _Tended) -> None:
        """Raises ``ConnectionLost`` after ``patience`` seconds, or with the destination's refusal."""
        seconds = self._patience
        last: Exception = errors.ConnectionLost("no answer")
        try:
            async with asyncio.timeout(seconds):
                while True:
                    received = await tended.pump.detach()
                    try:
                        async with asyncio.timeout(DIAL_TIMEOUT):
                            theirs, connection = await self._dial(tended.channel, received)
                    except errors.RemoteError:
                        raise
                    except (errors.RequestError, TimeoutError) as err:
                        last = err
                        await asyncio.sleep(DIAL_PAUSE)
                    else:
                        await tended.pump.attach(connection, theirs)
                        tended.connected.set()
                        log.info("%s: channel %s is connected again", self._name, tended.channel)
                        return
        except TimeoutError:
            raise errors.ConnectionLost(
                f"the destination could not be reached again within {seconds or 0:g} s: {last}"
            ) from None

    async def hold_on(self) -> None:
        self._patience = None
        # A late channel may join meanwhile.
        while waiting := [tended for tended in self._tended.values() if not tended.connected.is_set()]:
            await waiting[0].connected.wait()

    async def finish(self) -> None:
        """QEMU has: see above."""

    def abort(self, reason: str) -> None:
        for tended in self._tended.values():
            tended.pump.abort(reason)

    def close(self) -> None:
        for tended in self._tended.values():
            tended.pump.close()
        for channel, connection in self._opened.items():
            if channel not in self._tended:
                connection.sock.close()
        self._opened.clear()
        for each in (self._ours, self._listener):
            if each is not None:
                each.close()
        self._resources.close()
