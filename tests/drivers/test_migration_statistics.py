"""QEMU's answer to query-migrate is read whatever of it is there: each generation tells other fields of it."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from culvert.drivers.qemu.migration_statistics import read_statistics
from culvert.hypervisor.statistics import Statistics
from culvert.migration.progress.progress import Course

# From a migration of each, as it ran; 11.1 has dropped "skipped", and tells what devices have left as well.
QEMU_7_2: dict[str, Any] = {
    "expected-downtime": 300,
    "status": "active",
    "setup-time": 4,
    "total-time": 1536,
    "xbzrle-cache": {
        "bytes": 11,
        "cache-size": 67108864,
        "cache-miss-rate": 0.5,
        "encoding-rate": 2.0,
        "pages": 12,
        "overflow": 13,
        "cache-miss": 14,
    },
    "cpu-throttle-percentage": 20,
    "ram": {
        "total": 268967936,
        "postcopy-requests": 1,
        "dirty-sync-count": 2,
        "multifd-bytes": 3,
        "skipped": 0,
        "pages-per-second": 34018,
        "downtime-bytes": 5,
        "page-size": 4096,
        "remaining": 59187200,
        "postcopy-bytes": 6,
        "mbps": 8.0,
        "transferred": 592453,
        "dirty-sync-missed-zero-copy": 7,
        "precopy-bytes": 592111,
        "duplicate": 51184,
        "dirty-pages-rate": 9,
        "normal-bytes": 131072,
        "normal": 32,
    },
}
QEMU_11_1: dict[str, Any] = {
    "remaining": 107114496,
    "status": "postcopy-active",
    "setup-time": 21,
    "downtime": 12,
    "total-time": 1538,
    "error-desc": "Unable to read from socket: Connection reset by peer",
    "ram": {
        "total": 268967936,
        "postcopy-requests": 1,
        "dirty-sync-count": 2,
        "multifd-bytes": 5504,
        "pages-per-second": 12209,
        "downtime-bytes": 0,
        "page-size": 4096,
        "remaining": 106983424,
        "postcopy-bytes": 162297015,
        "mbps": 400.8658285714286,
        "transferred": 162201974,
        "dirty-sync-missed-zero-copy": 0,
        "precopy-bytes": 0,
        "duplicate": 0,
        "dirty-pages-rate": 0,
        "normal-bytes": 161980416,
        "normal": 39546,
    },
}


def some_of(answer: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Any of the fields, and of those inside them."""
    return st.fixed_dictionaries(
        {},
        optional={
            name: some_of(value) if isinstance(value, dict) else st.just(value) for name, value in answer.items()
        },
    )


@given(st.sampled_from([QEMU_7_2, QEMU_11_1]).flatmap(some_of))
def test_any_part_of_a_real_answer_is_read(answer: dict[str, Any]) -> None:
    found, whole = read_statistics(answer), read_statistics(QEMU_7_2 if "xbzrle-cache" in answer else QEMU_11_1)
    either = read_statistics(QEMU_7_2), whole, Statistics()
    for field in fields(Statistics):
        assert getattr(found, field.name) in {
            getattr(one, field.name) for one in (*either, read_statistics(QEMU_11_1))
        }
    Course().feed(1.0, found)


@pytest.mark.parametrize(("answer", "left"), [(QEMU_7_2, 59187200), (QEMU_11_1, 107114496)])
def test_what_is_left_is_all_that_is_told_of(answer: dict[str, Any], left: int) -> None:
    assert read_statistics(answer).left == left
