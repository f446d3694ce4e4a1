"""A file that QEMU opens by its name and fills, and that exists for a moment: a picture, a piece of memory."""

from __future__ import annotations

import contextlib
import functools
import os
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass

from culvert.drivers.qemu.domain import Domain
from culvert.drivers.qemu.monitor import Monitor
from culvert.ground import errors
from culvert.io import blocking


@dataclass(frozen=True, slots=True)
class Scratch:
    """``path`` is the name that QEMU is told, by ``monitor``; ``fd`` is the same file."""

    monitor: Monitor
    path: str
    fd: int


@contextlib.asynccontextmanager
async def scratch(domain: Domain, prefix: str) -> AsyncIterator[Scratch]:
    """Made first, and where nobody else looks; on leaving, the name is gone and the descriptor closed.

    Raises ``errors.OperationInvalid`` when the guest does not run or cannot be talked to, also when it is just
    starting or ending and has no folder, and ``errors.SystemCallError``.
    """
    run, monitor = domain.require_active(), domain.monitor
    make = functools.partial(tempfile.mkstemp, prefix=f"{prefix}-", dir=run.runtime)
    try:
        fd, path = await blocking.made(make, undo=_remove)
    except FileNotFoundError as err:
        raise errors.OperationInvalid(f"domain is not running: '{domain.name}'") from err
    except OSError as err:
        raise errors.SystemCallError(
            f"cannot make a file in '{run.runtime}' for QEMU to write to: {err.strerror}", errno=err.errno
        ) from err
    try:
        yield Scratch(monitor, path, fd)
    finally:
        _remove((fd, path))


def _remove(made: tuple[int, str]) -> None:
    os.close(made[0])
    with contextlib.suppress(OSError):
        os.unlink(made[1])
