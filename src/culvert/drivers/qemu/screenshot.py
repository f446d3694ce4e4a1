"""A picture of a guest's screen, taken by QEMU into a file that exists for a moment."""

from __future__ import annotations

import asyncio
import os

from culvert.drivers.qemu.domain import Domain
from culvert.drivers.qemu.scratch import scratch
from culvert.ground import errors

MIME = "image/png"
CHUNK = 256 * 1024  # bytes per read


class Screenshot:
    """The picture: ``mime`` type and ``size``, read in pieces. Close it, or use it in ``with``."""

    def __init__(self, fd: int) -> None:
        self.mime = MIME
        self.size = os.fstat(fd).st_size
        self._fd = fd

    async def read(self, limit: int = CHUNK) -> bytes:
        """The next bytes; empty at the end. Raises ``errors.SystemCallError``."""
        try:
            return await asyncio.to_thread(os.read, self._fd, limit)
        except OSError as err:
            raise errors.SystemCallError(f"cannot read the screenshot: {err.strerror}", errno=err.errno) from err

    def close(self) -> None:
        """The last trace of the file is gone afterwards. Idempotent."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> Screenshot:
        return self

    def __exit__(self, *args: object) -> None:
        self.close()


async def take(domain: Domain, screen: int = 0) -> Screenshot:
    """Take a picture of ``screen``: the number of a video device, 0 for the first.

    Raises ``errors.OperationUnsupported`` for a guest without a screen, ``errors.InvalidArgument`` for one that it
    does not have, and what ``scratch`` and the monitor raise.
    """
    run = domain.require_active()
    videos = [video for video in run.definition.devices.videos if video.model.type != "none"]
    if not videos:
        raise errors.OperationUnsupported(f"domain '{domain.name}' has no screens to take a screenshot from")
    if not 0 <= screen < len(videos):
        raise errors.InvalidArgument(f"domain '{domain.name}' has no screen {screen}")
    where = {"device": videos[screen].alias} if videos[screen].alias and screen else {}
    async with scratch(domain, "screenshot") as made:
        await made.monitor.execute("screendump", {"filename": made.path, "format": "png", **where})
        return Screenshot(os.dup(made.fd))
