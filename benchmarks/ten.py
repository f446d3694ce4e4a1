"""Ten guests move at once by TLS, and both daemons are asked: how long an answer takes, and what memory is kept."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from benchmarks import spread
from benchmarks.caller import Caller, paced
from benchmarks.lab import Lab
from benchmarks.movers import MOVERS
from benchmarks.scale import PERIOD, SMALL, Figures, moved
from benchmarks.stage import MoveFailed, is_qemu
from benchmarks.stage_culvert import CulvertStage
from benchmarks.stage_libvirt import LibvirtStage
from culvert.protocol import remote_domain, remote_list, shapes
from culvert.protocol.shapes import ListAllArgs
from tests.support.processes import resident

GUESTS = 10
BEFORE = 3.0  # seconds of questions to a daemon that does nothing else
SETTLE = 60.0  # seconds after which memory should have been given back


def measure(lab: Lab, mover: str) -> Figures:
    """Ask the source for the state of one that stays and both for their domains, every few ms, before and while.

    Raises ``MoveFailed`` naming those that did not arrive.
    """
    row = next(each for each in MOVERS if each.name == mover)
    stage = lab.stage(row.stage, row.way)
    assert isinstance(stage, CulvertStage | LibvirtStage)
    with ExitStack() as stack:
        stack.callback(stage.clear)
        guests = [stack.enter_context(lab.guest(SMALL, f"small-{number}"))[0] for number in range(GUESTS)]
        stays, follow = stack.enter_context(lab.guest(SMALL, "stays"))
        for guest in (stays, *guests):
            stage.boot(guest)
        follow.wait_running(timeout=60)
        paths = [Path(uri.partition("socket=")[2]) for uri in stage.uris]
        askers = [stack.enter_context(Caller(path)) for path in (paths[0], *paths)]
        dom = askers[0].domain(stays.name)
        state = askers[0].packet(remote_domain.DOMAIN_GET_STATE, shapes.DomainFlagsArgs(dom, 0))
        lists = [one.packet(remote_list.CONNECT_LIST_ALL_DOMAINS, ListAllArgs(1, 0)) for one in askers[1:]]
        questions = [partial(one.exchange, packet) for one, packet in zip(askers, (state, *lists), strict=True)]
        until = time.monotonic() + BEFORE
        idle = paced(questions[0], lambda: time.monotonic() < until, PERIOD)
        before = _resident(stage)
        begun = time.monotonic()
        with ThreadPoolExecutor(GUESTS + len(questions)) as pool:
            moves = [pool.submit(moved, stage.command(guest.name, row.way)) for guest in guests]
            asking = [
                pool.submit(paced, one, lambda: not all(each.done() for each in moves), PERIOD) for one in questions
            ]
            failures = [f"{g.name}: {m.result()}" for g, m in zip(guests, moves, strict=True) if m.result()]
            wall = time.monotonic() - begun
            taken, source, destination = (each.result(60) for each in asking)
        if failures:
            raise MoveFailed(f"{len(failures)} of {GUESTS} did not arrive: {'; '.join(failures)}")
        time.sleep(SETTLE)
        after = _resident(stage)
        return {
            "all_wall_s": wall,
            "idle_p50_us": spread.percentile(idle, 0.5) * 1e6,
            "p50_us": spread.percentile(taken, 0.5) * 1e6,
            "p99_us": spread.percentile(taken, 0.99) * 1e6,
            "list_source_p99_us": spread.percentile(source, 0.99) * 1e6,
            "list_destination_p99_us": spread.percentile(destination, 0.99) * 1e6,
            "resident_before_bytes": before,
            "resident_after_bytes": after,
        }


def _resident(stage: CulvertStage | LibvirtStage) -> float:
    """Of the source's daemon, bytes; its reaper is nothing beside it."""
    return float(sum(resident(pid) for pid in stage.pids()["a"] if not is_qemu(pid)))
