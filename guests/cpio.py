"""A writer for the ``newc`` cpio archives that Linux takes as its initial file system.

Layout: Linux Documentation/driver-api/early-userspace/buffer-format.rst: per member a header of "070701" and thirteen
8-digit hexadecimal fields, the name with a NUL, the data; name and data each padded to a multiple of 4 bytes; the
member "TRAILER!!!" ends it.
"""

from __future__ import annotations

import stat
from collections.abc import Iterable
from dataclasses import dataclass

MAGIC = "070701"
TRAILER = "TRAILER!!!"


@dataclass(frozen=True, slots=True)
class Member:
    """One file, folder or device: ``mode`` as of ``stat``, ``device`` as (major, minor)."""

    name: str
    mode: int
    data: bytes = b""
    device: tuple[int, int] = (0, 0)


def folder(name: str) -> Member:
    """A folder anyone may enter."""
    return Member(name, stat.S_IFDIR | 0o755)


def program(name: str, data: bytes) -> Member:
    """An executable file."""
    return Member(name, stat.S_IFREG | 0o755, data)


def character_device(name: str, major: int, minor: int) -> Member:
    """A character device only root may use."""
    return Member(name, stat.S_IFCHR | 0o600, device=(major, minor))


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


def _packed(inode: int, member: Member) -> bytes:
    name = member.name.encode() + b"\0"
    links = 2 if stat.S_ISDIR(member.mode) else 1
    fields = (
        *(inode, member.mode, 0, 0, links, 0, len(member.data)),  # ino mode uid gid nlink mtime filesize
        *(0, 0, *member.device, len(name), 0),  # maj min rmaj rmin namesize check
    )
    header = MAGIC + "".join(f"{value:08X}" for value in fields)
    return _padded(header.encode() + name) + _padded(member.data)


def archive(members: Iterable[Member]) -> bytes:
    """The archive of ``members`` in their order; the same members give the same bytes."""
    listed = [*members, Member(TRAILER, 0)]
    return b"".join(_packed(inode, member) for inode, member in enumerate(listed, 1))
