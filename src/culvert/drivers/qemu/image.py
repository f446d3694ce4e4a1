"""The sizes of a disk image that no QEMU has open.

Source: docs/interop/qcow2.txt of QEMU for the header.
"""

from __future__ import annotations

import os
import stat
import struct
from dataclasses import dataclass

from culvert.ground import errors

_QCOW2 = struct.Struct(">4sI16xQ")  # magic, version, (backing file, cluster bits), virtual size
_MAGIC = b"QFI\xfb"
SECTOR = 512  # the unit of st_blocks, stat(2)


@dataclass(frozen=True, slots=True)
class Sizes:
    """Bytes: what the guest sees, what is taken on the host's storage, how long the file is."""

    capacity: int
    allocation: int
    physical: int


def opened(path: str) -> int:
    """A descriptor to read the image by. Raises ``errors.SystemCallError``."""
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as err:
        raise errors.SystemCallError(f"cannot look at disk image '{path}': {err.strerror}", errno=err.errno) from err


def sizes(path: str, kind: str) -> Sizes:
    """Look at the file or block device ``path`` of format ``kind``. Blocks: call it in a thread.

    Raises ``errors.SystemCallError`` when it cannot be read.
    """
    descriptor = opened(path)
    try:
        try:
            about = os.fstat(descriptor)
            physical = os.lseek(descriptor, 0, os.SEEK_END)
            head = os.pread(descriptor, _QCOW2.size, 0)
        finally:
            os.close(descriptor)
    except OSError as err:
        raise errors.SystemCallError(f"cannot look at disk image '{path}': {err.strerror}", errno=err.errno) from err
    allocation = physical if stat.S_ISBLK(about.st_mode) else about.st_blocks * SECTOR
    return Sizes(_capacity(kind, head, physical), allocation, physical)


def _capacity(kind: str, head: bytes, physical: int) -> int:
    if kind == "qcow2" and len(head) == _QCOW2.size and head.startswith(_MAGIC):
        return int(_QCOW2.unpack(head)[2])
    return physical
