from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterator

import pytest

from culvert.io.hangup import HangupWatch


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


async def test_end_is_told_behind_unread_data(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    gone = asyncio.Event()
    HangupWatch(ours.fileno(), gone.set)
    theirs.send(b"unread")
    await asyncio.sleep(0.01)
    assert not gone.is_set()
    theirs.close()
    async with asyncio.timeout(5):
        await gone.wait()
    assert ours.recv(10) == b"unread"


async def test_stopped_watch_says_nothing_and_keeps_nothing(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    before = len(os.listdir("/proc/self/fd"))
    told: list[bool] = []
    watch = HangupWatch(ours.fileno(), lambda: told.append(True))
    watch.stop()
    watch.stop()
    theirs.close()
    await asyncio.sleep(0.01)
    assert not told
    assert len(os.listdir("/proc/self/fd")) == before - 1


async def test_no_descriptors_no_watch(
    pair: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> None:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr("select.epoll", refuse)
    HangupWatch(pair[0].fileno(), lambda: None).stop()
