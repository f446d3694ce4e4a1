"""The page cache kept clear of a file that another process writes or reads: VIR_DOMAIN_SAVE_BYPASS_CACHE.

libvirt opens such a file with O_DIRECT and has a process of its own copy the stream, because QEMU's buffers are
aligned to nothing. Here QEMU has the file itself, and nobody copies: what it has written or read is asked out of the
cache behind it (POSIX_FADV_DONTNEED), again and again, and once more when all of it is on the disk. What is still to
be written cannot be let go of, but its writing begins with the asking (mm/fadvise.c of Linux), so that the next one
finds it clean; no error of that writing is taken away from the ``fsync`` at the end. Where a file system keeps its
files in the cache alone (tmpfs), nothing comes of it.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import AsyncIterator

from culvert.io import blocking

PAUSE = 0.1  # seconds; so much of the stream is in the cache at most, beside what the disk is behind


@contextlib.asynccontextmanager
async def kept_clear(fd: int, *, wanted: bool = True, reading: bool = False) -> AsyncIterator[None]:
    """Inside, whoever has got ``fd`` passes by the page cache; afterwards nothing of the file is in it but what is
    not on the disk yet. Does nothing unless ``wanted``.

    ``reading``: only what lies before the place at which ``fd`` stands is let go of, for what the kernel has read
    ahead is of use. ``fd`` is a file's, and stays open inside.
    """
    if not wanted:
        yield
        return
    over = threading.Event()
    watcher = threading.Thread(target=_keep_clear, args=(fd, over, reading), name="page-cache", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        await blocking.to_its_end(watcher.join)  # it uses the descriptor, which its owner is about to close


def _keep_clear(fd: int, over: threading.Event, reading: bool) -> None:
    while not over.wait(PAUSE):
        _let_go(fd, reading=reading)
    _let_go(fd, reading=False)


def _let_go(fd: int, *, reading: bool) -> None:
    end = os.lseek(fd, 0, os.SEEK_CUR) if reading else 0  # QEMU moves the same place: it was given this descriptor
    if end or not reading:
        os.posix_fadvise(fd, 0, end, os.POSIX_FADV_DONTNEED)  # a length of 0 is all of it
