"""What is told of QEMU's buckets."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from culvert.hypervisor.latency import Latency, within

COUNTS = st.lists(st.integers(0, 2**40), min_size=1, max_size=24).filter(any)


@given(COUNTS, st.integers(1, 100))
def test_so_many_are_within_and_not_within_half_of_it(counts: list[int], share: int) -> None:
    bucket = within(counts, share).bit_length() - 2
    assert 100 * sum(counts[: bucket + 1]) >= share * sum(counts)
    assert 100 * sum(counts[:bucket]) < share * sum(counts)


def test_figures() -> None:
    assert Latency(7).figures() == {"postcopy_latency_ns": 7}
    told = Latency(400_000, (0,) * 8 + (98, 0, 2)).figures()
    assert told == {"postcopy_latency_ns": 400_000, "postcopy_latency_50_us": 512, "postcopy_latency_99_us": 2048}


def test_of_nothing_nothing_is_told() -> None:
    assert Latency(0, (0, 0)).figures() == {"postcopy_latency_ns": 0}
    assert within((), 50) == 0
