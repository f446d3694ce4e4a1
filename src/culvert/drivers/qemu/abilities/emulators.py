"""The emulators of this host: each that a definition names is asked what it can do, once as long as its file stays.

A package's upgrade changes the file under a daemon that runs. The next definition or start asks the new one; guests
that run go on with the old one, which answers for itself (``running``).
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections import defaultdict
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from culvert.domain.definition import DomainDef
from culvert.domain.platform import ARCH
from culvert.drivers.qemu.abilities import machines
from culvert.drivers.qemu.abilities.machines import Machines, Stamp
from culvert.ground import errors

log = logging.getLogger(__name__)

DISTRIBUTION = (
    *("/usr/bin/qemu-system-*", "/usr/bin/qemu-kvm", "/usr/bin/kvm", "/usr/libexec/qemu-*"),
    "/usr/local/bin/qemu-system-*",
)
"""Where packages put them, and where who builds one does."""


class Emulators:
    """``default``: the path of the one that runs guests whose XML names none; ``cache``: a directory for what is
    remembered of them; ``allowed``: patterns of the others that a definition may name.

    Whoever may define a guest names a program that is run here: it is one that the host's own people have put there.
    """

    def __init__(self, default: str, cache: Path, allowed: Sequence[str] = DISTRIBUTION) -> None:
        self.default = default
        self._allowed = tuple(allowed)
        self._cache = cache
        self._found: dict[str, tuple[Stamp, Machines]] = {}
        # One that hangs holds up nobody who asks for another one, nor who wants to know what is known.
        self._asking: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    def known(self, emulator: str | None = None) -> Machines:
        """What the emulator said last; of one that was never asked, what the default one said."""
        _, found = self._found.get(emulator or self.default) or self._found[self.default]
        return found

    async def others(self) -> list[Machines]:
        """The emulators beside the default one that a definition need not name: of another architecture."""
        paths = [path for path in map(self.of_arch, ARCH.words) if path != self.default]
        there = [path for path in paths if await asyncio.to_thread(os.access, path, os.X_OK)]
        return [await self.look(path) for path in there]

    def chosen(self, definition: DomainDef) -> str:
        """The path of the emulator that runs ``definition``."""
        return definition.devices.emulator or self.of_arch(definition.os.type.arch)

    def of_arch(self, arch: str | None) -> str:
        """The one of this architecture beside the default one, where there is one; else the default one.

        An x86_64 runs i686 as well (virQEMUCapsFindBinaryForArch).
        """
        if arch != "i686":
            return self.default
        beside = self.default.replace("x86_64", "i386")
        return beside if os.path.exists(beside) else self.default

    async def look(self, emulator: str | None = None) -> Machines:
        """What the emulator can do now: it is asked if its file is another one than when it was asked last.

        Raises as ``machines.probe``; then what it said before is still ``known``. Raises
        ``errors.ConfigUnsupported`` for one that may not be named, which is not run.
        """
        path = emulator or self.default
        if path != self.default and not await asyncio.to_thread(self._allows, path):
            raise errors.ConfigUnsupported(
                f"emulator '{path}' is not one that may be run here: 'emulators' in section [qemu] of the daemon's "
                f"configuration allows {', '.join(self._allowed) or 'none'} besides '{self.default}'"
            )
        async with self._asking[path]:
            stamp = await asyncio.to_thread(machines.stamp, path)
            before = self._found.get(path)
            if before is not None and before[0] == stamp:
                return before[1]
            found = await machines.probe(path, self._cache)
            self._found[path] = stamp, found
        if before is not None:
            log.info("emulator=%s has changed version=%d now=%d", path, before[1].version, found.version)
        return found

    def _allows(self, path: str) -> bool:
        """By where the name leads: a link, or a way back up the folders, opens no other place."""
        real = os.path.realpath(path)
        return real == os.path.realpath(self.default) or any(fnmatchcase(real, each) for each in self._allowed)
