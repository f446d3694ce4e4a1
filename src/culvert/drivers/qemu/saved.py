"""The file a guest is saved in: a header of culvert's own, the domain's XML, and QEMU's migration stream.

::

    offset  size  field, numbers big-endian
    0       16    "culvert saved 1\\0"; "culvert part. 1\\0" while it is being written
    16      4     1 when the guest ran and is to run again, else 0
    20      4     bytes of XML, in UTF-8
    24      8     offset of QEMU's stream; between the XML and it there is room for a longer XML
    32            XML of the domain (VIR_DOMAIN_XML_MIGRATABLE, with passwords)

Every function may block on the disk: call it in a thread.
"""

from __future__ import annotations

import contextlib
import os
import stat
import struct
from dataclasses import dataclass
from pathlib import Path

from culvert.ground import errors
from culvert.ground.units import KiB
from culvert.io import files

_HEAD = struct.Struct(">16sIIQ")
_WHOLE, _PARTIAL = b"culvert saved 1\0", b"culvert part. 1\0"
ALIGNMENT = 4 * KiB  # of QEMU's stream
ROOM = 64 * KiB  # at least so much for XML
XML_MAX = 4096 * KiB  # as much as a client could send


@dataclass(frozen=True, slots=True)
class Saved:
    """A saved guest: its description, whether it ran, where QEMU's stream begins."""

    xml: str
    running: bool
    offset: int


def create(path: Path, xml: str, *, running: bool) -> int:
    """Begin a file: a descriptor that stands where QEMU's stream begins. Replaces a file that is there.

    Raises ``errors.SystemCallError``.
    """
    text = xml.encode()
    offset = _aligned(max(ROOM, _HEAD.size + 2 * len(text)))
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NONBLOCK, 0o600)
        try:
            _check_regular(fd, path)
            os.pwrite(fd, _HEAD.pack(_PARTIAL, int(running), len(text), offset) + text, 0)
            os.lseek(fd, offset, os.SEEK_SET)
        except BaseException:
            os.close(fd)
            discard(path)
            raise
    except OSError as err:
        raise errors.SystemCallError(f"cannot write '{path}': {err.strerror}", errno=err.errno) from err
    return fd


def discard(path: Path) -> None:
    """Remove a file that was begun; what is no regular file stays."""
    with contextlib.suppress(OSError):
        if stat.S_ISREG(path.lstat().st_mode):
            path.unlink()


def complete(fd: int, path: Path) -> None:
    """The stream is whole: it is on the disk, and the file says so. Raises ``errors.SystemCallError``."""
    try:
        os.fsync(fd)
        os.pwrite(fd, _WHOLE, 0)
        os.fsync(fd)
        files.flush_directory(path.parent)  # the name too
    except OSError as err:
        raise errors.SystemCallError(f"cannot write '{path}': {err.strerror}", errno=err.errno) from err


def open_saved(path: Path) -> tuple[int, Saved]:
    """A descriptor that stands where QEMU's stream begins, and what the header says.

    Raises ``errors.SystemCallError``, and ``errors.OperationFailed`` for a file that holds no whole saved guest.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # what is no file does not hold us up
    except OSError as err:
        raise errors.SystemCallError(f"cannot read '{path}': {err.strerror}", errno=err.errno) from err
    try:
        _check_regular(fd, path)
        found = _read(fd, path)
        os.lseek(fd, found.offset, os.SEEK_SET)
    except BaseException:
        os.close(fd)
        raise
    return fd, found


def read(path: Path) -> Saved:
    """What the header says. Raises as ``open_saved``."""
    fd, found = open_saved(path)
    os.close(fd)
    return found


def rewrite(path: Path, xml: str, *, running: bool) -> None:
    """Put another description in. Raises as ``open_saved``, and ``errors.OperationFailed`` when it is too long."""
    found, text = read(path), xml.encode()
    if _HEAD.size + len(text) > found.offset:
        raise errors.OperationFailed(f"new xml too large to fit in file '{path}'")
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.pwrite(fd, _HEAD.pack(_WHOLE, int(running), len(text), found.offset) + text, 0)
            os.fsync(fd)
        finally:
            os.close(fd)
    except OSError as err:
        raise errors.SystemCallError(f"cannot write '{path}': {err.strerror}", errno=err.errno) from err


def _check_regular(fd: int, path: Path) -> None:
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        raise errors.OperationFailed(f"'{path}' is no regular file")


def _read(fd: int, path: Path) -> Saved:
    try:
        head = os.pread(fd, _HEAD.size, 0)
        magic, running, length, offset = _HEAD.unpack(head)
        text = os.pread(fd, min(length, XML_MAX), _HEAD.size)
        if magic == _PARTIAL:
            raise errors.OperationFailed(f"'{path}' holds a guest whose saving was not finished")
        if magic != _WHOLE or len(text) != length or offset < _HEAD.size + length:
            raise errors.OperationFailed(f"'{path}' is no file that culvert has saved a guest in")
        return Saved(text.decode(), bool(running), offset)
    except (struct.error, ValueError) as err:
        raise errors.OperationFailed(f"'{path}' is no file that culvert has saved a guest in") from err
    except OSError as err:
        raise errors.SystemCallError(f"cannot read '{path}': {err.strerror}", errno=err.errno) from err


def _aligned(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT
