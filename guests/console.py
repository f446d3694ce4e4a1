"""Talking to a guest over a serial line that QEMU offers as a pseudo terminal or a listening UNIX socket."""

from __future__ import annotations

import os
import select
import socket
import stat
import time
import tty
from pathlib import Path
from types import TracebackType
from typing import Self


class ConsoleError(Exception):
    """The guest did not answer as expected; the text shows what it said."""


class Console:
    """A two-way line to a guest; use as a context manager.

    ``path`` is a pseudo terminal (put into raw mode) or a UNIX socket. One user at a time.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._socket: socket.socket | None = None
        self._buffer = b""
        if stat.S_ISSOCK(path.stat().st_mode):
            self._socket = socket.socket(socket.AF_UNIX)
            self._socket.connect(str(path))
            self._fd = self._socket.fileno()
        else:
            self._fd = os.open(path, os.O_RDWR | os.O_NOCTTY)
            tty.setraw(self._fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the line; closing twice does nothing."""
        if self._socket is not None:
            self._socket.close()
        elif self._fd >= 0:
            os.close(self._fd)
        self._fd = -1

    def send(self, data: bytes) -> None:
        """Write all of ``data``."""
        while data:
            data = data[os.write(self._fd, data) :]

    def read_line(self, start: str, timeout: float = 30) -> str:
        """The next line that begins with ``start``; other lines are dropped.

        Raises ``ConsoleError`` after ``timeout`` seconds or when the line is closed.
        """
        deadline = time.monotonic() + timeout
        seen: list[str] = []
        while True:
            line, newline, rest = self._buffer.partition(b"\n")
            if newline:
                self._buffer = rest
                text = line.decode("utf-8", "replace").strip("\r")
                if text.startswith(start):
                    return text
                seen.append(text)
                continue
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self._fd], [], [], left)[0]:
                raise ConsoleError(f"{self.path}: no line '{start}…' in {timeout} s; saw {seen[-5:]!r}")
            data = os.read(self._fd, 4096)
            if not data:
                raise ConsoleError(f"{self.path}: closed while waiting for '{start}…'; saw {seen[-5:]!r}")
            self._buffer += data

    def verify(self, timeout: float = 60) -> str:
        """Have the guest verify all of its memory now; returns its answer, ``verify ok …``.

        Raises ``ConsoleError`` if it found a bad page or did not answer.
        """
        self.send(b"v")
        answer = self.read_line("verify ", timeout)
        if not answer.startswith("verify ok"):
            raise ConsoleError(f"{self.path}: {answer}")
        return answer
