"""systemd is told, where there is one, and where there is none nobody is the worse for it."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from culvert.daemon.notify import notify


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    """The service manager's socket, at ``notify`` in the test's folder."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "notify"))
        sock.settimeout(10)
        yield sock


def waiting(sock: socket.socket) -> list[bytes]:
    """What has been sent to ``sock`` and not been read; a UNIX datagram is there as soon as it is sent."""
    sock.setblocking(False)
    found = []
    try:
        while True:
            found.append(sock.recv(1000))
    except BlockingIOError:
        return found


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.parametrize("abstract", [False, True])
def test_the_service_manager_gets_the_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, abstract: bool) -> None:
    name = f"culvert-test-{tmp_path.name}-{id(tmp_path)}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind("\0" + name if abstract else name)
        monkeypatch.setenv("NOTIFY_SOCKET", "@" + name if abstract else name)
        notify("READY=1")
        notify("STOPPING=1")
        assert waiting(manager) == [b"READY=1", b"STOPPING=1"]


@pytest.mark.parametrize("value", [None, ""], ids=["not set", "empty"])
def test_without_one_nothing_is_sent(
    manager: socket.socket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str | None
) -> None:
    opened: list[object] = []
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    if value is not None:
        monkeypatch.setenv("NOTIFY_SOCKET", value)
    # Neither to a name that it makes up, nor to one that it remembers: it does not even open a socket.
    monkeypatch.setattr(socket, "socket", lambda *args: opened.append(args))
    notify("READY=1")
    assert opened == []
    assert waiting(manager) == []


def test_one_that_is_dead_or_deaf_raises_nothing_and_keeps_nothing(
    manager: socket.socket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = descriptors()
    for path in (tmp_path / "gone", tmp_path, Path("/" + "x" * 200)):
        monkeypatch.setenv("NOTIFY_SOCKET", str(path))
        notify("READY=1")
    assert waiting(manager) == []
    # One that does not read: its queue fills up, and nobody waits for it.
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    for _ in range(5000):
        notify("READY=1")
    assert 0 < len(waiting(manager)) < 5000
    manager.close()
    notify("READY=1")
    assert descriptors() == before - 1
