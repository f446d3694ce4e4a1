"""What guests make their QEMUs say is bounded: a log file is at most so long, and so many older parts of it are kept.

QEMU appends to the file itself and runs on without a daemon, so nobody stands between the two: the file is copied and
cut back where it is. Sizes and names are those of libvirt's virtlogd (virtlogd.conf: max_size, max_backups).
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Iterable
from pathlib import Path

from culvert.drivers.qemu.domain import Domain
from culvert.ground.units import MiB
from culvert.io import files

log = logging.getLogger(__name__)

MOST = 2 * MiB  # bytes of a log file, and of each older part
BACKUPS = 3
PERIOD = 1.0  # seconds between two looks


def trim(path: Path, most: int = MOST, backups: int = BACKUPS) -> bool:
    """If ``path`` is longer than ``most`` bytes: keep its end as ``NAME.0``, the one before as ``NAME.1``; cut it.

    Whether that was done; what writers with O_APPEND write from now on stands at its beginning. Raises ``OSError``.
    """
    try:
        if os.stat(path).st_size <= most:
            return False
        with files.open_regular(path) as log_file:
            log_file.seek(-most, os.SEEK_END)
            beside = path.with_name(f"{path.name}.tmp")
            with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb") as kept:
                kept.write(log_file.read(most))
            for number in range(backups - 1, 0, -1):
                older = path.with_name(f"{path.name}.{number - 1}")
                if older.exists():
                    older.rename(path.with_name(f"{path.name}.{number}"))
            beside.rename(path.with_name(f"{path.name}.0"))
    except FileNotFoundError:
        return False
    os.truncate(path, 0)
    return True


async def keep(domains: Callable[[], Iterable[Domain]]) -> None:
    """Look after the logs of those of ``domains`` that run, for ever."""
    failing: set[str] = set()
    while True:
        await asyncio.sleep(PERIOD)
        for domain in list(domains()):
            if domain.run is not None:
                await _look_after(domain, failing)


async def _look_after(domain: Domain, failing: set[str]) -> None:
    run = domain.run
    try:
        trimmed = await asyncio.to_thread(trim, domain.host.layout.log_file(domain.name))
    except OSError as err:
        if domain.name not in failing:  # once: it is tried again every second
            failing.add(domain.name)
            log.error("domain=%s the log of its QEMU cannot be kept short reason=%r", domain.name, err.strerror)
        return
    failing.discard(domain.name)
    if trimmed and run is not None:
        log.warning("domain=%s its QEMU says much: log cut at %d bytes", domain.name, MOST)
        run.log_offset = 0
        if run.process is not None:
            run.process.output.offset = 0
        if domain.run is run:
            domain.changed()
