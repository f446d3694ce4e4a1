"""A way around user memory for what comes in clear text: network socket → pipe → QEMU's socket, by ``splice(2)``.

The kernel moves references to the pages that the network card or the other process filled, so what is received costs
no copy but QEMU's own. There is nothing to be replayed on this side, so nobody needs the bytes themselves. (The
other direction is copied into the window: there the pages saved did not show in the time, TCP's own work did.)
"""

from __future__ import annotations

import contextlib
import fcntl
import os

from culvert.ground.units import KiB, MiB

_SIZE = 1 * MiB  # the most that an unprivileged process may ask for: /proc/sys/fs/pipe-max-size
_LEAST = 256 * KiB  # a smaller pipe makes more turns than it saves copies
WORTH = 64 * KiB  # so much has to come in one frame
_FLAGS = os.SPLICE_F_MOVE | os.SPLICE_F_NONBLOCK


class Pipe:
    """``held`` bytes are in it. ``full``: it took no more, and nothing has left it since. ``barred``: what comes has
    to be looked at, and goes the other way."""

    def __init__(self) -> None:
        self.barred = False
        self.held = 0
        self.full = False
        self._ends: tuple[int, int] | None = None
        self._tried = False

    def open(self) -> bool:
        """Whether there is a pipe to be used; it is made when first asked for. Without descriptors or memory there is
        none."""
        if self.barred:
            return False
        if not self._tried:
            self._tried = True
            with contextlib.suppress(OSError):
                self._ends = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
                if fcntl.fcntl(self._ends[1], fcntl.F_SETPIPE_SZ, _SIZE) < _LEAST:
                    self.close()
        return self._ends is not None

    def fill(self, source: int, limit: int) -> int | None:
        """Move ``limit`` bytes at most from the socket ``source``: how many; None when none can be moved now."""
        assert self._ends is not None
        try:
            count = os.splice(source, self._ends[1], limit, flags=_FLAGS)
        except BlockingIOError:
            # With something in it, it may be the pipe: a pipe is full by pages, not by bytes.
            self.full = self.held > 0
            return None
        self.held += count
        return count

    def drain(self, target: int) -> int:
        """Move what it holds to the socket ``target``: how many bytes. Raises ``BlockingIOError`` for none."""
        assert self._ends is not None
        return self._left(os.splice(self._ends[0], target, self.held, flags=_FLAGS))

    def discard(self) -> int:
        """Throw some of what it holds away: how many bytes."""
        assert self._ends is not None
        return self._left(len(os.read(self._ends[0], self.held)))

    def _left(self, count: int) -> int:
        self.held -= count
        self.full = False
        return count

    def close(self) -> None:
        """Idempotent."""
        ends, self._ends = self._ends, None
        for end in ends or ():
            os.close(end)
