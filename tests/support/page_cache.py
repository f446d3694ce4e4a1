"""How much of a file is in the page cache of this host: mincore(2)."""

from __future__ import annotations

import ctypes
import mmap
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_LIBC = ctypes.CDLL(None, use_errno=True)


@contextmanager
def place() -> Iterator[Path]:
    """A new folder where files go to a disk, as /tmp may not let them; removed at the end."""
    with tempfile.TemporaryDirectory(prefix="culvert-", dir="/var/tmp") as folder:
        yield Path(folder)


def cached(path: Path) -> int:
    """Bytes, in whole pages."""
    size = path.stat().st_size
    with path.open("rb") as file, mmap.mmap(file.fileno(), size, access=mmap.ACCESS_COPY) as mapped:
        pages = (ctypes.c_ubyte * -(-size // mmap.PAGESIZE))()
        first = ctypes.c_ubyte.from_buffer(mapped)
        try:
            if _LIBC.mincore(ctypes.c_void_p(ctypes.addressof(first)), ctypes.c_size_t(size), pages):
                raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        finally:
            del first  # else the mapping cannot be closed
    return sum(page & 1 for page in pages) * mmap.PAGESIZE
