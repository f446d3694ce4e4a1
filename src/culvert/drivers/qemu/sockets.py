"""UNIX sockets at paths of any length.

``sun_path`` holds 108 bytes (unix(7)); a daemon's directory may be deeper than that. The directory is opened and the
socket named below ``/proc/self/fd/N/``, which is short whatever the directory is.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path

SUN_PATH_LIMIT = 107  # sizeof(sun_path) without the final NUL


@contextlib.contextmanager
def _address(path: Path) -> Iterator[str]:
    if len(os.fsencode(path)) <= SUN_PATH_LIMIT:
        yield str(path)
        return
    directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{directory}/{path.name}"
    finally:
        os.close(directory)


def listen(path: Path, *, backlog: int = 1) -> socket.socket:
    """A non-blocking listening socket at ``path``, open to its owner only. A socket left there before is replaced.

    Raises ``OSError``; nothing is left open then.
    """
    # Non-blocking also for QEMU, which inherits it: its main thread and its monitor thread may both be woken for the
    # first connection, and the one that comes second would wait in accept(2) for ever (seen with 7.2.22, about once
    # in a thousand starts: a QEMU that neither greets nor heeds SIGTERM).
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
        with _address(path) as address:
            made.bind(address)
            Path(address).chmod(0o600)
        made.listen(backlog)
    except BaseException:
        made.close()
        raise
    return made


def connect(path: Path) -> socket.socket:
    """A non-blocking socket connected to the listener at ``path``.

    A UNIX connect answers at once: it succeeds, or fails with ``OSError`` (``BlockingIOError`` when the listener's
    queue is full); nothing is left open then.
    """
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        with _address(path) as address:
            made.connect(address)
    except BaseException:
        made.close()
        raise
    return made
