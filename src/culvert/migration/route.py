"""How a channel's bytes move from the source's QEMU to the destination's.

======== ===================================================================================== =================
route    how                                                                                   daemons
======== ===================================================================================== =================
stream   packets of an RPC connection: QEMU ⇄ socket pair ⇄ relay ⇄ stream                     copy every byte
direct   a connection to the peer's same port, opened with a one-time token; its descriptor    out of the path
         is handed to QEMU on both sides
======== ===================================================================================== =================

A route is chosen by the destination's URI (``?route=``) or the configuration. ``direct`` needs a culvert at the other
end and a connection without encryption.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Collection
from enum import Enum
from typing import Protocol

from culvert.ground import errors
from culvert.rpc.stream import Stream
from culvert.tunnel import relay

PARAMETER = "route"  # of the destination's connection URI
TOKEN_PARAMETER = "culvert-migration"  # noqa: S105 - the name; of the URI that a destination hands out
DIRECT_ABILITY = "direct"  # a peer's word in HELLO
AUTO = "auto"  # direct where it can be had


class Route(Enum):
    """The value is the word in URIs, the configuration and job statistics."""

    STREAM = "stream"
    DIRECT = "direct"


def choose(wanted: str, abilities: Collection[str], transport: str) -> Route:
    """The route for a peer with these abilities, reached by this transport.

    Raises ``InvalidArgument`` for a word that is no route, ``ArgumentUnsupported`` when ``direct`` cannot be had.
    """
    if wanted not in (AUTO, *(route.value for route in Route)):
        raise errors.InvalidArgument(f"route '{wanted}' is not one of auto, direct, stream")
    able = DIRECT_ABILITY in abilities and transport in ("tcp", "unix")
    if wanted == Route.DIRECT.value and not able:
        raise errors.ArgumentUnsupported(
            f"route 'direct' needs a culvert at the other end of tcp or unix ({transport})"
        )
    return Route.DIRECT if able and wanted != Route.STREAM.value else Route.STREAM


class Way(Protocol):
    """One migration's road, opened by the source: QEMU's end of it, and what the daemon does at its own."""

    route: Route
    return_path: bool
    """Whether the destination's QEMU can answer on it."""

    @property
    def meter(self) -> relay.Meter | None:
        """Bytes moved; ``None`` where only QEMU knows."""

    def qemu_end(self) -> socket.socket:
        """The socket for QEMU; the caller closes it when QEMU has its copy."""

    async def carry(self) -> None:
        """Work until QEMU has closed its end. Raises what the road raises."""

    async def finish(self) -> None:
        """The other end has consumed everything on return. Raises its late errors."""

    def abort(self) -> None:
        """The end is abnormal: the other end is told, and a QEMU that is blocked in a write is woken. Idempotent."""

    def close(self) -> None:
        """Let go of everything. Idempotent."""


class StreamWay:
    """QEMU writes into a socket pair; the relay makes stream packets of it."""

    route = Route.STREAM
    return_path = False

    def __init__(self, stream: Stream) -> None:
        self.meter = relay.Meter()
        self._stream = stream
        self._ours, self._theirs = relay.channel()

    def qemu_end(self) -> socket.socket:
        return self._theirs

    async def carry(self) -> None:
        await relay.outward(self._ours, self._stream, self.meter)

    async def finish(self) -> None:
        await self._stream.finish()

    def abort(self) -> None:
        # Not waited for: a destination that stands still must not keep the guest from running on here.
        self._stream.abort_now()
        _shut_down(self._ours)

    def close(self) -> None:
        self._ours.close()
        self._theirs.close()


class DirectWay:
    """QEMU writes into the connection itself; with its return path it knows by itself that all has been loaded."""

    route = Route.DIRECT
    return_path = True
    meter = None

    def __init__(self, connection: socket.socket) -> None:
        self._ours = connection
        self._theirs = connection.dup()

    def qemu_end(self) -> socket.socket:
        return self._theirs

    async def carry(self) -> None:
        """The kernel does."""

    async def finish(self) -> None:
        """QEMU has."""

    def abort(self) -> None:
        _shut_down(self._ours)

    def close(self) -> None:
        self._ours.close()
        self._theirs.close()


def _shut_down(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)
