"""What became of the migrations into this host, kept on the disk: a source that lost the answer may ask much later.

One small file an attempt, written before the CPUs may start (``FINISHING``) and when they run (``RUNNING``). One that
was given up needs no file: a destination that knows nothing of an attempt will never run its guest.

::

    lib/migrations/ATTEMPT        the word, and the domain's name for people
"""

from __future__ import annotations

import asyncio
from enum import Enum
from pathlib import Path

from culvert.drivers.qemu import store
from culvert.ground import errors
from culvert.migration.cookie import ATTEMPT

KEPT = 10_000  # files; the oldest go first, when the daemon starts


class Word(Enum):
    """What a file says."""

    FINISHING = "finishing"
    """The CPUs may have been started; a look at the guest tells."""
    RUNNING = "running"
    """The guest has arrived and belonged to this host from then on."""


class Outcomes:
    """The files in one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def prepare(self) -> None:
        """Make the folder and drop the oldest files; blocks on the disk. Raises ``errors.SystemCallError``."""
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            files = sorted(self._folder.iterdir(), key=lambda path: path.stat().st_mtime_ns, reverse=True)
            for path in files[KEPT:]:
                path.unlink()
        except OSError as err:
            raise errors.SystemCallError(f"cannot use {self._folder}: {err.strerror}", errno=err.errno) from err

    async def put(self, attempt: str, word: Word, name: str) -> None:
        """``word`` is on the disk on return. Raises ``errors.SystemCallError``. An empty attempt is nobody's."""
        if attempt:
            await asyncio.to_thread(store.write_atomically, self._folder / attempt, f"{word.value} {name}\n")

    async def get(self, attempt: str) -> Word | None:
        """What was written of ``attempt``; ``None`` for nothing.

        Raises ``errors.InternalError`` for a file that cannot be read: then nobody may be told anything.
        """
        if not ATTEMPT.fullmatch(attempt):
            return None
        try:
            text = await asyncio.to_thread((self._folder / attempt).read_text, "utf-8")
            return Word(text.split(" ", 1)[0].strip())
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as err:
            raise errors.InternalError(f"what became of migration {attempt} cannot be read: {err}") from err
