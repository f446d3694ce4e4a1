"""Definitions and live status on disk.

A file is replaced as a whole: written beside its place, flushed to the disk, renamed over the old one, and the
directory flushed, so that after a power failure there is the old text or the new one. A file that cannot be read is
set aside under another name with a loud log line, never deleted: it may be the only trace of somebody's guest.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from culvert.drivers.qemu.layout import DIRECTORY_MODE, Layout
from culvert.drivers.qemu.status import Status
from culvert.ground import errors

log = logging.getLogger(__name__)

T = TypeVar("T")

UNREADABLE = ".unreadable"  # what a set-aside file is called behind its name


def write_atomically(path: Path, text: str) -> None:
    """Replace ``path`` by ``text`` so that a crash leaves the old or the new. Raises ``errors.SystemCallError``."""
    beside = path.with_name(f".{path.name}.tmp")
    try:
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with open(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        beside.rename(path)
        flush_directory(path.parent)
    except OSError as err:
        with contextlib.suppress(OSError):
            beside.unlink()
        raise errors.SystemCallError(f"cannot write '{path}': {err.strerror}", errno=err.errno) from err


def remove(path: Path) -> None:
    """Remove ``path``; it may be gone already. Raises ``errors.SystemCallError``."""
    try:
        path.unlink(missing_ok=True)
        flush_directory(path.parent)
    except OSError as err:
        raise errors.SystemCallError(f"cannot remove '{path}': {err.strerror}", errno=err.errno) from err


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


class Store:
    """The files of one layout. Every method may block on the disk: call it in a thread."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout

    def save_definition(self, name: str, xml: str) -> None:
        write_atomically(self.layout.definition(name), xml)

    def remove_definition(self, name: str) -> None:
        remove(self.layout.definition(name))

    def autostarts(self) -> set[str]:
        """The names of the domains that start with the host."""
        return {path.stem for path in self.layout.autostart("x").parent.glob("*.xml")}

    def set_autostart(self, name: str, wanted: bool) -> None:
        """Raises ``errors.SystemCallError``."""
        link = self.layout.autostart(name)
        if not wanted:
            if link.is_symlink():
                remove(link)
            with contextlib.suppress(OSError):  # others are in it, or it was never made
                link.parent.rmdir()
            return
        try:
            link.parent.mkdir(mode=DIRECTORY_MODE, exist_ok=True)
            with contextlib.suppress(FileExistsError):
                link.symlink_to(self.layout.definition(name))
            flush_directory(link.parent)
        except OSError as err:
            raise errors.SystemCallError(f"cannot make link '{link}': {err.strerror}", errno=err.errno) from err

    def left(self, name: str) -> str:
        """Where the domain has gone; empty while it has not."""
        try:
            return self.layout.left(name).read_text(encoding="utf-8").strip()
        except (OSError, ValueError):
            return ""

    def set_left(self, name: str, where: str) -> None:
        """``where``: empty when it is here again. Raises ``errors.SystemCallError``."""
        path = self.layout.left(name)
        if not where:
            remove(path)
            return
        try:
            path.parent.mkdir(mode=DIRECTORY_MODE, exist_ok=True)
        except OSError as err:
            raise errors.SystemCallError(
                f"cannot create directory '{path.parent}': {err.strerror}", errno=err.errno
            ) from err
        write_atomically(path, where + "\n")

    def save_status(self, status: Status) -> None:
        write_atomically(self.layout.status(status.name), status.to_text())

    def remove_status(self, name: str) -> None:
        remove(self.layout.status(name))

    def sweep(self) -> None:
        """Remove what is left of a write that was cut short; the file it was to replace is whole."""
        for directory in (self.layout.definitions, self.layout.statuses):
            for path in directory.glob(".*.tmp"):
                remove(path)

    def definitions(self, parse: Callable[[str], T]) -> Iterator[tuple[str, T]]:
        """(name of the file, what ``parse`` makes of it) of every persistent definition, by name."""
        return self._all(self.layout.definitions, ".xml", parse)

    def statuses(self) -> Iterator[tuple[str, Status]]:
        """(name of the file, status) of every domain that ran when this daemon was last there, by name."""
        return self._all(self.layout.statuses, ".json", Status.from_text)

    @staticmethod
    def _all(directory: Path, suffix: str, parse: Callable[[str], T]) -> Iterator[tuple[str, T]]:
        for path in sorted(directory.glob(f"*{suffix}")):
            if path.is_dir():
                continue  # it is not ours to judge
            try:
                parsed = parse(path.read_text(encoding="utf-8"))
            except (OSError, ValueError, errors.RequestError) as err:
                set_aside(path, err)
                continue
            yield path.name.removesuffix(suffix), parsed
