"""A QEMU observed by a monitor of its own."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks import monitor
from benchmarks.monitor import Monitor, MonitorError


def playing(path: Path, answers: Callable[[str], list[dict[str, Any]]]) -> threading.Thread:
    """A QEMU that answers each command with messages; an ``id`` of its is the command's."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen(1)

    def play() -> None:
        sock, _ = listener.accept()
        with listener, sock, sock.makefile("rb") as file:
            sock.sendall(b'{"QMP": {}}\n')
            for line in file:
                command = json.loads(line)
                for message in answers(command["execute"]):
                    sock.sendall(json.dumps({**message, "id": command["id"]}).encode() + b"\n")

    thread = threading.Thread(target=play, name="QEMU", daemon=True)
    thread.start()
    return thread


def test_figures_are_asked_for_until_they_are_there(folder: Path) -> None:
    totals = iter([0, 0, 1234])

    def answers(command: str) -> list[dict[str, Any]]:
        if command == "query-migrate":
            return [{"return": {"status": "completed", "total-time": next(totals)}}]
        stamp = {"seconds": 1, "microseconds": 0}
        completed = {"event": "MIGRATION", "data": {"status": "completed"}, "timestamp": stamp}
        return [{"return": {}}, *([completed] if command == "cont" else [])]

    thread = playing(folder / "m", answers)
    observed = Monitor(folder / "m")
    observed.execute("cont")
    observed.wait(lambda event: event.name == "MIGRATION", "its end", 20)
    assert observed.migration.result(20)["total-time"] == 1234
    assert observed.first("MIGRATION", "completed") is not None
    assert observed.first("MIGRATION", "failed") is None
    observed.close()
    observed.close()
    thread.join(20)


def test_refusals_and_silence_are_told(folder: Path) -> None:
    def answers(command: str) -> list[dict[str, Any]]:
        return [{"error": {"desc": "no"}}] if command == "migrate" else [{"return": {}}]

    playing(folder / "m", answers)
    observed = Monitor(folder / "m")
    with pytest.raises(MonitorError, match="no"):
        observed.execute("migrate", uri="tcp:x:1")
    with pytest.raises(MonitorError, match="the guest stops: not within"):
        observed.wait(lambda event: event.name == "STOP", "the guest stops", 0.01)
    observed.close()


def test_nobody_there(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(monitor, "CONNECT", 0.01)
    with pytest.raises(MonitorError, match="no QEMU listens"):
        Monitor(folder / "m")
