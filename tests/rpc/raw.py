"""A peer that sends whatever bytes it likes, and a server it is joined to by a socket pair."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from culvert.io.listener import Accepted
from culvert.rpc.limits import RpcLimits
from culvert.rpc.server import Server
from culvert.wire.packet import Header, Reader
from tests.rpc.support import Service


class Raw:
    """One end of a socket, by hand."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._packets = Reader()

    def send(self, data: bytes) -> int:
        """As much of ``data`` as the socket takes now."""
        try:
            return self.sock.send(data)
        except BlockingIOError:
            return 0

    async def send_all(self, data: bytes, seconds: float = 30) -> None:
        async with asyncio.timeout(seconds):
            await asyncio.get_running_loop().sock_sendall(self.sock, data)

    async def packet(self, seconds: float = 30) -> tuple[Header, bytes]:
        """The next packet. Raises ``EOFError`` when the connection is closed instead."""
        async with asyncio.timeout(seconds):
            while (packet := self._packets.next_packet()) is None:
                data = await asyncio.get_running_loop().sock_recv(self.sock, 1 << 16)
                if not data:
                    raise EOFError
                self._packets.feed(data)
        return packet.header, packet.payload

    async def closed(self, seconds: float = 30) -> None:
        """Wait until the other end has closed."""
        async with asyncio.timeout(seconds):
            try:
                while await asyncio.get_running_loop().sock_recv(self.sock, 1 << 16):
                    pass
            except ConnectionResetError:
                pass


@asynccontextmanager
async def raw(
    service: Service | None = None,
    *,
    limits: RpcLimits | None = None,
    authentication: bool = False,
    keepalive: tuple[float, int] = (5.0, 5),
) -> AsyncIterator[tuple[Raw, Server]]:
    """A raw peer and the server that serves it."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.setblocking(False)
    service = service or Service()
    with ours:
        async with Server([service.handlers], limits, authentication=authentication, keepalive=keepalive) as server:
            server.serve(theirs, Accepted("unix", "raw"))
            yield Raw(ours), server
