"""The server: listeners in front, sessions behind, and what they may cost together."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import socket
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from types import TracebackType
from typing import Any, Self

from culvert.io.listener import Accepted, Listener
from culvert.rpc.dispatch import Dispatcher, Doorkeeper, Handlers
from culvert.rpc.limits import RpcLimits
from culvert.rpc.session import Session
from culvert.wire.keepalive import DEFAULT_COUNT, DEFAULT_INTERVAL

log = logging.getLogger(__name__)


class Server:
    """Serves the programs of ``handlers`` to everybody who connects, inside ``async with``::

        async with Server([remote_handlers, culvert_handlers]) as server:
            server.listen(await listen_unix(path))
            await stopped.wait()

    Leaving the block closes the listeners, ends every call and stream, sends what is written and closes the
    connections. ``authentication``: sessions begin unauthenticated, and a handler has to set ``authenticated``.
    ``keepalive``: interval in seconds (0: never) and count, towards clients that ask for it. ``gate`` is asked
    before each call that the protocol's own rules allow, and told what came of it. ``divert`` may take a new
    connection for itself (True), and give it back by what it is called with.
    """

    def __init__(
        self,
        handlers: Sequence[Handlers],
        limits: RpcLimits | None = None,
        *,
        authentication: bool = False,
        keepalive: tuple[float, int] = (DEFAULT_INTERVAL, DEFAULT_COUNT),
        gate: Doorkeeper | None = None,
        divert: Callable[[socket.socket, Accepted, Callable[[socket.socket, Accepted], object]], bool] = lambda *_: (
            False
        ),
    ) -> None:
        self.limits = limits or RpcLimits()
        self.sessions: dict[int, Session] = {}
        self.listeners: list[Listener] = []
        self._dispatcher = Dispatcher(handlers, gate)
        self._authentication = authentication
        self._divert = divert
        self._keepalive = keepalive
        self._numbers = itertools.count(1)
        self._rooms: dict[str, asyncio.Event] = {}
        self._group = asyncio.TaskGroup()
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        for listener in self.listeners:
            listener.close()
        # Answers that are ready in a moment still reach who waits for them.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.limits.farewell):
                for session in list(self.sessions.values()):
                    await session.idle()
        for task in list(self._tasks):
            task.cancel()
        # An exception of the body goes on as it is, not inside a group: our tasks have none of their own to add.
        await self._group.__aexit__(None, None, None)

    def listen(self, listener: Listener) -> None:
        """Accept clients from ``listener``, which is the server's to close from now on."""
        self.listeners.append(listener)
        self._rooms.setdefault(listener.way, asyncio.Event()).set()
        self._start(self._accept(listener), f"accept {listener.name}")
        log.info("listen transport=%s address=%s", listener.transport, listener.name)

    def serve(self, sock: socket.socket, peer: Accepted) -> Session:
        """Serve one connected socket, which is the server's to close from now on."""
        session = Session(
            next(self._numbers),
            peer,
            self._dispatcher,
            self.limits,
            authenticated=not self._authentication,
            keepalive=self._keepalive,
        )
        session.on_known = self._count
        self.sessions[session.id] = session
        self._count()
        uid = "" if peer.uid is None else f" uid={peer.uid}"
        log.info('session open id=%d transport=%s peer="%s"%s', session.id, peer.transport, peer.name, uid)
        self._start(self._session(session, sock), f"session {session.id}")
        return session

    def _start(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = self._group.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _count(self) -> None:
        """Accept or not, by how many there are.

        Strangers are counted by their way in: those of the network, or those who may only look, must not keep this
        host's own people out.
        """
        strangers = Counter(session.way for session in self.sessions.values() if session.anonymous)
        for way, room in self._rooms.items():
            anonymous = strangers[way]
            if len(self.sessions) < self.limits.clients and anonymous < self.limits.anonymous:
                room.set()
            elif room.is_set():
                room.clear()
                log.warning("accept wait transport=%s clients=%d anonymous=%d", way, len(self.sessions), anonymous)

    async def _accept(self, listener: Listener) -> None:
        try:
            while True:
                await self._rooms[listener.way].wait()
                sock, peer = await listener.accept()
                if not self._divert(sock, peer, self.serve):
                    self.serve(sock, peer)
        except OSError as err:
            log.error("listener failed address=%s error=%s", listener.name, err)
        finally:
            listener.close()

    async def _session(self, session: Session, sock: socket.socket) -> None:
        try:
            await session.run(sock)
        except Exception:
            # A bug of ours, or a socket that died before it was ours: this client's trouble, nobody else's.
            log.exception("session failed id=%d", session.id)
        finally:
            del self.sessions[session.id]
            self._count()
