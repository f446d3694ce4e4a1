"""What a QEMU hears first on a new way of its post-copy, looked at so that the way may end at any moment.

A destination that takes up a post-copy is in ``postcopy-recover`` until the source's QEMU has told it to go on
(``MIG_CMD_POSTCOPY_RESUME``). One before 8.2 that loses its way in between dies of it, and the guest with it
(migration/savevm.c, postcopy_pause_incoming took the status for ``postcopy-active``; SIGSEGV seen with 7.2.22). So it
is given whole commands only, and when its way ends too early it is told to go on before it reads the end: then it
stands still, like any post-copy that has lost its way.
"""

from __future__ import annotations

import struct

# A command in QEMU's stream (qemu_savevm_command_send, in the same file): mark, number, length, and so many bytes.
QEMU_VM_COMMAND = 0x08
MIG_CMD_POSTCOPY_RESUME = 9
_HEADER = struct.Struct(">BHH")
_RESUME = _HEADER.pack(QEMU_VM_COMMAND, MIG_CMD_POSTCOPY_RESUME, 0)

# Before it comes one question for each block of memory, with the block's name: a length and so many bytes.
_LONGEST = 1 + 255
_MOST = 64 * (_HEADER.size + _LONGEST)


class Resumption:
    """The beginning of one way. ``over``: QEMU has been told to go on, or hears what is not known here; from then on
    everything passes, and nothing need be said at the end."""

    def __init__(self) -> None:
        self.over = False
        self._left = _MOST
        self._resumes = False  # the command that QEMU has last been given tells it to go on
        self._rest = b""  # what is missing of it

    def next(self, waiting: memoryview) -> int:
        """How many bytes of ``waiting``, those that come next, QEMU may be given now: one command, or all of them."""
        if self._rest:
            return len(self._rest)
        if self.over or self._unknown(waiting):
            return len(waiting)
        end = _HEADER.size + _HEADER.unpack_from(waiting)[2] if len(waiting) >= _HEADER.size else _HEADER.size
        return end if end <= len(waiting) else 0

    def given(self, admitted: memoryview, count: int) -> None:
        """QEMU has taken the first ``count`` bytes of what ``next`` has let pass."""
        if self.over:
            return
        if not self._rest:
            if self._unknown(admitted):
                self.over = True
                return
            self._resumes = _HEADER.unpack_from(admitted)[1] == MIG_CMD_POSTCOPY_RESUME
        self._left -= count
        self._rest = bytes(admitted[count:])
        self.over = self._resumes and not self._rest

    def remedy(self) -> bytes:
        """What QEMU has to read before the end of its way."""
        if self.over:
            return b""
        return self._rest if self._resumes else self._rest + _RESUME

    def _unknown(self, waiting: memoryview) -> bool:
        """Whether this is not what a post-copy is taken up with."""
        if waiting[0] != QEMU_VM_COMMAND or self._left <= 0:
            return True
        return len(waiting) >= _HEADER.size and _HEADER.unpack_from(waiting)[2] > _LONGEST
