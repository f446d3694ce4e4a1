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
import tempfile
from dataclasses import dataclass
from pathlib import Path

from culvert.ground import errors
from culvert.ground.units import KiB
from culvert.io import files

_HEAD = struct.Struct(">16sIIQ")
_WHOLE, _PARTIAL = b"culvert saved 1\0", b"culvert part. 1\0"
ALIGNMENT = 4 * KiB  # of QEMU's stream
ROOM = 64 * KiB  # at least so much for XML
BESIDE = ".culvert-saving-"  # how the name of a file begins that is not whole yet
XML_MAX = 4096 * KiB  # as much as a client could send


@dataclass(frozen=True, slots=True)
class Saved:
    """A saved guest: its description, whether it ran, where QEMU's stream begins."""

    xml: str
    running: bool
    offset: int


@dataclass(frozen=True, slots=True)
class Saving:
    """A file that is being written: ``fd`` stands where QEMU's stream begins, ``place`` is where the file goes once
    it is whole, ``beside`` is its name until then."""

    fd: int
    place: Path
    beside: Path


def create(path: Path, xml: str, *, running: bool) -> Saving:
    """Begin a file that is to stand at ``path``, or where a link there leads; what is there stays until ``complete``.

    Close ``fd`` in any case. Raises ``errors.SystemCallError``, ``errors.OperationFailed`` for what is no file.
    """
    text = xml.encode()
    offset = _aligned(max(ROOM, _HEAD.size + 2 * len(text)))
    try:
        place = path.resolve()
        if place.exists() and not place.is_file():
            raise errors.OperationFailed(f"'{path}' is no regular file")
        fd, name = tempfile.mkstemp(prefix=BESIDE, suffix=files.BESIDE, dir=place.parent)
    except OSError as err:
        raise errors.SystemCallError(f"cannot write '{path}': {err.strerror}", errno=err.errno) from err
    saving = Saving(fd, place, Path(name))
    try:
        os.posix_fallocate(fd, 0, offset)  # so that a longer XML has its room, also on a disk that is full by then
        _write_all(fd, _HEAD.pack(_PARTIAL, int(running), len(text), offset) + text)
        os.lseek(fd, offset, os.SEEK_SET)
    except OSError as err:
        os.close(fd)
        discard(saving)
        raise errors.SystemCallError(f"cannot write '{path}': {err.strerror}", errno=err.errno) from err
    return saving


def discard(saving: Saving) -> None:
    """Remove what was begun: nothing has changed then. Does nothing after ``complete``."""
    with contextlib.suppress(OSError):
        saving.beside.unlink()


def complete(saving: Saving) -> None:
    """The stream is whole: the file is on the disk, says so, and stands at its place, instead of what stood there.

    Raises ``errors.SystemCallError``; then everything is as before.
    """
    try:
        os.fsync(saving.fd)
        os.pwrite(saving.fd, _WHOLE, 0)
        os.fsync(saving.fd)
        older = _kept(saving)
        try:
            saving.beside.rename(saving.place)
            files.flush_directory(saving.place.parent)  # the name too
        except OSError:
            with contextlib.suppress(OSError):
                if older is not None:
                    older.rename(saving.place)
                else:
                    saving.place.rename(saving.beside)
            raise
        finally:
            if older is not None:
                older.unlink(missing_ok=True)
    except OSError as err:
        raise errors.SystemCallError(f"cannot write '{saving.place}': {err.strerror}", errno=err.errno) from err


def _kept(saving: Saving) -> Path | None:
    """A second name for what stands at the place; ``None`` for nothing, or where a file has only one name."""
    older = saving.beside.with_name(saving.beside.name.removesuffix(files.BESIDE) + ".older" + files.BESIDE)
    try:
        os.link(saving.place, older)
    except OSError:
        return None
    return older


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
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            os.posix_fallocate(fd, 0, found.offset)  # a disk that is full is met before anything has changed
            before = os.pread(fd, _HEAD.size + len(text), 0)
            try:
                _write_all(fd, _HEAD.pack(_WHOLE, int(running), len(text), found.offset) + text)
                os.fsync(fd)
            except OSError:
                with contextlib.suppress(OSError):
                    _write_all(fd, before)
                raise
        finally:
            os.close(fd)
    except OSError as err:
        raise errors.SystemCallError(f"cannot write '{path}': {err.strerror}", errno=err.errno) from err


def _write_all(fd: int, data: bytes) -> None:
    """``data`` at the beginning of the file. Raises ``OSError``."""
    done = 0
    while done < len(data):
        done += os.pwrite(fd, data[done:], done)


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
