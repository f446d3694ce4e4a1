"""The demonstration itself, with a smaller guest."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.timeout(400)
def test_there_and_back() -> None:
    argv = [sys.executable, "-m", "demo", "--mib", "32", "--dirty-mib", "16", "--dirty-mib-s", "10"]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=380, check=False)
    said = json.loads(done.stdout.splitlines()[-1])
    assert (done.returncode, said["result"]) == (0, "completed"), done.stdout + done.stderr
    assert said["bytes"] > 2 * 32 << 20
    assert [(trip["source"], trip["destination"]) for trip in said["trips"]] == [("a", "b"), ("b", "a")]
    assert said["counter"]["last"] > said["counter"]["first"]
    assert said["memory"]["bad"] == 0
