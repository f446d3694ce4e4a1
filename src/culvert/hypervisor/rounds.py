"""Which round of pre-copy a migration is in; pure.

A round sends all that was to be sent when it began, as each ``dirty-sync-count`` does up to QEMU 11.0. QEMU 11.1
looks up what the guest has changed ten times a second as long as post-copy may be switched to, and counts every look
(``MIGRATION_PASS`` too): seen with 11.1.3, whose ``query-migrate`` has ``remaining``. There the pages that went out
say when as many have been sent as were left.
"""

from __future__ import annotations

from dataclasses import dataclass

from culvert.hypervisor.statistics import Statistics


@dataclass(slots=True)
class RoundCount:
    """Of one migration, told its figures in their order."""

    number: int = 0
    _from: int = 0
    _size: int = 0

    def feed(self, now: Statistics) -> int:
        """The round that ``now`` belongs to, 1 for the first; 0 before it."""
        if not now.looks_often:
            # Its last word has no "remaining": what was counted stays.
            self.number = self.number if self._size else now.dirty_sync_count
            return self.number
        if self.number == 0:
            self.number, self._size = 1, now.ram_total
        elif now.pages_bytes - self._from >= self._size:
            self.number, self._from, self._size = self.number + 1, now.pages_bytes, max(now.left, now.page_size)
        return self.number
