"""Runs SPIN on ``model/handover.pml``. ``python -m tests.model.spin FAULTS`` prints how much it has looked at."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

MODEL = Path(__file__).resolve().parents[2] / "model" / "handover.pml"
ALWAYS = ("one_copy", "a_copy", "truth")  # what holds at every moment, with the model's own assertions
EVENTUALLY = "settles"  # what comes about, when every process that can go on does so some time
DEPTH = 1_000_000
SECONDS = 1800.0


@dataclass(frozen=True)
class Verdict:
    """What ``pan`` has found: ``error`` is empty when the property holds in all ``states``."""

    error: str
    states: int
    depth: int


def build(folder: Path, *defines: str) -> None:
    """Make the verifier in ``folder``, with ``defines`` for the model's preprocessor."""
    _run(folder, "spin", "-a", *(f"-D{define}" for define in defines), str(MODEL))
    # The verifier runs for a second: the compiler must not take longer than it saves.
    _run(folder, "gcc", "-O1", "-w", "-DCOLLAPSE", "-o", "pan", "pan.c")


def check(folder: Path, claim: str) -> Verdict:
    """Check one claim with the verifier in ``folder``."""
    fair = ["-f"] if claim == EVENTUALLY else []
    told = _run(folder, "./pan", "-a", *fair, "-N", claim, f"-m{DEPTH}")
    counted = re.search(r"depth reached (\d+), errors: (\d+)", told)
    stored = re.search(r"(\d+) states, stored", told)
    if counted is None or stored is None or "max search depth too small" in told:
        raise AssertionError(told)
    error = re.search(r"^pan:\d+: (.*)$", told, re.MULTILINE)
    if (error is None) != (counted[2] == "0"):
        raise AssertionError(told)
    return Verdict(error[1] if error else "", int(stored[1]), int(counted[1]))


def _run(folder: Path, *command: str) -> str:
    done = subprocess.run(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=SECONDS, check=False
    )
    if done.returncode != 0:
        raise AssertionError(f"{' '.join(command)}: {done.stdout}")
    return done.stdout


def main(faults: int) -> None:
    """Every claim, with this many faults."""
    for more in ((), ("POSTCOPY",)):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            build(folder, f"FAULTS={faults}", *more)
            for claim in (*ALWAYS, EVENTUALLY):
                verdict = check(folder, claim)
                said = f"{verdict.states:>12,} states, depth {verdict.depth:>5}: {verdict.error or 'holds'}"
                print(f"{' '.join((claim, *more)):19} {said}", flush=True)
                if verdict.error:
                    raise SystemExit(1)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 4)
