"""A round is what sends everything that was left when it began, whatever QEMU counts."""

from __future__ import annotations

from culvert.hypervisor.rounds import RoundCount
from culvert.hypervisor.statistics import Statistics

PAGE, TOTAL = 4096, 4096 * 1000


def test_a_qemu_that_counts_rounds_is_believed() -> None:
    rounds = RoundCount()
    looks = [
        Statistics(status="active", ram_total=TOTAL, ram_remaining=7, dirty_sync_count=n) for n in (0, 1, 1, 2, 5)
    ]
    assert [rounds.feed(look) for look in looks] == [0, 1, 1, 2, 5]


def test_looks_are_no_rounds() -> None:
    """100 pages go out between two looks, of which the guest changes 40 again; it is looked up each time."""
    rounds, sent, left, told = RoundCount(), 0, 1000, []
    for look in range(1, 40):
        now = Statistics(
            status="active",
            ram_total=TOTAL,
            ram_remaining=left * PAGE,
            remaining=left * PAGE + 1,
            normal_pages=sent,
            dirty_sync_count=look,
        )
        told.append(rounds.feed(now))
        sent, left = sent + 100, max(0, left - 100) + 40
    begins = [told.index(number) for number in sorted(set(told))]
    assert begins[:4] == [0, 10, 15, 17]  # 1000 pages, then the 400 and the 100 and some that were left
    assert told == sorted(told)
    assert rounds.feed(Statistics(status="completed", ram_total=TOTAL, dirty_sync_count=99)) == told[-1]
