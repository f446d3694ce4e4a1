"""The snapshots of one domain: which there are, which one the guest was begun from last, and their files.

Each is a file of ``lib/qemu/snapshot/NAME/``, as libvirt keeps its own. What is in the disks is QEMU's.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
from pathlib import Path

from culvert.domain import snapshot as snapshot_xml
from culvert.domain.snapshot import INTERNAL, Snapshot
from culvert.drivers.qemu.state.layout import DIRECTORY_MODE
from culvert.ground import errors
from culvert.io import apart, files

log = logging.getLogger(__name__)

# VIR_DOMAIN_SNAPSHOT_LIST_*; ROOTS is DESCENDANTS for what is below one snapshot.
ROOTS, METADATA, LEAVES, NO_LEAVES, NO_METADATA = 1, 2, 4, 8, 16
INACTIVE, ACTIVE, DISK_ONLY, IN_IMAGES, OUTSIDE, TOPOLOGICAL = 32, 64, 128, 256, 512, 1024
KNOWN = (TOPOLOGICAL << 1) - 1


class Snapshots:
    """By name. ``folder`` has their files; it is made with the first one."""

    def __init__(self, folder: Path, uuid: str) -> None:
        self.folder = folder
        self._uuid = uuid
        self.held: dict[str, Snapshot] = {}
        self.current: str | None = None

    def __len__(self) -> int:
        return len(self.held)

    def find(self, name: str) -> Snapshot:
        """Raises ``errors.NoDomainSnapshot``."""
        if name not in self.held:
            raise errors.NoDomainSnapshot(f"no domain snapshot with matching name '{name}'")
        return self.held[name]

    def parent(self, name: str) -> Snapshot:
        """Raises ``errors.NoDomainSnapshot``."""
        above = self.find(name).parent
        if above is None or above not in self.held:
            raise errors.NoDomainSnapshot(f"snapshot '{name}' does not have a parent")
        return self.held[above]

    def names(self, flags: int, below: str | None = None) -> list[str]:
        """Those that the filter lets through, of all, or of those below one.

        Raises ``errors.InvalidArgument`` for flags that are no filter.
        """
        if flags & ~KNOWN:
            raise errors.InvalidArgument(
                f"unsupported flags (0x{flags:x}) in function virDomainSnapshotObjListGetNames"
            )
        found = snapshot_xml.descendants(self.held, below)
        if below is not None and not flags & ROOTS:
            found = [name for name in found if self.held[name].parent == below]
        if below is None and flags & ROOTS:
            found = [name for name in found if self.held[name].parent not in self.held]
        return [name for name in found if self._matches(name, flags)]

    def _matches(self, name: str, flags: int) -> bool:
        one = self.held[name]
        leaf = not any(other.parent == name for other in self.held.values())
        disk_only = one.state == "disk-snapshot"
        traits = (
            (LEAVES | NO_LEAVES, LEAVES if leaf else NO_LEAVES),
            (METADATA | NO_METADATA, METADATA),
            (INACTIVE | ACTIVE | DISK_ONLY, DISK_ONLY if disk_only else ACTIVE if one.is_live else INACTIVE),
            (IN_IMAGES | OUTSIDE, OUTSIDE if one.is_external else IN_IMAGES),
        )
        return all(not flags & group or flags & group & having for group, having in traits)

    # on the disk

    async def load(self) -> None:
        """Read what is kept; a file that cannot be used is set aside."""
        texts = await asyncio.to_thread(_texts, self.folder)
        for path, text in texts:
            try:
                found = await apart.run(snapshot_xml.parse, text, redefine=True)
                snapshot_xml.check_name(found.name)
                if await apart.run(snapshot_xml.is_current, text):
                    self.current = found.name
            except errors.RequestError as err:
                await asyncio.to_thread(files.set_aside, path, err)
                continue
            self.held[found.name] = found

    async def keep(self, snapshot: Snapshot, *, current: bool) -> None:
        """Add ``snapshot``, or put it in the place of the one of its name. Raises ``errors.SystemCallError``."""
        await asyncio.to_thread(self.folder.mkdir, mode=DIRECTORY_MODE, parents=True, exist_ok=True)
        before = self.current
        await self._write(snapshot, current=current or before == snapshot.name)
        self.held[snapshot.name] = snapshot
        if current:
            self.current = snapshot.name
            if before is not None and before != snapshot.name and before in self.held:
                await self._write(self.held[before], current=False)

    async def set_current(self, name: str | None) -> None:
        """The guest is begun from this one. Raises ``errors.SystemCallError``."""
        before, self.current = self.current, name
        for one in {before, name} - {None}:
            if one in self.held:
                await self._write(self.held[one], current=one == name)

    async def forget(self, name: str) -> None:
        """Its children are its parent's from now on. Raises ``errors.SystemCallError``."""
        gone = self.held[name]
        for child in [one for one in self.held.values() if one.parent == name]:
            moved = child.with_parent(gone.parent)
            await self._write(moved, current=self.current == child.name)
            self.held[child.name] = moved
        if self.current == name:
            await self.set_current(gone.parent if gone.parent in self.held else None)
        await asyncio.to_thread(files.remove, self._file(name))
        del self.held[name]

    async def forget_all(self) -> None:
        """Of a domain that is no more."""
        self.held, self.current = {}, None
        await asyncio.to_thread(shutil.rmtree, self.folder, ignore_errors=True)

    async def move(self, folder: Path) -> None:
        """The domain is called otherwise. Raises ``errors.SystemCallError``."""
        if self.held:
            try:
                await asyncio.to_thread(os.rename, self.folder, folder)
            except OSError as err:
                raise errors.SystemCallError(
                    f"cannot rename '{self.folder}': {err.strerror}", errno=err.errno
                ) from err
        self.folder = folder

    async def _write(self, snapshot: Snapshot, *, current: bool) -> None:
        def text() -> str:
            return snapshot_xml.format(snapshot, uuid=self._uuid, secure=True, current=current)

        await asyncio.to_thread(files.write_atomically, self._file(snapshot.name), await apart.run(text))

    def _file(self, name: str) -> Path:
        return self.folder / f"{name}.xml"


def _texts(folder: Path) -> list[tuple[Path, str]]:
    if not folder.is_dir():
        return []
    files.sweep(folder)
    found = []
    for path in sorted(folder.glob("*.xml")):
        try:
            found.append((path, path.read_text(encoding="utf-8")))
        except (OSError, ValueError) as err:
            files.set_aside(path, err)
    return found


def in_images(snapshot: Snapshot) -> list[str]:
    """The targets of the disks that hold it."""
    return [disk.name for disk in snapshot.disks if disk.snapshot == INTERNAL]
