"""The data paths of one channel: packets of an RPC stream, and a connection that QEMU itself has."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from contextlib import AbstractContextManager

from culvert.channels.plan import ChannelPlan
from culvert.channels.route import Route
from culvert.hypervisor.setup import Entrance, Setup
from culvert.rpc.stream import Stream
from culvert.tunnel import relay


class StreamPath:
    """QEMU writes into a socket pair; the relay makes stream packets of it."""

    route = Route.STREAM
    interruptions = 0
    is_whole = True
    outlives_connection = False

    def __init__(self, stream: Stream, setup: Setup) -> None:
        self.setup = setup
        self.plan = ChannelPlan.of(setup)
        self.meter = relay.Meter()
        self._stream = stream
        self._ours, self._theirs = relay.channel()
        self._carried = asyncio.Event()

    def entrance(self) -> AbstractContextManager[Entrance]:
        return self._theirs

    async def carry(self) -> None:
        await relay.outward(self._ours, self._stream, self.meter)
        self._carried.set()

    async def hold_on(self) -> None:
        """It has one connection, and ends with it."""

    async def finish(self) -> None:
        await self._carried.wait()
        await self._stream.finish()

    def abort(self, reason: str) -> None:
        # Not waited for: a destination that stands still must not keep the guest from running on here.
        self._stream.abort_now()
        _shut_down(self._ours)

    def close(self) -> None:
        self._ours.close()
        self._theirs.close()


class DirectPath:
    """QEMU writes into the connection itself; with its return path it knows by itself that all has been loaded."""

    route = Route.DIRECT
    interruptions = 0
    is_whole = True
    outlives_connection = False
    meter = None

    def __init__(self, connection: socket.socket, setup: Setup) -> None:
        self.setup = setup
        self.plan = ChannelPlan.of(setup)
        self._ours = connection
        self._theirs = connection.dup()

    def entrance(self) -> AbstractContextManager[Entrance]:
        return self._theirs

    async def carry(self) -> None:
        """The kernel does."""

    async def hold_on(self) -> None:
        """The connection is QEMU's own."""

    async def finish(self) -> None:
        """QEMU has."""

    def abort(self, reason: str) -> None:
        _shut_down(self._ours)

    def close(self) -> None:
        self._ours.close()
        self._theirs.close()


def _shut_down(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)
