"""Definitions and live status on disk, in files that are replaced as a whole and never lost (``io.files``)."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from culvert.drivers.qemu.state.layout import DIRECTORY_MODE, Layout
from culvert.drivers.qemu.state.status import Status
from culvert.ground import errors
from culvert.io import files

T = TypeVar("T")


class Store:
    """The files of one layout. Every method may block on the disk: call it in a thread."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout

    def save_definition(self, name: str, xml: str) -> None:
        files.write_atomically(self.layout.definition(name), xml)

    def remove_definition(self, name: str) -> None:
        files.remove(self.layout.definition(name))

    def autostarts(self) -> set[str]:
        """The names of the domains that start with the host."""
        return {path.stem for path in self.layout.autostart("x").parent.glob("*.xml")}

    def set_autostart(self, name: str, wanted: bool) -> None:
        """Raises ``errors.SystemCallError``."""
        link = self.layout.autostart(name)
        if not wanted:
            if link.is_symlink():
                files.remove(link)
            with contextlib.suppress(OSError):  # others are in it, or it was never made
                link.parent.rmdir()
            return
        try:
            link.parent.mkdir(mode=DIRECTORY_MODE, exist_ok=True)
            with contextlib.suppress(FileExistsError):
                link.symlink_to(self.layout.definition(name))
            files.flush_directory(link.parent)
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
            files.remove(path)
            return
        try:
            path.parent.mkdir(mode=DIRECTORY_MODE, exist_ok=True)
        except OSError as err:
            raise errors.SystemCallError(
                f"cannot create directory '{path.parent}': {err.strerror}", errno=err.errno
            ) from err
        files.write_atomically(path, where + "\n")

    def save_status(self, status: Status) -> None:
        files.write_atomically(self.layout.status(status.name), status.to_text())

    def remove_status(self, name: str) -> None:
        files.remove(self.layout.status(name))

    def sweep(self) -> None:
        """Remove what is left of a write that was cut short; the file it was to replace is whole."""
        kept = (self.layout.definitions, self.layout.statuses, self.layout.state, self.layout.run)
        made_late = (self.layout.left("x").parent, self.layout.managed_save("x").parent)
        for directory in (*kept, *made_late):
            files.sweep(directory)

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
                files.set_aside(path, err)
                continue
            yield path.name.removesuffix(suffix), parsed
