"""A TCP road to another port that can be watched, slowed, stalled and cut."""

from __future__ import annotations

import contextlib
import re
import socket
import struct
import threading
import time
from types import TracebackType
from typing import Self

PIECE = 64 * 1024
RESET = struct.pack("ii", 1, 0)  # struct linger: close sends RST instead of FIN (socket(7))


class Proxy:
    """Listens on ``port`` of ``address`` and passes every connection on to ``target``; a context manager.

    ``target`` is a port of 127.0.0.1, or of ``target_address``; without a ``port`` a free one is taken.

    ``forwarded`` counts bytes that clients have sent on, ``returned`` those that came back. All controls act on every
    connection, present and future, at once.
    """

    def __init__(
        self,
        target: int,
        *,
        bytes_per_second: float = 0,
        address: str = "127.0.0.1",
        port: int = 0,
        target_address: str = "127.0.0.1",
    ) -> None:
        self.target = target
        self.target_address = target_address
        self.forwarded = 0
        self.returned = 0
        self.connections = 0
        self.bytes_per_second = bytes_per_second  # each way of each connection; 0: as fast as it goes
        self._cut_after = 0
        self._cut_on = b""
        self._then_refuse = False
        self._hold_on: tuple[bytes, ...] = ()
        self.held = threading.Event()
        """Set while a piece is kept (``hold_on``), and from then on."""
        self._let_go = threading.Event()
        self._delays: dict[bytes, float] = {}
        self._taps: dict[re.Pattern[bytes], set[bytes]] = {}
        self._refusing = False
        self._flowing = threading.Event()
        self._flowing.set()
        self._lock = threading.Lock()
        self._sockets: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server((address, port))
        self.port: int = self._listener.getsockname()[1]

    def __enter__(self) -> Self:
        self._spawn("accept", self._accept)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.let_go()
        self.cut()
        for thread in self._threads:
            thread.join(10)

    # ---- controls ------------------------------------------------------------------------------------------------

    def cut(self) -> None:
        """Reset every connection now; new ones are taken."""
        self._flowing.set()
        with self._lock:
            sockets, self._sockets = self._sockets, set()
        for each in sockets:
            with contextlib.suppress(OSError):
                each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                each.shutdown(socket.SHUT_RDWR)  # wakes the thread that reads it
            each.close()

    def cut_after(self, count: int) -> None:
        """Cut, once, as soon as ``forwarded`` has reached ``count`` bytes."""
        self._cut_after = count

    def cut_on(self, pattern: bytes, *, then_refuse: bool = False) -> None:
        """Cut, once, in the place of passing on a piece that holds ``pattern``, whichever way it goes.

        ``then_refuse``: and reset new connections from then on.
        """
        self._then_refuse = then_refuse
        self._cut_on = pattern

    def hold_on(self, *patterns: bytes) -> None:
        """Keep, once, a piece that holds one of ``patterns``, and what follows it, until ``let_go``; see ``held``."""
        self.held.clear()
        self._let_go.clear()
        self._hold_on = patterns

    def let_go(self) -> None:
        """Pass on what is held, if there is anybody left to take it, and hold nothing more."""
        self._hold_on = ()
        self._let_go.set()

    def delay_on(self, pattern: bytes, seconds: float) -> None:
        """Pass a piece that holds ``pattern`` on ``seconds`` late, each time; what comes behind it waits too."""
        self._delays[pattern] = seconds

    def tap(self, pattern: bytes) -> set[bytes]:
        """Everything in one piece that the expression ``pattern`` matches from now on, whichever way it goes."""
        return self._taps.setdefault(re.compile(pattern), set())

    def stall(self) -> None:
        """Let no byte through, either way, while the connections stay."""
        self._flowing.clear()

    def resume(self) -> None:
        """Let bytes through again."""
        self._flowing.set()

    def refuse(self, refusing: bool = True) -> None:
        """Reset new connections as they come."""
        self._refusing = refusing

    # ---- work ----------------------------------------------------------------------------------------------------

    def _spawn(self, name: str, work: object, *args: object) -> None:
        assert callable(work)
        thread = threading.Thread(target=work, args=args, name=f"proxy {self.port} {name}", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self._refusing:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                client.close()
                continue
            try:
                server = socket.create_connection((self.target_address, self.target), 10)
            except OSError:
                client.close()
                continue
            server.settimeout(None)
            with self._lock:
                self._sockets |= {client, server}
                self.connections += 1
            self._spawn("forward", self._pump, client, server, True)
            self._spawn("return", self._pump, server, client, False)

    def _pump(self, source: socket.socket, sink: socket.socket, forward: bool) -> None:
        buffer = bytearray(PIECE)
        with contextlib.suppress(OSError), memoryview(buffer) as view:
            while count := source.recv_into(view):
                self._flowing.wait()
                for tap, found in tuple(self._taps.items()):
                    found.update(tap.findall(buffer, 0, count))
                if self._cut_on and self._cut_on in buffer[:count]:
                    self._cut_on = b""
                    self._refusing = self._then_refuse
                    self.cut()
                    return
                if any(pattern in buffer[:count] for pattern in self._hold_on):
                    self._hold_on = ()
                    self.held.set()
                    self._let_go.wait()
                    self._flowing.wait()
                for pattern, seconds in self._delays.items():
                    if pattern in buffer[:count]:
                        time.sleep(seconds)
                sink.sendall(view[:count])
                self._counted(count, forward)
                if self.bytes_per_second:
                    time.sleep(count / self.bytes_per_second)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_WR)  # half-close is passed on

    def _counted(self, count: int, forward: bool) -> None:
        with self._lock:
            if forward:
                self.forwarded += count
            else:
                self.returned += count
            due = bool(self._cut_after) and self.forwarded >= self._cut_after
            if due:
                self._cut_after = 0
        if due:
            self.cut()
