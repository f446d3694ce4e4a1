"""The destination's side of the pump route: the channels of one arriving guest.

A channel is asked for by a call, answered, and only then is the call's connection a channel's. In between another
call for the same channel may come, for the first may have been lost: the newest counts.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from culvert.channels.lifeline import Lifeline
from culvert.channels.plan import MAIN, Channel, ChannelPlan
from culvert.channels.work import captured
from culvert.ground import errors
from culvert.hypervisor.setup import Entrance, Setup
from culvert.io import unix_sockets
from culvert.io.detached import Detached
from culvert.tunnel import relay
from culvert.tunnel.limits import ChannelLimits
from culvert.tunnel.pump import Pump
from culvert.tunnel.resumption import Resumption

log = logging.getLogger(__name__)

Start = Callable[[Entrance, Setup], Coroutine[Any, Any, None]]
"""Make QEMU read from there."""

SOCKET = "migrate-in.sock"
MEET_TIMEOUT = 30.0  # seconds for QEMU to listen, and to have room for one more channel
DRAIN_TIMEOUT = 2.0  # seconds for QEMU to close its ends when it has said that it is done
MEET_PAUSE = 0.02  # seconds between two tries


@dataclass(slots=True)
class _Landed:
    pump: Pump
    newest: int = 0
    """Which attempt to attach counts."""


class Landing:
    """``spawn`` runs what outlives a call; ``broken`` is told why a channel ended that did not end well.

    ``recovering``: QEMU takes up a post-copy. Then it is met at a path even for a single channel, as it must be while
    its main thread hangs in a page that is missing (``drivers.qemu.migration.QemuIncoming.recover``).
    """

    def __init__(
        self,
        name: str,
        lifeline: Lifeline,
        *,
        setup: Setup,
        limits: ChannelLimits,
        directory: Path,
        spawn: Callable[[str, Coroutine[Any, Any, Any]], object],
        broken: Callable[[errors.RequestError], None],
        recovering: bool = False,
    ) -> None:
        self._name = name
        self._setup = setup
        self.plan = ChannelPlan.of(setup)
        self._limits = limits
        self._path = directory / SOCKET
        self._lifeline = lifeline
        self._spawn = spawn
        self._broken = broken
        self._recovering = recovering
        self._by_path = recovering or not self.plan.is_single
        self._landed: dict[Channel, _Landed] = {}
        self._joining = asyncio.Lock()
        self._resources = contextlib.ExitStack()
        self._finishing = False
        self._closed = False

    @property
    def meter(self) -> relay.Meter:
        """The guest's bytes that have come, in all channels."""
        return relay.Meter(sum(landed.pump.statistics.bytes_out for landed in self._landed.values()))

    @property
    def is_whole(self) -> bool:
        """Whether every channel has been asked for: before that the source does not begin to send."""
        return len(self._landed) == len(self.plan)

    async def expect(self, channel: Channel, attempt: int, start: Start) -> int:
        """``channel`` will be attached by ``attempt``: the bytes that have come by it so far.

        The first one makes QEMU ready by ``start``. Raises ``InvalidStream`` for a channel that nobody prepared or
        that comes before the first one, and what ``start`` raises.
        """
        if channel not in self.plan:
            raise errors.InvalidStream(
                f"{self._name}: channel '{channel}' is not one of the {len(self.plan)} that were prepared"
            )
        async with self._joining:
            if self._closed:
                raise errors.InvalidStream(f"{self._name}: the migration is over")
            if channel not in self._landed:
                ours = await self._qemu_end(channel, start)
                if self._closed:
                    ours.close()
                    raise errors.InvalidStream(f"{self._name}: the migration is over")
                self._join(channel, ours)
        landed = self._landed[channel]
        landed.newest = max(attempt, landed.newest)
        return await landed.pump.detach()

    async def _qemu_end(self, channel: Channel, start: Start) -> socket.socket:
        """Our end of a new path to QEMU. QEMU takes the first that connects for the main channel."""
        if channel != MAIN and MAIN not in self._landed:
            raise errors.InvalidStream(f"{self._name}: channel '{channel}' comes before the main one")
        if not self._by_path:
            ours, theirs = relay.channel()
            with theirs:
                try:
                    await start(theirs, self._setup)
                except BaseException:
                    ours.close()
                    raise
            return ours
        if channel == MAIN:
            self._resources.callback(self._path.unlink, missing_ok=True)
            await start(Path(self._resources.enter_context(unix_sockets.for_qemu(self._path))), self._setup)
        return await self._meet()

    async def _meet(self) -> socket.socket:
        try:
            async with asyncio.timeout(MEET_TIMEOUT):
                while True:
                    try:
                        return unix_sockets.connect(self._path)
                    except (BlockingIOError, FileNotFoundError, ConnectionRefusedError):
                        await asyncio.sleep(MEET_PAUSE)
        except (OSError, TimeoutError) as err:
            raise errors.OperationFailed(f"{self._name}: QEMU takes no channel: {err or 'not in time'}") from err

    def _join(self, channel: Channel, ours: socket.socket) -> None:
        pump = Pump(
            f"{self._name} channel {channel}",
            ours,
            self._limits,
            resumption=Resumption() if self._recovering and channel == MAIN else None,
            on_lost=partial(self._lost, channel),
        )
        self._landed[channel] = _Landed(pump)
        pump.start()
        self._spawn(f"{self._name}: channel {channel}", self._watch(channel, pump))

    async def attach(self, channel: Channel, attempt: int, connection: Detached, peer_received: int) -> None:
        """Go on with ``channel`` over ``connection``, if ``attempt`` is still the newest one at it."""
        landed = self._landed[channel]
        if self._closed or attempt != landed.newest:
            connection.sock.close()
            return
        self._lifeline.hold(channel)
        await landed.pump.attach(connection, peer_received)

    def finishing(self) -> None:
        """All that was wanted of the channels has come: what becomes of them is of no interest any more."""
        self._finishing = True
        self._lifeline.cut()

    async def drained(self) -> None:
        """Wait until QEMU has closed all of its ends, which it does a moment after its last page: the source's QEMU
        waits for the word that comes with that."""
        self.finishing()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_TIMEOUT):
                for landed in tuple(self._landed.values()):
                    await captured(landed.pump.wait())

    def _lost(self, channel: Channel, error: errors.ConnectionLost) -> None:
        if self._finishing:
            return
        log.warning("%s: channel %s: %s; waiting for the source to connect again", self._name, channel, error)
        self._lifeline.release(channel)

    async def _watch(self, channel: Channel, pump: Pump) -> None:
        done = await captured(pump.wait())
        self._lifeline.release(channel)
        if done.error is not None and not self._finishing and not self._closed:
            self._broken(done.error)

    def abort(self, reason: str) -> None:
        """This migration will come to nothing: tell the source, wake QEMU. Idempotent."""
        for landed in self._landed.values():
            landed.pump.abort(reason)
        self.close()

    def close(self) -> None:
        """Let go of everything; what the pumps have still to say goes out. Idempotent."""
        self._closed = True
        self._lifeline.cut()
        for landed in self._landed.values():
            landed.pump.close()
        self._resources.close()
