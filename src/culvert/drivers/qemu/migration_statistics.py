"""QEMU's figures of a migration (qapi/migration.json, MigrationInfo) in one flat record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Statistics:
    """``query-migrate`` in one flat record: bytes, milliseconds, pages per second, bytes per second.

    ``precopy_bytes``, ``downtime_bytes`` and ``postcopy_bytes`` divide what the main channel has carried by when: the
    guest ran, stood still, ran at the destination. ``throttle`` is how many percent of its CPU time the guest is
    denied; ``postcopy_requests`` counts pages that it has waited for there. ``xbzrle_…`` is zero without xbzrle.
    """

    status: str = "none"
    total_ms: int = 0
    setup_ms: int = 0
    downtime_ms: int | None = None
    expected_downtime_ms: int | None = None
    ram_total: int = 0
    ram_transferred: int = 0
    ram_remaining: int = 0
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


def read_statistics(answer: Mapping[str, Any]) -> Statistics:
    """The record in an answer of ``query-migrate``; what QEMU leaves out is 0."""
    ram, xbzrle = answer.get("ram", {}), answer.get("xbzrle-cache", {})
    return Statistics(
        status=answer.get("status", "none"),
        total_ms=answer.get("total-time", 0),
        setup_ms=answer.get("setup-time", 0),
        downtime_ms=answer.get("downtime"),
        expected_downtime_ms=answer.get("expected-downtime"),
        ram_total=ram.get("total", 0),
        ram_transferred=ram.get("transferred", 0),
        ram_remaining=ram.get("remaining", 0),
        ram_bps=int(ram.get("mbps", 0) * 1_000_000 / 8),
        constant_pages=ram.get("duplicate", 0),
        normal_pages=ram.get("normal", 0),
        normal_bytes=ram.get("normal-bytes", 0),
        dirty_pages_rate=ram.get("dirty-pages-rate", 0),
        dirty_sync_count=ram.get("dirty-sync-count", 0),
        page_size=ram.get("page-size", 4096),
        precopy_bytes=ram.get("precopy-bytes", 0),
        downtime_bytes=ram.get("downtime-bytes", 0),
        postcopy_bytes=ram.get("postcopy-bytes", 0),
        postcopy_requests=ram.get("postcopy-requests", 0),
        multifd_bytes=ram.get("multifd-bytes", 0),
        throttle=answer.get("cpu-throttle-percentage", 0),
        xbzrle_cache=xbzrle.get("cache-size", 0),
        xbzrle_bytes=xbzrle.get("bytes", 0),
        xbzrle_pages=xbzrle.get("pages", 0),
        xbzrle_misses=xbzrle.get("cache-miss", 0),
        xbzrle_overflows=xbzrle.get("overflow", 0),
        zero_copy_misses=ram.get("dirty-sync-missed-zero-copy", 0),
        error=answer.get("error-desc", ""),
    )
