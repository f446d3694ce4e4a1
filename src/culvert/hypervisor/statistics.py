"""The figures of a migration, in one flat record (qapi/migration.json, MigrationInfo)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Statistics:
    """``query-migrate`` in one flat record: bytes, milliseconds, pages per second, bytes per second.

    ``precopy_bytes``, ``downtime_bytes`` and ``postcopy_bytes`` divide what the main channel has carried by when: the
    guest ran, stood still, ran at the destination. ``throttle`` is how many percent of its CPU time the guest is
    denied; ``postcopy_requests`` counts pages that it has waited for there. ``xbzrle_…`` is zero without xbzrle.
    ``remaining``: of memory and devices together (QEMU from 11.1 on), 0 where only memory's is told.
    """

    status: str = "none"
    total_ms: int = 0
    setup_ms: int = 0
    downtime_ms: int | None = None
    expected_downtime_ms: int | None = None
    ram_total: int = 0
    ram_transferred: int = 0
    ram_remaining: int = 0
    remaining: int = 0
    ram_bps: int = 0
    constant_pages: int = 0
    normal_pages: int = 0
    normal_bytes: int = 0
    dirty_pages_rate: int = 0
    dirty_sync_count: int = 0
    page_size: int = 4096
    precopy_bytes: int = 0
    downtime_bytes: int = 0
    postcopy_bytes: int = 0
    postcopy_requests: int = 0
    multifd_bytes: int = 0
    throttle: int = 0
    xbzrle_cache: int = 0
    xbzrle_bytes: int = 0
    xbzrle_pages: int = 0
    xbzrle_misses: int = 0
    xbzrle_overflows: int = 0
    zero_copy_misses: int = 0
    error: str = ""

    @property
    def left(self) -> int:
        """Bytes still to be sent, as far as is told: memory's are counted at once, all together a moment later."""
        return max(self.ram_remaining, self.remaining)

    @property
    def looks_often(self) -> bool:
        """Whether what the guest has changed is looked up in mid-round, so that what is left may grow in it."""
        return self.remaining > 0

    @property
    def pages_bytes(self) -> int:
        """The memory that has been gone through, whether its pages took as many bytes or none."""
        return (self.normal_pages + self.constant_pages) * self.page_size
