"""Finding and ending what belongs to a test."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

from tests.support import processes


def test_marked_processes_are_found_and_ended_and_others_are_not(tmp_path: Path) -> None:
    mine = subprocess.Popen(["sleep", "60"], env={**os.environ, processes.MARK: str(tmp_path)})
    other = subprocess.Popen(["sleep", "60"], env={**os.environ, processes.MARK: f"{tmp_path}-other"})
    try:
        assert processes.marked(tmp_path) == [mine.pid]
        assert processes.program(mine.pid) == "sleep"
        assert processes.state(mine.pid) in ("S", "R", "D")
        assert processes.end_marked(tmp_path) == [mine.pid]
        assert mine.wait(10) == -9
        assert other.poll() is None
        assert processes.marked(tmp_path) == []
    finally:
        for process in (mine, other):
            process.kill()
            process.wait()


def test_of_a_process_that_is_gone() -> None:
    process = subprocess.Popen(["true"])
    process.wait()
    assert processes.state(process.pid) == "X"
    assert processes.cpu_seconds(process.pid) == 0
    assert processes.program(process.pid) == ""
    assert processes.wait_gone([process.pid], 1) == []


def test_processor_time_goes_up() -> None:
    before = processes.cpu_seconds(os.getpid())
    used = time.process_time()
    while time.process_time() < used + 0.2:
        sum(range(10000))
    assert before + 0.1 < processes.cpu_seconds(os.getpid()) < before + 2


def test_a_wait_that_is_too_short_names_who_lives() -> None:
    process = subprocess.Popen(["sleep", "60"])
    try:
        assert processes.wait_gone([process.pid], 0.05) == [process.pid]
    finally:
        process.kill()
        process.wait()
