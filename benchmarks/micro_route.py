"""The pump's own measurement (``benchmarks.micro_pump``), as cells."""

from __future__ import annotations

import json
import subprocess
import sys

from benchmarks.hosts import LabError
from benchmarks.lab import Lab

GIB = 2.0
DEADLINE = 300
SECURITY = ("plain", "tls")
CHANNELS = (1, 2)
WORKERS = ("threads", "processes")


def measure(_: Lab, workers: str, security: str, channels: int) -> dict[str, float]:
    """Move two GiB without QEMU. Raises ``LabError`` with what was said."""
    argv = [
        *(sys.executable, "-m", "benchmarks.micro_pump", "--repeats", "1", "--gib", str(GIB), "--pieces", "32"),
        *("--workers", workers, "--security", security, "--channels", str(channels)),
    ]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=DEADLINE, check=False)
    if done.returncode:
        raise LabError(f"micro_pump: {done.stderr[-400:]}")
    found = json.loads(done.stdout)["results"][0]
    return {"mib_s": found["gib_per_second"] * 1024, "cpu_s_per_gib": found["cpu_seconds_per_gib"]}
