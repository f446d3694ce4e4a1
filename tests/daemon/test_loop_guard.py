"""The guard over the event loop: what holds it is told, and what a busy machine does to it is not."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable

import pytest

from culvert.daemon import loop_guard
from culvert.daemon.loop_guard import LoopGuard
from tests.support.wait import wait_for

LIMIT = 0.05  # seconds


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [line for line in caplog.messages if line.startswith(loop_guard.HELD)]


def held(guard: LoopGuard, callback: Callable[[], object]) -> None:
    """``callback`` runs on a loop, ``guard`` looks on."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        done = asyncio.Event()
        loop.call_soon(callback)
        loop.call_soon(done.set)
        await done.wait()

    with guard.on():
        asyncio.run(main())


def test_a_callback_that_computes_is_told(caplog: pytest.LogCaptureFixture) -> None:
    def compute() -> None:
        until = time.thread_time() + 2 * LIMIT
        while time.thread_time() < until:
            pass

    held(LoopGuard(LIMIT), compute)
    (line,) = told(caplog)
    assert "compute" in line


def test_a_callback_that_sleeps_in_a_system_call_is_told(caplog: pytest.LogCaptureFixture) -> None:
    guard = LoopGuard(LIMIT)
    reading, writing = os.pipe()

    def wake() -> None:
        try:
            wait_for(lambda: guard.asleep() > LIMIT, "the guard to see it asleep")
        finally:
            os.write(writing, b"x")

    waker = threading.Thread(target=wake)
    waker.start()
    held(guard, lambda: os.read(reading, 1))
    waker.join()
    os.close(reading)
    os.close(writing)
    (line,) = told(caplog)
    assert "test_loop_guard.py" in line.partition(" at=")[2]


def test_short_callbacks_and_locks_are_not_told(caplog: pytest.LogCaptureFixture) -> None:
    """Who waits for the interpreter lock looks like who waits for any other."""
    held(LoopGuard(LIMIT), lambda: threading.Event().wait(4 * LIMIT))
    assert told(caplog) == []


STOPPED = """
import asyncio, logging, os, signal, sys
from culvert.daemon.loop_guard import LoopGuard

async def main():
    asyncio.get_running_loop().call_soon(os.kill, os.getpid(), signal.SIGSTOP)
    await asyncio.sleep(0)
    await asyncio.sleep(0)

logging.basicConfig(stream=sys.stdout)
with LoopGuard(float(sys.argv[1])).on():
    asyncio.run(main())
print("over")
"""


def test_a_process_that_is_not_let_run_is_not_told_of() -> None:
    argv = [sys.executable, "-c", STOPPED, str(LIMIT)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        _, status = os.waitpid(process.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status)
        time.sleep(4 * LIMIT)
        process.send_signal(signal.SIGCONT)
        output, _ = process.communicate(timeout=60)
    assert output == "over\n"


def test_it_runs_when_the_environment_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    original = asyncio.Handle._run
    monkeypatch.delenv(loop_guard.VARIABLE, raising=False)
    with loop_guard.from_environment():
        assert asyncio.Handle._run is original
    monkeypatch.setenv(loop_guard.VARIABLE, "0")
    with caplog.at_level(logging.ERROR), loop_guard.from_environment():
        assert asyncio.Handle._run is not original
        asyncio.run(asyncio.sleep(0))
    assert asyncio.Handle._run is original
    assert told(caplog)
