"""Many at once, and a daemon that is asked while it works."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

from benchmarks import daemon_guests, move, spread
from benchmarks.caller import Caller, paced
from benchmarks.lab import Lab
from benchmarks.meter import Meter
from benchmarks.movers import MOVERS
from benchmarks.stage import MoveFailed
from benchmarks.stage_culvert import CulvertStage
from benchmarks.stage_libvirt import LibvirtStage
from benchmarks.workloads import WORKLOADS
from culvert.protocol import remote_domain, shapes
from guests import domain_xml, report, tiny
from tests.support.virsh import ENVIRONMENT

Figures = dict[str, float]

GUESTS = 50
SMALL = tiny.TinyParameters(mib=4, dirty_mib=1, dirty_mib_s=1, pass_s=10, hz=19)
DEADLINE = 300.0
PERIOD = 0.005  # seconds between questions
WARM = ("--tunnelled", "?route=pump")


def fifty(lab: Lab, way: tuple[str, ...]) -> Figures:
    """Start ``GUESTS`` guests on a, move all of them at the same time, ask a meanwhile for
    the state of one that stays.

    Raises ``MoveFailed`` naming those that did not arrive.
    """
    stage = lab.stage("culvert", WARM)
    assert isinstance(stage, CulvertStage)
    with ExitStack() as stack:
        stack.callback(stage.clear)
        guests = [stack.enter_context(lab.guest(SMALL, f"small-{number}")) for number in range(GUESTS)]
        stays, _ = stack.enter_context(lab.guest(SMALL, "stays"))
        for guest in (stays, *(guest for guest, _ in guests)):
            stage.boot(guest)
        for _, follow in guests:
            follow.wait_running(timeout=60)
        caller = stack.enter_context(Caller(_socket(stage)))
        state = _question(caller, stays)
        meter = Meter(stage.pids)
        stack.callback(meter.stop)
        meter.start()
        begun = time.monotonic()
        with ThreadPoolExecutor(GUESTS + 1) as pool:
            moves = [pool.submit(moved, stage.command(guest.name, way)) for guest, _ in guests]
            asking = pool.submit(paced, state, lambda: not all(each.done() for each in moves), PERIOD)
            failures = [f"{g.name}: {m.result()}" for (g, _), m in zip(guests, moves, strict=True) if m.result()]
            wall = time.monotonic() - begun
            taken = asking.result(30)
        meter.stop()
        if failures:
            raise MoveFailed(f"{len(failures)} of {GUESTS} did not arrive: {'; '.join(failures)}")
        here = daemon_guests.call(stage.uris[1], "list", "--name").split()
        if len(here) != GUESTS:
            raise MoveFailed(f"only {len(here)} of {GUESTS} run at the destination")
        for _, follow in guests:
            follow.wait_running(timeout=60)
            follow.check()
        silences = [report.longest_silence(follow.reports, begun).seconds for _, follow in guests]
        return {
            "all_wall_s": wall,
            "arrived": len(here),
            "peak_source_bytes": meter.peak("a"),
            "peak_destination_bytes": meter.peak("b"),
            "daemon_cpu_s": meter.cpu(qemu=False),
            "longest_silence_ms": spread.of(silences).median * 1e3,
            **_latency(taken),
        }


def moved(argv: list[str]) -> str:
    """Run a client; what it said when it failed, empty when it did not."""
    try:
        done = subprocess.run(argv, capture_output=True, text=True, env=ENVIRONMENT, timeout=DEADLINE, check=False)
    except subprocess.TimeoutExpired:
        return f"not within {DEADLINE:g} s"
    return (done.stderr.strip() or f"exit code {done.returncode}") if done.returncode else ""


def asked(lab: Lab, mover: str) -> Figures:
    """Move the main guest by ``mover`` and ask the source for its state every few ms."""
    row = next(each for each in MOVERS if each.name == mover)
    workload = next(each for each in WORKLOADS if each.name == "incompressible")
    stage = lab.stage(row.stage, row.way)
    assert isinstance(stage, CulvertStage | LibvirtStage)
    taken: list[float] = []

    def meanwhile(seen: move.Observation) -> None:
        with Caller(_socket(stage)) as caller:
            state = _question(caller, seen.guest)
            # Until the last round: afterwards the guest is not there any more.
            taken.extend(paced(state, lambda: seen.source.first("STOP") is None, PERIOD))

    figures = move.measure(lab, row, workload, meanwhile)
    return {"wall_s": figures["wall_s"], **_latency(taken)}


def _socket(stage: CulvertStage | LibvirtStage) -> Path:
    return Path(stage.uris[0].partition("socket=")[2])


def _question(caller: Caller, guest: domain_xml.Guest) -> Callable[[], bytes]:
    packet = caller.packet(remote_domain.DOMAIN_GET_STATE, shapes.DomainFlagsArgs(caller.domain(guest.name), 0))
    return lambda: caller.exchange(packet)


def _latency(taken: list[float]) -> Figures:
    return {
        "asked": len(taken),
        "p50_us": spread.percentile(taken, 0.5) * 1e6,
        "p99_us": spread.percentile(taken, 0.99) * 1e6,
        "longest_us": max(taken) * 1e6,
    }
