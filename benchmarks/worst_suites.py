"""The worst case as cells: every rate over every link by every mode; and cuts while a guest is moved post-copy."""

from __future__ import annotations

from functools import partial

from benchmarks import recovery, worst
from benchmarks.links import LINKS
from benchmarks.modes import MODES, RATES
from benchmarks.plan import Cell

DEFAULT_MIB = 70  # of the guest that goes over the slowest link: some six seconds
BRIEF = tuple(f"worst/1g/{rate}/" for rate in ("idle", "dirty-50", "dirty-max"))


def cells() -> list[Cell]:
    """The case is LINK/RATE/MODE: cells that share link and guest follow each other."""
    return [
        *(
            Cell(
                "worst",
                f"{link.name}/{rate.name}/{mode.name}",
                partial(worst.measure, mode=mode, link=link, workload=rate),
                stage=mode.stage,
            )
            for link in LINKS
            for rate in RATES
            for mode in MODES
        ),
        *(
            Cell("recovery", route, partial(recovery.measure, route=route), stage=recovery.STAGE)
            for route in recovery.ROUTES
        ),
    ]
