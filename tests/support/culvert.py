"""The ``culvert`` command line as a process: into a pipe, or on a terminal."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Sequence
from typing import Any

from tests.support.virsh import Result

CHECKOUT = (sys.executable, "-m", "culvert.cli.main")  # the command of this checkout
# A terminal wide enough that no line is folded, with nothing in its surroundings that rich would listen to.
COLUMNS = 300
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\r")


class Running:
    """A ``culvert -c uri args`` under way; a context manager, which ends it.

    ``terminal``: its output goes to a terminal of its own. ``program``: the words that are the command. What it has
    said can be waited for.
    """

    def __init__(
        self,
        uri: str | None,
        *args: str,
        terminal: bool = False,
        given: str = "",
        program: Sequence[str] = CHECKOUT,
    ) -> None:
        self._said = bytearray()
        self._changed = threading.Condition()
        reader, writer = pty.openpty() if terminal else os.pipe()
        if terminal:
            fcntl.ioctl(writer, termios.TIOCSWINSZ, struct.pack("HHHH", 40, COLUMNS, 0, 0))
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("CULVERT", "XDG"))}
        environment |= {"TERM": "xterm", "LC_ALL": "C.UTF-8"}
        connect = () if uri is None else ("-c", uri)
        self.process = subprocess.Popen(
            [*program, *connect, *args],
            stdin=subprocess.PIPE,
            stdout=writer,
            stderr=subprocess.PIPE,
            env=environment,
        )
        os.close(writer)
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(given.encode())
            self.process.stdin.close()
        self._reader = threading.Thread(target=self._read, args=(reader,), name="culvert output", daemon=True)
        self._reader.start()

    def __enter__(self) -> Running:
        return self

    def __exit__(self, *exception: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self._reader.join(10)
        assert self.process.stderr is not None
        self.process.stderr.close()

    def _read(self, reader: int) -> None:
        # The last writer of a terminal gone is EIO for who reads it, not the end of a file.
        with contextlib.suppress(OSError):
            while data := os.read(reader, 1 << 16):
                with self._changed:
                    self._said += data
                    self._changed.notify_all()
        os.close(reader)

    @property
    def out(self) -> str:
        """What it has said so far, without a terminal's escape sequences."""
        return _ESCAPES.sub("", self._said.decode("utf-8", "replace"))

    @property
    def raw(self) -> bytes:
        """What it has said so far, byte for byte."""
        return bytes(self._said)

    def wait_for(self, pattern: str, timeout: float = 60) -> re.Match[str]:
        """Wait until its output holds ``pattern``. Raises ``AssertionError`` when it never does."""
        deadline = time.monotonic() + timeout
        with self._changed:
            while (found := re.search(pattern, self.out)) is None:
                left = deadline - time.monotonic()
                assert left > 0, f"not within {timeout} s: {pattern!r} in\n{self.out}"
                assert self.process.poll() is None or self._reader.is_alive(), (
                    f"ended without {pattern!r}:\n{self.out}"
                )
                self._changed.wait(min(left, 0.5))
        return found

    def interrupt(self) -> None:
        """Ctrl-C."""
        self.process.send_signal(signal.SIGINT)

    def finish(self, timeout: float = 90) -> Result:
        """Wait for its end; one that takes longer is killed: ``AssertionError``."""
        assert self.process.stderr is not None
        try:
            self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"{self.process.args!r}: not within {timeout} s\n{self.out}") from None
        self._reader.join(10)
        return Result(self.process.returncode, self.out, self.process.stderr.read().decode("utf-8", "replace"))


def culvert(
    *args: str, uri: str | None = None, given: str = "", timeout: float = 90, program: Sequence[str] = CHECKOUT
) -> Result:
    """Run ``culvert -c uri args`` with ``given`` on its input; raises ``AssertionError`` when it takes too long."""
    with Running(uri, *args, given=given, program=program) as running:
        return running.finish(timeout)


def json_lines(text: str) -> list[dict[str, Any]]:
    """The objects of JSON lines; raises ``ValueError`` for a line that is none."""
    return [json.loads(line) for line in text.splitlines()]
