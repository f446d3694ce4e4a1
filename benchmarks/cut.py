"""The road breaks for ten seconds in the middle of a move on the pump route."""

from __future__ import annotations

import time

from benchmarks import move
from benchmarks.lab import Lab
from benchmarks.movers import MOVERS
from benchmarks.stage import MoveFailed
from benchmarks.workloads import WORKLOADS

SECONDS = 10.0
AT = 0.4  # of the guest's memory sent: then it breaks
WAYS = ("uncut", "drop", "reset")  # whole; every packet lost; every connection reset, and again whenever it is tried
_MOVER = next(mover for mover in MOVERS if mover.name == "culvert-pump")
_WORKLOAD = next(workload for workload in WORKLOADS if workload.name == "incompressible")


def measure(lab: Lab, how: str) -> move.Figures:
    """Move the guest and break the road as ``how`` says (of ``WAYS``). Raises as ``move.measure``."""

    def meanwhile(seen: move.Observation) -> None:
        wanted = AT * _WORKLOAD.parameters(lab.memory_mib).mib * (1 << 20)
        while (told := seen.source.execute("query-migrate")).get("ram", {}).get("transferred", 0) < wanted:
            if told.get("status") in ("completed", "failed"):
                raise MoveFailed(f"there was no time to break the road: {told}")
            time.sleep(0.01)
        with lab.pair.broken(how):
            time.sleep(SECONDS)

    return move.measure(lab, _MOVER, _WORKLOAD, None if how == "uncut" else meanwhile)
