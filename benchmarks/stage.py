"""What a mover runs on: two hosts with whatever daemons it needs, and a guest on one of them."""

from __future__ import annotations

import itertools
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from benchmarks.emulator import Emulator
from benchmarks.hosts import LabError, Pair
from guests import domain_xml
from tests.support import processes
from tests.support.pki import Holder
from tests.support.virsh import ENVIRONMENT, VIRSH

MOVE_DEADLINE = 150.0  # seconds; a guest that dirties faster than a mover sends never arrives
QEMU_PREFIX = "qemu-system"


class MoveFailed(Exception):
    """The guest did not get to the other host; the text says what was said."""


class TimedOut(MoveFailed):
    """Nobody has refused or given up, but the time is over."""


@dataclass(frozen=True, slots=True)
class Ground:
    """What all stages share: hosts, the emulator, certificates by host, a folder."""

    pair: Pair
    emulator: Emulator
    certificates: dict[str, Holder]
    folder: Path


class Stage(Protocol):
    """Daemons (or none) on both hosts; guests are started on ``a`` and moved to ``b``.

    A stage that a move has failed on is closed and made anew.
    """

    def boot(self, guest: domain_xml.Guest) -> None:
        """Start the guest on ``a``. Raises ``LabError``."""

    def move(self, guest: domain_xml.Guest, way: Sequence[str]) -> None:
        """Move it to ``b``; on return it runs there and its QEMU on ``a`` is gone. Raises ``MoveFailed``."""

    def clear(self) -> None:
        """End all guests, wherever they run; nothing of them is left. Idempotent."""

    def pids(self) -> dict[str, list[int]]:
        """Every process by host: daemons and QEMUs."""

    def close(self) -> None:
        """End everything."""


def fresh(folder: Path, name: str) -> Path:
    """A new folder: ``name`` and a number. What a daemon that failed has left is not for the next one."""
    for number in itertools.count(1):
        path = folder / f"{name}{number}"
        if not path.exists():
            path.mkdir()
            return path
    raise AssertionError("numbers do not end")


def is_qemu(pid: int) -> bool:
    """Whether the process is a QEMU (and not a daemon)."""
    return processes.program(pid).startswith(QEMU_PREFIX)


def client(argv: Sequence[str], log: Path, timeout: float = MOVE_DEADLINE) -> None:
    """Run a client of a daemon. Raises ``MoveFailed`` with its words; ``TimedOut``, and the client is ended."""
    with open(log, "w+b") as output:
        try:
            done = subprocess.run(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=ENVIRONMENT,
                timeout=timeout,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise TimedOut(f"not within {timeout:g} s") from None
        if done.returncode:
            output.seek(0)
            raise MoveFailed(output.read().decode("utf-8", "replace").strip() or f"exit code {done.returncode}")


def virsh(uri: str, *words: str) -> list[str]:
    """The command line of a virsh."""
    return [VIRSH, "-c", uri, *words]


def culvert(uri: str, *words: str) -> list[str]:
    """The command line of a culvert."""
    return [sys.executable, "-m", "culvert.cli.main", "-c", uri, *words]


def wait_gone(pids: Sequence[int], what: str, timeout: float = 20) -> None:
    """Wait until processes have ended. Raises ``LabError``."""
    if left := processes.wait_gone(pids, timeout):
        raise LabError(f"{what}: processes {left} still live after {timeout:g} s")


def wait_path(path: Path, process: subprocess.Popen[bytes], log: Path, timeout: float = 20) -> None:
    """Wait until a socket or file exists. Raises ``LabError`` with the end of the log."""
    deadline = time.monotonic() + timeout
    while not path.exists():
        if process.poll() is not None or time.monotonic() > deadline:
            raise LabError(f"no {path} after {timeout:g} s: {log.read_text('utf-8', 'replace')[-2000:]}")
        time.sleep(0.002)
