from __future__ import annotations

import asyncio
import errno
import os
import select
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


class NoRoom:
    """An epoll set that is made and takes nothing in."""

    def __init__(self) -> None:
        self._real = real_epoll()

    def register(self, fd: int, events: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def close(self) -> None:
        self._real.close()


real_epoll = select.epoll


def no_descriptors() -> None:
    raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))


@pytest.mark.parametrize(
    ("made", "words"), [(no_descriptors, "Too many open files"), (NoRoom, "No space left")], ids=["none", "full"]
)
async def test_where_nothing_can_be_watched_the_end_is_seen_by_reading(
    pair: tuple[socket.socket, socket.socket],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    made: object,
    words: str,
) -> None:
    ours, theirs = pair
    before = len(os.listdir("/proc/self/fd"))
    told: list[bool] = []
    monkeypatch.setattr("select.epoll", made)
    watch = HangupWatch(ours.fileno(), lambda: told.append(True))
    assert len(os.listdir("/proc/self/fd")) == before
    assert "hangup not watched error=" in caplog.text
    assert words in caplog.text
    theirs.close()
    await asyncio.sleep(0.01)
    assert not told
    assert ours.recv(10) == b""
    watch.stop()
    watch.stop()
    assert not told
