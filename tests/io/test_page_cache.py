"""What is asked out of the page cache, and when."""

from __future__ import annotations

import asyncio
import os
import threading
from pathlib import Path

import pytest

from culvert.io import page_cache

SIZE = 65536


@pytest.fixture
def fd(tmp_path: Path) -> int:
    path = tmp_path / "file"
    path.write_bytes(bytes(SIZE))
    return os.open(path, os.O_RDWR)


class Kernel:
    """``posix_fadvise``, as far as it matters."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, int, int]] = []
        self.often = threading.Event()

    def posix_fadvise(self, fd: int, offset: int, length: int, advice: int) -> None:
        os.fstat(fd)  # it is open still
        self.asked.append((offset, length, advice))
        if len(self.asked) >= 3:
            self.often.set()


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    kernel = Kernel()
    monkeypatch.setattr(page_cache, "PAUSE", 0.001)
    monkeypatch.setattr(os, "posix_fadvise", kernel.posix_fadvise)
    return kernel


WHOLE = (0, 0, os.POSIX_FADV_DONTNEED)


async def test_what_is_written_is_let_go_of_meanwhile_and_at_the_end(fd: int, kernel: Kernel) -> None:
    async with page_cache.kept_clear(fd):
        assert await asyncio.to_thread(kernel.often.wait, 30)
    os.close(fd)  # nobody uses it any more
    assert set(kernel.asked) == {WHOLE}


async def test_what_is_read_ahead_is_left_until_it_has_been_read(fd: int, kernel: Kernel) -> None:
    os.lseek(fd, 8192, os.SEEK_SET)
    async with page_cache.kept_clear(fd, reading=True):
        assert await asyncio.to_thread(kernel.often.wait, 30)
    os.close(fd)
    assert set(kernel.asked) == {(0, 8192, os.POSIX_FADV_DONTNEED), WHOLE}
    assert kernel.asked[-1] == WHOLE


async def test_nothing_is_asked_of_who_has_not_read_yet_or_does_not_want_it(fd: int, kernel: Kernel) -> None:
    async with page_cache.kept_clear(fd, reading=True):
        await asyncio.sleep(0.01)
    assert kernel.asked == [WHOLE]
    kernel.asked.clear()
    async with page_cache.kept_clear(fd, wanted=False):
        await asyncio.sleep(0.01)
    os.close(fd)
    assert kernel.asked == []


async def test_a_failure_inside_passes_and_the_watch_is_over(fd: int, kernel: Kernel) -> None:
    with pytest.raises(ZeroDivisionError):
        async with page_cache.kept_clear(fd):
            raise ZeroDivisionError
    os.close(fd)
    assert kernel.asked[-1] == WHOLE
    assert "page-cache" not in {one.name for one in threading.enumerate()}
