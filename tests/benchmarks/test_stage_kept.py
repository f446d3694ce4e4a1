"""A daemon that is kept: it comes back when it is killed, and ends when that is asked for."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

from benchmarks import stage_kept
from tests.support import processes
from tests.support.wait import wait_for


def test_what_is_killed_is_started_anew_and_what_is_asked_to_end_ends(tmp_path: Path) -> None:
    file = tmp_path / "pid"

    def pid() -> int:
        return int(file.read_text() or 0) if file.exists() else 0

    keeper = subprocess.Popen([*stage_kept.keeper(file), "sleep", "1000"])
    try:
        wait_for(lambda: pid() != 0, "a first process")
        first = pid()
        os.kill(first, signal.SIGKILL)
        wait_for(lambda: pid() not in (0, first), "a second process")
        second = pid()
        keeper.terminate()
        assert keeper.wait(20) == 0
        assert processes.state(second) in ("Z", "X", "")
    finally:
        keeper.kill()
        keeper.wait()
