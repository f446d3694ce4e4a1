"""UNIX socket addresses of any length.

The kernel takes 108 bytes (``sun_path``, unix(7)). A longer path is reached through a descriptor of its folder:
``/proc/self/fd/N/name``.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from culvert.ground import errors

SUN_PATH_MAX = 107  # sizeof(sun_path) less the terminating NUL


@contextmanager
def short(path: str, *, of: str = "self") -> Iterator[str]:
    """An address for ``path`` that the kernel can take, valid inside the ``with`` block.

    ``of``: whose descriptors the address speaks of; with this process's number another process of the same user can
    use it too. Raises ``errors.InvalidArgument`` when even the name without its folder is too long, ``OSError`` when
    the folder cannot be opened.
    """
    if len(os.fsencode(path)) <= SUN_PATH_MAX:
        yield path
        return
    folder, name = os.path.split(path)
    descriptor = os.open(folder or ".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        address = f"/proc/{of}/fd/{descriptor}/{name}"
        if len(os.fsencode(address)) > SUN_PATH_MAX:
            raise errors.InvalidArgument(f"socket name '{name}' is too long for a UNIX socket")
        yield address
    finally:
        os.close(descriptor)
