"""The source's side of the pump route: one connection and one pump for every channel, mended when they break.

::

    QEMU ═ channel 0 ═ pump ═ connection ═ … ═ pump ═ channel 0 ═ QEMU
         ═ channel 1 ═ pump ═ connection ═ … ═ pump ═ channel 1 ═
         ⋮                      the same port for all

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

from culvert.channels.route import Route
from culvert.channels.work import Done, captured
from culvert.ground import errors
from culvert.hypervisor.setup import Entrance, Setup
from culvert.io import unix_sockets
from culvert.io.detached import Detached
from culvert.tunnel import relay
from culvert.tunnel.limits import Limits
from culvert.tunnel.pump import Pump

log = logging.getLogger(__name__)

Dial = Callable[[int, int], Awaitable[tuple[int, Detached]]]
"""(channel, bytes received on it) → (bytes the destination has received, a new connection for it)."""

SOCKET = "migrate-out.sock"
MEET_TIMEOUT = 30.0  # seconds for QEMU to connect a channel once it has been told to begin
DIAL_TIMEOUT = (
    2.0  # seconds for one try to open a lost connection anew: a try that began in the cut must not outlive it
)
DIAL_PAUSE = 0.2  # seconds between the tries


@dataclass(slots=True)
class _Channel:
    number: int
    pump: Pump
    lost: asyncio.Event = field(default_factory=asyncio.Event)
    failure: errors.RequestError | None = None
    connected: asyncio.Event = field(default_factory=asyncio.Event)


class PumpWay:
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
        limits: Limits,
        patience: float,
    ) -> None:
        self.setup = setup
        self._name = name
        self._dial = dial
        self._limits = limits
        self._directory = directory
        self._compression = compression
        self._opened: list[Detached] = []
        self._ours: socket.socket | None = None
        self._listener: socket.socket | None = None
        self._channels: list[_Channel] = []
        self._resources = contextlib.ExitStack()
        self._patience: float | None = patience

    @property
    def meter(self) -> relay.Meter:
        """The guest's bytes that the other end has been sent, in all channels."""
        return relay.Meter(sum(channel.pump.statistics.bytes_in for channel in self._channels))

    @property
    def interruptions(self) -> int:
        """How often a connection was lost and opened anew."""
        return sum(max(0, channel.pump.statistics.connections - 1) for channel in self._channels)

    async def open(self) -> None:
        """Connect every channel. Raises why one cannot be; nothing is left open then."""
        try:
            self._opened.append((await self._dial(0, 0))[1])  # the first makes the destination's QEMU listen
            for number in range(1, self.setup.channels + 1):
                self._opened.append((await self._dial(number, 0))[1])
        except BaseException:
            self.close()
            raise

    def entrance(self) -> AbstractContextManager[Entrance]:
        if not self.setup.several:
            self._ours, theirs = relay.channel()
            return theirs
        path = self._directory / SOCKET
        self._listener = unix_sockets.listen(path, backlog=len(self._opened))
        self._resources.callback(path.unlink, missing_ok=True)
        return contextlib.nullcontext(Path(self._resources.enter_context(unix_sockets.for_qemu(path))))

    async def carry(self) -> None:
        tending: set[asyncio.Task[Done[None]]] = set()
        async with asyncio.TaskGroup() as tasks:
            meeting = tasks.create_task(captured(self._meet()), name=f"{self._name}: QEMU connects")
            try:
                error = (await meeting).error
                works = [(each.number, self._tend(each)) for each in self._channels]
                if self.setup.preempt:
                    works.append((self.setup.channels, self._tend_late()))
                tending = {
                    tasks.create_task(captured(work), name=f"{self._name}: channel {number}")
                    for number, work in works
                }
                # A last channel that QEMU never needed is not waited for.
                while len(tending) > len(works) - len(self._channels) and error is None:
                    done, tending = await asyncio.wait(tending, return_when=asyncio.FIRST_COMPLETED)
                    error = next((found for task in done if (found := task.result().error)), None)
            finally:
                for task in (meeting, *tending):
                    task.cancel()
        if error is not None:
            raise error

    async def _meet(self) -> None:
        """Join each channel's connection and QEMU's end of it, in the order in which QEMU opens them: main first."""
        for _ in range(self.setup.connections + 1):
            ours, self._ours = self._ours or await self._accept(MEET_TIMEOUT), None
            await self._join(ours)

    async def _tend_late(self) -> None:
        """The channel for preempted pages, which QEMU may open only at the switch to post-copy: met, then tended."""
        await self._tend(await self._join(await self._accept(None)))

    async def _join(self, ours: socket.socket) -> _Channel:
        """Make the next channel of ``ours`` and of the connection opened for it."""
        number = len(self._channels)
        channel = _Channel(
            number,
            Pump(
                f"{self._name} channel {number}",
                ours,
                self._limits,
                compression=self._compression,
                on_lost=partial(self._lost, number),
            ),
        )
        self._channels.append(channel)
        channel.pump.start()
        await channel.pump.attach(self._opened[number], 0)
        channel.connected.set()
        return channel

    async def _accept(self, seconds: float | None) -> socket.socket:
        assert self._listener is not None, "QEMU has been told where"
        try:
            async with asyncio.timeout(seconds):
                ours, _ = await asyncio.get_running_loop().sock_accept(self._listener)
        except TimeoutError:
            raise errors.OperationTimeout(f"{self._name}: QEMU did not connect in {seconds:g} s") from None
        ours.setblocking(False)
        return ours

    def _lost(self, number: int, error: errors.ConnectionLost) -> None:
        log.warning("%s: channel %d: %s; connecting again", self._name, number, error)
        self._channels[number].connected.clear()
        self._channels[number].lost.set()

    async def _tend(self, channel: _Channel) -> None:
        """Keep the channel connected until it has ended; raises why it did not end well."""
        async with asyncio.TaskGroup() as tasks:
            mending = tasks.create_task(self._mend(channel), name=f"{self._name}: channel {channel.number} mending")
            done = await captured(channel.pump.wait())
            mending.cancel()
        if channel.failure is not None:
            raise channel.failure
        done.unwrap()

    async def _mend(self, channel: _Channel) -> None:
        while channel.failure is None:
            await channel.lost.wait()
            channel.lost.clear()
            try:
                await self._reattach(channel)
            except errors.OperationInvalid:
                return  # it is over, and says why by itself
            except errors.RequestError as err:
                channel.failure = err
                channel.pump.abort(str(err))

    async def _reattach(self, channel: _Channel) -> None:
        """Raises ``ConnectionLost`` after ``patience`` seconds, or with the destination's refusal."""
        seconds = self._patience
        last: Exception = errors.ConnectionLost("no answer")
        try:
            async with asyncio.timeout(seconds):
                while True:
                    received = await channel.pump.detach()
                    try:
                        async with asyncio.timeout(DIAL_TIMEOUT):
                            theirs, connection = await self._dial(channel.number, received)
                    except errors.RemoteError:
                        raise
                    except (errors.RequestError, TimeoutError) as err:
                        last = err
                        await asyncio.sleep(DIAL_PAUSE)
                    else:
                        await channel.pump.attach(connection, theirs)
                        channel.connected.set()
                        log.info("%s: channel %d is connected again", self._name, channel.number)
                        return
        except TimeoutError:
            raise errors.ConnectionLost(
                f"the destination could not be reached again within {seconds or 0:g} s: {last}"
            ) from None

    async def hold_on(self) -> None:
        self._patience = None
        for channel in self._channels:
            await channel.connected.wait()

    async def finish(self) -> None:
        """QEMU has: see above."""

    def abort(self, reason: str) -> None:
        for channel in self._channels:
            channel.pump.abort(reason)

    def close(self) -> None:
        for channel in self._channels:
            channel.pump.close()
        for connection in self._opened[len(self._channels) :]:
            connection.sock.close()
        self._opened.clear()
        for each in (self._ours, self._listener):
            if each is not None:
                each.close()
        self._resources.close()
