"""The real, unmodified virsh."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import termios
import time
from collections.abc import Sequence
from dataclasses import dataclass

VIRSH = os.environ.get("CULVERT_VIRSH", "virsh")
ENVIRONMENT = {**os.environ, "LC_ALL": "C", "LIBVIRT_DEBUG": "4"}


@dataclass(frozen=True, slots=True)
class Result:
    """How a command ended: exit code and both outputs as text."""

    rc: int
    out: str
    err: str

    @property
    def ok(self) -> bool:
        """True for exit code 0."""
        return self.rc == 0

    @property
    def no_domain(self) -> bool:
        """It failed since there is no such domain: when it was looked up, or when it was gone between that and the
        call (a destination that undoes a migration takes it away at any moment)."""
        return not self.ok and ("failed to get domain" in self.err or "Domain not found" in self.err)

    def expect(self) -> str:
        """The standard output; raises ``AssertionError`` with everything if the command failed."""
        assert self.ok, f"virsh: exit code {self.rc}\n{self.out}{self.err}"
        return self.out


class Running:
    """A virsh that is under way; ``finish`` waits for it, ``interrupt`` is Ctrl-C. A context manager: ends it."""

    def __init__(self, uri: str, *args: str, within: Sequence[str] = ()) -> None:
        # A terminal as its input: virsh reads Ctrl-C from there as a character.
        self._keyboard, terminal = pty.openpty()
        self.process = subprocess.Popen(
            [*within, VIRSH, "-c", uri, *args],
            stdin=terminal,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            env=ENVIRONMENT,
        )
        os.close(terminal)

    def __enter__(self) -> Running:
        return self

    def __exit__(self, *exception: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.communicate()
        os.close(self._keyboard)

    def press_ctrl_c(self, timeout: float = 20) -> None:
        """What the user does who has changed his mind, once virsh listens for it.

        It reads the character itself as soon as it has seen the job start; before that the terminal would make a
        signal of it, for whoever it controls. Raises ``AssertionError`` when virsh never listens.
        """
        deadline = time.monotonic() + timeout
        while termios.tcgetattr(self._keyboard)[6][termios.VINTR] != b"\0":
            assert time.monotonic() < deadline, "virsh does not watch a job"
            time.sleep(0.05)
        os.write(self._keyboard, b"\x03")

    def interrupt(self) -> None:
        """SIGINT."""
        self.process.send_signal(signal.SIGINT)

    def finish(self, timeout: float = 60) -> Result:
        """Wait for its end; a virsh that takes longer than ``timeout`` seconds is killed: ``AssertionError``."""
        try:
            out, err = self.process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            out, err = self.process.communicate()
            raise AssertionError(f"{self.process.args!r}: not within {timeout} s\n{out}{err}") from None
        return Result(self.process.returncode, out, err)


def virsh(*args: str, uri: str, timeout: float = 60, within: Sequence[str] = ()) -> Result:
    """Run ``virsh -c uri args``; raises ``AssertionError`` when it takes longer than ``timeout`` seconds.

    ``within``: words that run it (``setpriv``)."""
    with Running(uri, *args, within=within) as running:
        return running.finish(timeout)
