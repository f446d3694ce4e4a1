"""The daemon's event loop: asyncio's, but that a name which nobody resolves holds up neither other work nor the end.

asyncio looks names up in the threads that also read and write files. There are few of them, a resolver may take a
minute to give up, and the names are a client's to choose.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Any

from culvert.io import blocking

MOST = 64
"""Look-ups under way at one time."""


class Loop(asyncio.SelectorEventLoop):
    """Each look-up has a thread of its own, which is left behind when its caller's time is over."""

    def __init__(self) -> None:
        super().__init__()
        self._under_way: set[object] = set()

    async def getaddrinfo(
        self, host: Any, port: Any, *, family: int = 0, type: int = 0, proto: int = 0, flags: int = 0
    ) -> list[Any]:
        """As ``socket.getaddrinfo``; raises ``socket.gaierror`` also when too many are under way."""
        try:  # what is no name asks nobody
            return socket.getaddrinfo(host, port, family, type, proto, flags | socket.AI_NUMERICHOST)
        except socket.gaierror:
            pass
        if len(self._under_way) >= MOST:
            raise socket.gaierror(socket.EAI_AGAIN, f"{MOST} names are being looked up, and none is answered for")

        mine = object()

        def ask() -> list[Any]:
            try:
                return socket.getaddrinfo(host, port, family, type, proto, flags)
            finally:
                self._under_way.discard(mine)

        self._under_way.add(mine)
        return await blocking.left_behind(ask, name=f"resolve-{host}")
