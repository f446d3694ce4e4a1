"""What a guest gets done: before it is moved, meanwhile, afterwards. Pure."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

from guests.report import Report
from guests.tiny import PAGES_PER_MIB, TinyParameters

WINDOW = 0.9  # seconds before the move and after it


def done(report: Report, parameters: TinyParameters) -> int:
    """The guest's own work since boot: pages it has rewritten; for an idle one pages it has looked at, of which there
    is one a tick that it was there for."""
    if not parameters.dirty_mib_s:
        return report.verified
    return report.generation * parameters.dirty_mib * PAGES_PER_MIB + report.index


def figures(
    reports: Sequence[Report], start: float, end: float, again: float, parameters: TinyParameters
) -> dict[str, float]:
    """Work per second from ``start`` to ``end`` and from ``again`` on, as shares of that before ``start``; and what
    was lost: how many seconds of its work the guest has not got done because it was moved.

    ``dirtied_…``: the same in MiB/s, of a guest that dirties. A time in which no line was printed counts with what
    the last line before it says. Nothing where the guest had said nothing by then.
    """
    times = [report.at for report in reports]

    def rate(since: float, until: float) -> float:
        first, last = (bisect_right(times, at) - 1 for at in (since, until))
        if first < 0 or until <= since:
            return 0.0
        return (done(reports[last], parameters) - done(reports[first], parameters)) / (until - since)

    before, during, after = rate(start - WINDOW, start), rate(start, end), rate(again, again + WINDOW)
    if not before:
        return {}
    found = {
        "work_during_share": during / before,
        "work_after_share": after / before,
        "work_lost_s": (end - start) * (1 - during / before),
    }
    if parameters.dirty_mib_s:
        found |= {
            f"dirtied_{when}_mib_s": value / PAGES_PER_MIB
            for when, value in (("before", before), ("during", during), ("after", after))
        }
    return found
