"""The emulators of this host: each that a definition names is asked what it can do, once as long as its file stays.

A package's upgrade changes the file under a daemon that runs. The next definition or start asks the new one; guests
that run go on with the old one, which answers for itself (``running``).
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from pathlib import Path

from culvert.drivers.qemu.abilities import machines
from culvert.drivers.qemu.abilities.machines import Machines, Stamp

log = logging.getLogger(__name__)


class Emulators:
    """``default``: the path of the one that runs guests whose XML names none; ``cache``: a directory for what is
    remembered of them."""

    def __init__(self, default: str, cache: Path) -> None:
        self.default = default
        self._cache = cache
        self._found: dict[str, tuple[Stamp, Machines]] = {}
        # One that hangs holds up nobody who asks for another one, nor who wants to know what is known.
        self._asking: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    def known(self, emulator: str | None = None) -> Machines:
        """What the emulator said last; of one that was never asked, what the default one said."""
        _, found = self._found.get(emulator or self.default) or self._found[self.default]
        return found

    async def look(self, emulator: str | None = None) -> Machines:
        """What the emulator can do now: it is asked if its file is another one than when it was asked last.

        Raises as ``machines.probe``; then what it said before is still ``known``.
        """
        path = emulator or self.default
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
