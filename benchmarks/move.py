"""One guest is moved, and everything about it is measured."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.emulator import Emulator
from benchmarks.lab import Lab
from benchmarks.meter import Meter
from benchmarks.monitor import Monitor, MonitorError
from benchmarks.movers import Mover
from benchmarks.stage import MoveFailed, Stage, is_qemu
from benchmarks.workloads import Workload
from guests import console, domain_xml, report, tiny, watch

Figures = dict[str, float]

SETTLE = 1.0  # seconds of quiet before a move
AFTERWARDS = 0.5  # seconds after its end in which the daemons tidy up, which counts as theirs
ARRIVAL_POLL = 0.005  # seconds between looks for the QEMU that receives
LINES_AFTER = 50  # of the guest, at the destination
GiB = 1 << 30


@dataclass(slots=True)
class Observation:
    """What was seen of one move; ``over`` is set at its end. Times are of ``time.monotonic``."""

    guest: domain_xml.Guest
    source: Monitor
    meter: Meter
    follow: watch.SerialWatch
    destination: Future[Monitor]
    over: threading.Event
    start: float = 0.0
    end: float = 0.0
    wire: int = 0
    qemu_cpu: float = 0.0


Meanwhile = Callable[[Observation], None]


def measure(lab: Lab, mover: Mover, workload: Workload, meanwhile: Meanwhile | None = None) -> Figures:
    """Move the workload's guest once by ``mover``; ``meanwhile`` is called in a thread as the move begins, and it
    has ended with the move.

    Raises ``MoveFailed``, ``LabError``, ``report.GuestFault`` when the guest's memory or counter is not what it
    should be afterwards. Whatever happens, no guest is left.
    """
    stage = lab.stage(mover.stage, mover.way)
    parameters = workload.parameters(lab.memory_mib)
    with started(lab, stage, parameters, workload.limit_ms) as running:
        seen = running.observe(lambda: stage.move(running.guest, mover.way), meanwhile)
        figures = _figures(seen, parameters)
        verify(seen.destination.result(10))
        running.follow.check()
    return figures


@dataclass(frozen=True, slots=True)
class Running:
    """A guest that runs on ``a``."""

    lab: Lab
    stage: Stage
    guest: domain_xml.Guest
    follow: watch.SerialWatch
    source: Monitor
    stack: ExitStack

    def observe(self, act: Callable[[], None], meanwhile: Meanwhile | None = None) -> Observation:
        """What is seen of ``act``, which moves the guest. Raises what it and ``meanwhile`` raise."""
        return _observe(self, act, meanwhile)


@contextmanager
def started(lab: Lab, stage: Stage, parameters: tiny.TinyParameters, limit_ms: int) -> Iterator[Running]:
    """A guest of ``parameters`` on ``a``, quiet for ``SETTLE``; afterwards no guest is left. Raises ``LabError``."""
    with lab.guest(parameters) as (guest, follow), ExitStack() as stack:
        stack.callback(stage.clear)
        stage.boot(guest)
        follow.wait_running(timeout=120)
        (pid,) = (pid for pid in stage.pids()["a"] if is_qemu(pid))
        source = Monitor(lab.ground.emulator.monitor(pid))
        stack.callback(source.close)
        source.execute("migrate-set-parameters", downtime_limit=limit_ms)
        time.sleep(SETTLE)
        yield Running(lab, stage, guest, follow, source, stack)


def _observe(running: Running, act: Callable[[], None], meanwhile: Meanwhile | None) -> Observation:
    lab, follow, stack = running.lab, running.follow, running.stack
    pool = stack.enter_context(ThreadPoolExecutor(2))
    over = threading.Event()
    arriving = pool.submit(_arrival, lab.ground.emulator, lab.ground.emulator.listening(), over)
    stack.callback(_let_go, arriving)
    stack.callback(over.set)
    meter = Meter(running.stage.pids)
    seen = Observation(running.guest, running.source, meter, follow, arriving, over)
    stack.callback(meter.stop)
    meter.start()
    wire = lab.pair.wire()
    seen.start = time.monotonic()
    beside = pool.submit(meanwhile, seen) if meanwhile else None
    try:
        act()
    finally:
        over.set()
    seen.end = time.monotonic()
    seen.qemu_cpu = meter.freeze_qemu()
    seen.wire = lab.pair.wire() - wire
    time.sleep(AFTERWARDS)
    meter.stop()
    if beside is not None:
        beside.result(60)
    follow.wait_running(LINES_AFTER)
    return seen


def _arrival(emulator: Emulator, known: set[str], over: threading.Event) -> Monitor:
    """The monitor of the one QEMU that is started next. Raises ``MonitorError`` when there is none until ``over``."""
    while not (new := emulator.listening() - known):
        if over.wait(ARRIVAL_POLL):
            raise MonitorError("no QEMU was started at the destination")
    return Monitor(emulator.monitor(new.pop()))


def _let_go(arriving: Future[Monitor]) -> None:
    if arriving.exception() is None:
        arriving.result().close()


def _figures(seen: Observation, parameters: tiny.TinyParameters) -> Figures:
    figures = {"wall_s": seen.end - seen.start, **handed_over(seen), **taken(seen)}
    gib = figures["sent_bytes"] / GiB
    for who in ("daemon", "qemu"):
        figures[f"{who}_cpu_s_per_gib"] = figures[f"{who}_cpu_s"] / gib
    return {**figures, **_dirtied(seen.follow.reports, seen, parameters)}


def handed_over(seen: Observation) -> Figures:
    """What QEMU and the guest tell of a move that has completed. Raises ``MoveFailed`` when it has not."""
    destination = seen.destination.result(10)
    stop, resume = seen.source.first("STOP"), destination.first("RESUME")
    begun, completed = seen.source.first("MIGRATION", "setup"), seen.source.first("MIGRATION", "completed")
    if not (stop and resume and begun and completed):
        steps = {"STOP": stop, "RESUME": resume, "setup": begun, "completed": completed}
        missing = ", ".join(name for name, step in steps.items() if step is None)
        raise MoveFailed(f"QEMU has not told of {missing}: {seen.source.events} {destination.events}")
    told = seen.source.migration.result(10)
    reports = seen.follow.reports
    return {
        "total_s": told["total-time"] / 1e3,
        "before_s": begun.at - seen.start,
        "after_s": seen.end - completed.at,
        "downtime_ms": told["downtime"],
        "stopped_ms": (resume.at - stop.at) * 1e3,
        "blackout_ms": silence_around(reports, resume.at) * 1e3,
        "longest_silence_ms": report.longest_silence(reports, seen.start).seconds * 1e3,
        **counted(told),
    }


def counted(told: dict[str, Any]) -> Figures:
    """Rounds and bytes in an answer of ``query-migrate``."""
    return {"rounds": told["ram"]["dirty-sync-count"], "sent_bytes": told["ram"]["transferred"]}


def taken(seen: Observation) -> Figures:
    """What the move has taken, whatever became of it."""
    return {
        "wire_bytes": seen.wire,
        "daemon_cpu_s": seen.meter.cpu(qemu=False),
        "daemon_cpu_source_s": seen.meter.cpu(qemu=False, host="a"),
        "daemon_cpu_destination_s": seen.meter.cpu(qemu=False, host="b"),
        "qemu_cpu_s": seen.qemu_cpu,
        "peak_source_bytes": seen.meter.peak("a"),
        "peak_destination_bytes": seen.meter.peak("b"),
    }


def _dirtied(reports: list[report.Report], seen: Observation, parameters: tiny.TinyParameters) -> Figures:
    """The rate that the guest got to while it was moved.

    For each page that it has verified, of which there is one a tick here, it has rewritten a tick's pages.
    """
    during = [each for each in reports if seen.start <= each.at <= seen.end]
    if not parameters.dirty_mib_s or len(during) < 2:
        return {}
    ticks = during[-1].verified - during[0].verified
    return {"dirty_mib_s": ticks * parameters.dirty_mib_s / parameters.hz / (during[-1].at - during[0].at)}


def silence_around(reports: list[report.Report], resume: float) -> float:
    """Seconds from the last line that arrived before the guest ran again, at ``resume``, to the first after; pure.

    Not a number when there are no such lines. It was stopped in between: no line is printed then.
    """
    before = [each.at for each in reports if each.at < resume]
    after = [each.at for each in reports if each.at >= resume]
    return after[0] - before[-1] if before and after else float("nan")


def verify(monitor: Monitor) -> None:
    """Have the guest of this QEMU verify all of its memory. Raises ``console.ConsoleError``."""
    ports = [each["filename"] for each in monitor.execute("query-chardev")]
    (path,) = (name.removeprefix("pty:") for name in ports if name.startswith("pty:"))
    with console.Console(Path(path)) as line:
        line.verify(timeout=120)
