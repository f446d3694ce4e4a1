"""UNIX sockets between this daemon and QEMU, at paths of any length (``io.address``)."""

from __future__ import annotations

import contextlib
import os
import socket
from pathlib import Path

from culvert.io import address


def for_qemu(path: Path) -> contextlib.AbstractContextManager[str]:
    """The path by which QEMU can reach the socket at ``path``, for the length of the block."""
    return address.short(str(path), of=str(os.getpid()))


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
        with address.short(str(path)) as place:
            made.bind(place)
            Path(place).chmod(0o600)
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
        with address.short(str(path)) as place:
            made.connect(place)
    except BaseException:
        made.close()
        raise
    return made
