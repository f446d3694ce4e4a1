"""What processes take while they are watched."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest

from benchmarks.hosts import LabError
from benchmarks.meter import Meter
from tests.support.wait import wait_for

# Says so before and after it has worked, held memory, and let go of it; then it waits.
WORKER = """
import sys, time
print("ready", flush=True); sys.stdin.readline()
memory = bytearray(64 << 20); memory[::4096] = b"x" * len(memory[::4096]); del memory
begun = time.process_time()
while time.process_time() < begun + 0.2: pass
print("done", flush=True); sys.stdin.readline()
"""


@pytest.fixture
def worker() -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", WORKER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    )
    yield process
    process.kill()
    process.communicate()


def tell(process: subprocess.Popen[str]) -> None:
    assert process.stdin
    process.stdin.write("\n")


def hear(process: subprocess.Popen[str]) -> str:
    assert process.stdout
    return process.stdout.readline().strip()


def test_work_counts_from_the_start_and_is_whose_it_is(worker: subprocess.Popen[str]) -> None:
    assert hear(worker) == "ready"
    meter = Meter(lambda: {"a": [worker.pid], "b": []})
    meter.start()
    tell(worker)
    assert hear(worker) == "done"
    meter.stop()
    meter.stop()
    assert meter.cpu(qemu=False) == meter.cpu(qemu=False, host="a") >= 0.2
    assert meter.cpu(qemu=False, host="b") == meter.cpu(qemu=True) == 0
    assert meter.peak("a") > 64 << 20
    assert meter.peak("b") == 0


def test_what_was_not_seen_is_not_taken_for_nothing() -> None:
    looks: list[dict[str, list[int]]] = [{"a": []}]
    meter = Meter(looks.pop)
    meter.start()
    wait_for(lambda: meter._failed is not None, "the second look fails")
    meter.stop()
    with pytest.raises(LabError, match="pop from empty list"):
        meter.cpu(qemu=False)
