"""The few lines of shell in front of QEMU."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from benchmarks import emulator
from benchmarks.emulator import Emulator


@pytest.fixture
def front(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Emulator:
    """An emulator whose QEMU prints its arguments, one a line."""
    fake = tmp_path / "fake"
    fake.write_text("#!/bin/bash\necho $$\nprintf '%s\\n' \"$@\"\n")
    fake.chmod(0o755)
    monkeypatch.setattr(emulator, "QEMU", fake)
    return Emulator(tmp_path)


def run(front: Emulator, *words: str) -> list[str]:
    return subprocess.run([front.path, *words], capture_output=True, text=True, check=True).stdout.splitlines()


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        (("-m", "13"), ("-m", "12296k")),
        (("-m", "size=13312k"), ("-m", "size=12296k")),
        (("-m", "size=12296k"), ("-m", "size=12296k")),  # spared already
        (
            ("-object", '{"qom-type":"memory-backend-ram","id":"pc.ram","size":13631488}'),
            ("-object", '{"qom-type":"memory-backend-ram","id":"pc.ram","size":12591104}'),
        ),
        (
            ("-object", '{"qom-type":"memory-backend-ram","id":"pc.ram","size":12591104}'),
            ("-object", '{"qom-type":"memory-backend-ram","id":"pc.ram","size":12591104}'),
        ),
        (("-smp", "1", "a b", "*"), ("-smp", "1", "a b", "*")),
    ],
)
def test_what_libvirt_adds_to_the_memory_is_taken_back(
    front: Emulator, given: tuple[str, ...], wanted: tuple[str, ...]
) -> None:
    assert tuple(run(front, *given)[1:]) == wanted


def test_a_guest_has_a_monitor_by_its_process_id(front: Emulator) -> None:
    pid, *words = run(front, "-S", "-name", "guest=g")
    assert words == ["-S", "-name", "guest=g", "-qmp", f"unix:{front.monitor(int(pid))},server=on,wait=off"]
    assert "-qmp" not in run(front, "-machine", "none")
