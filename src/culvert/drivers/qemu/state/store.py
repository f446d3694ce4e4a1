"""Definitions and live status on disk, in files that are replaced as a whole and never lost (``io.files``)."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from culvert.drivers.qemu.state.layout import DIRECTORY_MODE, Layout
from culvert.drivers.qemu.state.status import Status
from culvert.ground import errors
from culvert.io import files

log = logging.getLogger(__name__)

T = TypeVar("T")


class Store:
    """The files of one layout. Every method may block on the disk: call it in a thread."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout

    def save_definition(self, name: str, xml: str) -> None:
        files.write_atomically(self.layout.definition(name), xml)

    def remove_definition(self, name: str) -> None:
        files.remove(self.layout.definition(name))

    def autostarts(self, *, once: bool = False) -> set[str]:
        """The names of the domains that start with the host; ``once``: at its next boot alone."""
        pattern = self.layout.autostart("*", once=once)
        return {path.name.removesuffix(pattern.name[1:]) for path in pattern.parent.glob(pattern.name)}

    def set_autostart(self, name: str, wanted: bool, *, once: bool = False) -> None:
        """Raises ``errors.SystemCallError``."""
        link = self.layout.autostart(name, once=once)
        if not wanted:
            if link.is_symlink():
                files.remove(link)
            return  # the folder stays: another one may be on its way into it, or out
        try:
            link.parent.mkdir(mode=DIRECTORY_MODE, exist_ok=True)
            with contextlib.suppress(FileExistsError):
                link.symlink_to(self.layout.definition(name))
            files.flush_directory(link.parent)
        except OSError as err:
            raise errors.SystemCallError(f"cannot make link '{link}': {err.strerror}", errno=err.errno) from err

    def markers(self) -> dict[str, str]:
        """Name of a domain → where it has gone, as culvert 0.1.0 has kept it: a file each. One that cannot be read
        says that it has, and not where. Raises ``errors.SystemCallError`` when they cannot be listed."""
        found = {}
        folder = self.layout.marker("x").parent
        try:
            names = sorted(os.listdir(folder))
        except FileNotFoundError:
            names = []
        except OSError as err:
            raise errors.SystemCallError(f"cannot list '{folder}': {err.strerror}", errno=err.errno) from err
        for name in names:
            path = self.layout.marker(name)
            try:
                found[name] = path.read_text(encoding="utf-8", errors="replace").strip()
            except OSError as err:
                log.error("file=%s cannot be read reason=%r: its domain counts as gone", path, str(err))
                found[name] = ""
        return found

    def remove_marker(self, name: str) -> None:
        """Raises ``errors.SystemCallError``."""
        files.remove(self.layout.marker(name))
        with contextlib.suppress(OSError):  # others are in it
            self.layout.marker(name).parent.rmdir()

    def save_status(self, status: Status) -> None:
        files.write_atomically(self.layout.status(status.name), status.to_text())

    def remove_status(self, name: str) -> None:
        files.remove(self.layout.status(name))

    def sweep(self) -> None:
        """Remove what is left of a write that was cut short; the file it was to replace is whole."""
        layout = self.layout
        saves = layout.managed_save("x").parent
        for directory in (layout.definitions, layout.statuses, layout.state, layout.run, saves):
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
