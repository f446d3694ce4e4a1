"""Files replaced as a whole, so that a crash or a power failure leaves the old text or the new one.

A file is written beside its place, flushed to the disk, renamed over the old one, and the directory flushed. A file
that cannot be read is set aside under another name with a loud log line, never deleted: it may be the only trace of
somebody's guest. Everything here may block on the disk: call it in a thread.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import stat
import tempfile
from pathlib import Path
from typing import BinaryIO

from culvert.ground import errors

log = logging.getLogger(__name__)

BESIDE = ".tmp"  # what the name of a file ends with that is being written
UNREADABLE = ".unreadable"  # what a set-aside file is called behind its name


def write_atomically(path: Path, text: str | bytes) -> None:
    """Replace ``path`` by ``text`` so that a crash leaves the old or the new. Raises ``errors.SystemCallError``."""
    beside = None
    try:
        # A name of its own for each writer: of two at once, one's text is there in the end, and whole.
        descriptor, made = tempfile.mkstemp(prefix=".", suffix=BESIDE, dir=path.parent)
        beside = Path(made)
        with open(descriptor, "wb") as file:
            file.write(text if isinstance(text, bytes) else text.encode())
            file.flush()
            os.fsync(file.fileno())
        beside.rename(path)
        flush_directory(path.parent)
    except OSError as err:
        if beside is not None:
            with contextlib.suppress(OSError):
                beside.unlink()
        raise errors.SystemCallError(f"cannot write '{path}': {err.strerror}", errno=err.errno) from err


def open_regular(path: Path) -> BinaryIO:
    """``path`` for reading, when it is a regular file: of others an open or a read may wait for somebody for ever.

    Raises ``OSError`` with words for people.
    """
    # Not to wait for a writer when it is a named pipe; of a regular file the flag changes nothing.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "it is not a regular file")
    return open(descriptor, "rb")


def remove(path: Path) -> None:
    """Remove ``path``; it may be gone already. Raises ``errors.SystemCallError``."""
    try:
        path.unlink(missing_ok=True)
        flush_directory(path.parent)
    except OSError as err:
        raise errors.SystemCallError(f"cannot remove '{path}': {err.strerror}", errno=err.errno) from err


def sweep(directory: Path) -> None:
    """Remove what is left of writes that were cut short; the files they were to replace are whole.

    Raises ``errors.SystemCallError``.
    """
    for path in directory.glob(f".*{BESIDE}"):
        remove(path)


def flush_directory(path: Path) -> None:
    """What names are in ``path`` is on the disk. Raises ``OSError``."""
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def set_aside(path: Path, why: Exception) -> None:
    """Move a file that cannot be used out of the way and say so."""
    for number in range(1000):
        target = path.with_name(f"{path.name}{UNREADABLE}" + (f".{number}" if number else ""))
        if not target.exists():
            break
    log.error("file=%s cannot be used, kept as %s reason=%r", path, target.name, str(why))
    with contextlib.suppress(OSError):
        path.rename(target)
