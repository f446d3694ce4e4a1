"""The real virsh at a terminal of its own, as a person has it: what is shown is read, keys are pressed."""

from __future__ import annotations

import contextlib
import os
import pty
import select
import subprocess
import termios
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from tests.support.virsh import ENVIRONMENT, VIRSH

CTRL_RIGHT_BRACKET = b"\x1d"  # ends virsh console
CTRL_C = b"\x03"
TAIL = 2000  # characters that a failed wait shows


class Terminal:
    """A virsh whose input, output and controlling terminal is a pseudo terminal; use as a context manager.

    ``shown`` is everything on the screen so far, both outputs in one, lines ended by ``\\n``. It is read only inside
    ``wait``, ``wait_for`` and ``finish``.
    """

    def __init__(self, uri: str, *args: str) -> None:
        self.shown = ""
        self._raw = b""
        self._fd, terminal = pty.openpty()
        try:
            # setsid -c: the terminal becomes the controlling one, so that Ctrl-C reaches virsh as it does at a desk.
            self.process = subprocess.Popen(
                ["setsid", "-c", VIRSH, "-c", uri, *args],
                stdin=terminal,
                stdout=terminal,
                stderr=terminal,
                env={**ENVIRONMENT, "TERM": "dumb", "PAGER": "cat", "INPUTRC": "/dev/null", "HISTFILE": "/dev/null"},
            )
        finally:
            os.close(terminal)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self._fd)

    def press(self, keys: bytes | str) -> None:
        """Type ``keys``; what the guest at the other end makes of it is up to it."""
        os.write(self._fd, keys.encode() if isinstance(keys, str) else keys)

    def wait(self, condition: Callable[[str], object], what: str, timeout: float = 30) -> str:
        """Wait until ``condition(shown)`` holds and return ``shown``.

        Raises ``AssertionError`` with what was shown after ``timeout`` seconds, and when virsh ends before.
        """
        deadline = time.monotonic() + timeout
        while not condition(self.shown):
            left = deadline - time.monotonic()
            assert left > 0, f"virsh: {what}: not within {timeout} s\n{self.shown[-TAIL:]}"
            assert self._read(left), f"virsh: {what}: it has ended\n{self.shown[-TAIL:]}"
        return self.shown

    def wait_for(self, text: str, count: int = 1, timeout: float = 30) -> str:
        """``wait`` until ``text`` has been shown ``count`` times."""
        return self.wait(lambda shown: shown.count(text) >= count, f"'{text}' × {count}", timeout)

    def wait_console(self, timeout: float = 30) -> None:
        """Wait until every key goes to the guest: what is pressed before virsh has the terminal raw is lost."""
        self.wait_for("Escape character is ^]", timeout=timeout)
        deadline = time.monotonic() + timeout
        while termios.tcgetattr(self._fd)[3] & termios.ICANON:  # the local modes (termios(3))
            assert time.monotonic() < deadline, f"virsh: the terminal is not raw within {timeout} s"
            time.sleep(0.01)

    def finish(self, timeout: float = 30) -> int:
        """Read on until virsh ends; its exit code. Raises ``AssertionError`` after ``timeout`` seconds."""
        deadline = time.monotonic() + timeout
        while self._read(deadline - time.monotonic()):
            assert time.monotonic() < deadline, f"virsh has not ended within {timeout} s\n{self.shown[-TAIL:]}"
        return self.process.wait(max(1.0, deadline - time.monotonic()))

    def _read(self, timeout: float) -> bool:
        """Read what is there, waiting up to ``timeout``; False once the other side is closed."""
        if timeout <= 0 or not select.select([self._fd], [], [], timeout)[0]:
            return True
        data = b""
        with contextlib.suppress(OSError):  # EIO: nobody has the other side open (pty(7))
            data = os.read(self._fd, 65536)
        self._raw += data
        self.shown = self._raw.decode("utf-8", "replace").replace("\r\n", "\n")
        return bool(data)
