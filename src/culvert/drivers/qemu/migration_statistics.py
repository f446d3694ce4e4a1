"""QEMU's figures of a migration as it tells them (qapi/migration.json, MigrationInfo)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from culvert.hypervisor.latency import Latency
from culvert.hypervisor.statistics import Statistics


def read_latency(answer: Mapping[str, Any]) -> Latency | None:
    """What the destination's QEMU has counted of post-copy, from 10.1 on where ``postcopy-blocktime`` was on."""
    if (average := answer.get("postcopy-latency")) is None:
        return None
    return Latency(average, tuple(answer.get("postcopy-latency-dist", ())))


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
        remaining=answer.get("remaining", 0),
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
