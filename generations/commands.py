"""Cells that are commands in a clean clone in a root."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path

from generations import enter, plan, roots
from generations.plan import Cell, Word
from generations.roots import Root
from generations.table import Came

OBEYS = 60  # seconds for a command that took too long to end what it has begun


def run(cell: Cell, root: Root, commit: str, log: Path) -> Came:
    """Run it, its output into ``log``; ``commit``: of culvert. Raises ``roots.NoRoot`` where it cannot be cloned."""
    roots.clone(root.clone, commit)
    command = cell.command
    deadline = time.monotonic() + command.minutes * 60
    with open(log, "wb") as output:
        for words in command.commands:
            output.write(f"$ {' '.join(words)}\n".encode())
            output.flush()
            code = _run([*root.words(), "env", "-C", str(root.clone), *words], output.fileno(), deadline)
            if code is None:
                return Came(Word.FAILED, f"not within {command.minutes} minutes")
            if code:
                break
    said = plan.last_words(command.last_words, log.read_text("utf-8", "replace"))
    return Came(Word.FAILED, f"exit code {code}: {said}") if code else Came(Word.OK, said)


def _run(argv: list[str], output: int, deadline: float) -> int | None:
    process = subprocess.Popen(
        argv,
        env=enter.environment(),
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        start_new_session=True,
        cwd="/",
    )
    try:
        return process.wait(max(deadline - time.monotonic(), 1))
    except subprocess.TimeoutExpired:
        return None
    finally:
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End it with everything of its session, as Ctrl-C does first: tests then end what they have started."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
        if process.poll() is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(OBEYS)
