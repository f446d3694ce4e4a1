"""One worst case: a guest that does not stop writing is moved over a road that is too narrow for it."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

from benchmarks import daemon_guests, foretold, labour, move
from benchmarks.hosts import LabError
from benchmarks.lab import Lab
from benchmarks.links import Link
from benchmarks.monitor import MonitorError
from benchmarks.move import Figures, Observation, Running
from benchmarks.movers import MOVERS, Mover
from benchmarks.stage import TimedOut
from benchmarks.stage_culvert import CulvertStage
from benchmarks.stage_libvirt import LibvirtStage
from benchmarks.workloads import Workload
from guests import tiny

PATIENCE = 10  # times what an idle guest takes: who has not arrived by then does not arrive
LIMIT_MS = 300  # QEMU's default for the downtime
WARM = ("--tunnelled",)
AFTERWARDS = labour.WINDOW + 0.2  # seconds in which the guest shows how it works there
CANCEL_SECONDS = 30.0  # for a move that is given up
_FLOOR = next(mover for mover in MOVERS if mover.name == "qemu-tcp")
_ENDS = ("completed", "cancelled", "failed")


def measure(lab: Lab, mode: Mover, link: Link, workload: Workload) -> Figures:
    """Move the workload's guest by ``mode`` over ``link``; it has arrived (``arrived`` 1), or has not in ``PATIENCE``
    times the time of an idle one (0) and is then where it was: that is no error.

    Raises as ``move.measure`` when the move is refused or fails by itself, and when memory or counter are wrong
    wherever the guest is then.
    """
    figures: Figures = {}
    with lab.pair.limited(link.mbit):
        idle = _idle_seconds(lab, link)
        stage = lab.stage(mode.stage, WARM)
        assert isinstance(stage, CulvertStage | LibvirtStage)
        parameters = replace(workload, share=link.share).parameters(lab.memory_mib)
        try:
            with move.started(lab, stage, parameters, LIMIT_MS) as running:
                figures |= {"idle_s": idle, **_moved(running, stage, mode, parameters, PATIENCE * idle)}
        except LabError:
            # A guest of which half is there already may not be got rid of: what was found out counts all the same.
            if figures.get("settled", 1):
                raise
    if not figures.get("settled", 1):
        lab.drop(mode.stage)
    return figures


def _moved(
    running: Running,
    stage: CulvertStage | LibvirtStage,
    mode: Mover,
    parameters: tiny.TinyParameters,
    patience: float,
) -> Figures:
    given_up: Figures = {}
    looks: list[foretold.Look] = []

    def act() -> None:
        try:
            stage.move(running.guest, mode.way, patience)
        except TimedOut:
            given_up.update(_give_up(running, stage))

    def meanwhile(seen: Observation) -> None:
        socket = Path(stage.uris[0].partition("socket=")[2])
        looks.extend(foretold.look_on(socket, running.guest.name, seen.over))

    seen = running.observe(act, meanwhile if isinstance(stage, CulvertStage) else None)
    time.sleep(AFTERWARDS)
    if not given_up:
        return {
            "arrived": 1,
            "wall_s": seen.end - seen.start,
            **move.taken(seen),
            **_arrived(seen, looks, parameters),
        }
    if given_up["settled"]:
        move.verify(running.source)
        running.follow.check()
    until = seen.start + patience
    work = labour.figures(seen.follow.reports, seen.start, until, seen.end, parameters)
    return {**given_up, **move.taken(seen), **work}


def _idle_seconds(lab: Lab, link: Link) -> float:
    """What an idle guest takes over this link, QEMU to QEMU: found out once in a run."""
    key = f"idle over {link.name}"
    if key not in lab.known:
        lab.known[key] = move.measure(lab, _FLOOR, Workload("idle", "", share=link.share))["total_s"]
    return lab.known[key]


def _give_up(running: Running, stage: CulvertStage | LibvirtStage) -> Figures:
    """End the move where that can be done; afterwards it has ended, or ``settled`` is 0. The figures so far."""
    told = running.source.execute("query-migrate")
    so_far = move.counted(told) if "ram" in told else {}
    try:
        daemon_guests.call(stage.uris[0], "domjobabort", running.guest.name)
        running.source.wait(lambda e: e.data.get("status") in _ENDS, "the move's end", CANCEL_SECONDS)
        _wait_empty(stage.uris[1])
    except (LabError, MonitorError):
        # After the switch to post-copy there is no way back: half of the guest is there.
        return {"arrived": 0, "settled": 0, **so_far}
    return {"arrived": 0, "settled": 1, **so_far}


def _wait_empty(uri: str) -> None:
    deadline = time.monotonic() + CANCEL_SECONDS
    while daemon_guests.call(uri, "list", "--all", "--name").split():
        if time.monotonic() > deadline:
            raise LabError(f"the guest of a cancelled move stays at {uri}")
        time.sleep(0.1)


def _arrived(seen: Observation, looks: list[foretold.Look], parameters: tiny.TinyParameters) -> Figures:
    figures = move.handed_over(seen)
    move.verify(seen.destination.result(10))
    seen.follow.check()
    completed = seen.source.first("MIGRATION", "completed")
    assert completed is not None, "handed_over has looked"
    reports = seen.follow.reports
    return {
        **figures,
        **labour.figures(reports, seen.start, completed.at, completed.at, parameters),
        **foretold.figures(looks, completed.at),
    }
