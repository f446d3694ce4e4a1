"""How each fault is inflicted, and how it is healed.

An injury is a context manager: it is there from the beginning of the block to its end, and what it yields is how many
seconds it lasts at most while the rest goes on (less, when the migration has ended before).
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial

from faults.hosts import DEADLINE_SECONDS, NAME
from faults.plan import Packet, Side
from faults.stage import Stage
from tests.support import processes
from tests.support.daemon import DaemonProcess
from tests.support.proxy import Proxy
from tests.support.virsh import Running

Injury = Callable[[Stage], AbstractContextManager[float]]

DOWN = 1.5  # seconds a daemon is down, or a road closed, while the other side goes on
SILENT = 9.0  # seconds without a byte: more than every keepalive here allows
FULL = 4.0  # seconds a disk stays full


@contextmanager
def _daemon(side: Side, stage: Stage) -> Iterator[float]:
    host = stage.host(side)
    host.kill()
    stage.before.pop(side, None)
    try:
        yield DOWN
    finally:
        host.start()


@contextmanager
def _daemon_back(side: Side, stage: Stage) -> Iterator[float]:
    with _daemon(side, stage):
        pass
    yield 0.0


@contextmanager
def _qemu(side: Side, stage: Stage) -> Iterator[float]:
    pids = stage.host(side).daemon.qemu_pids()
    assert pids, f"the {side.value} has no QEMU to be killed"
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    processes.wait_gone(pids, 10)
    yield 0.0


def _roads(stage: Stage) -> list[Proxy]:
    """Those between the hosts; where the packet that is held is one to the source, that one too."""
    place = stage.cell.boundary.place
    to_source = place is Packet.CONFIRM_CALL
    return stage.destination.roads + (stage.source.roads if to_source else [])


@contextmanager
def _cut(stage: Stage) -> Iterator[float]:
    for road in _roads(stage):
        road.refuse()
        road.cut()
    try:
        yield DOWN
    finally:
        for road in _roads(stage):
            road.refuse(False)


@contextmanager
def _stall(stage: Stage) -> Iterator[float]:
    for road in _roads(stage):
        road.stall()
    try:
        yield SILENT
    finally:
        for road in _roads(stage):
            road.resume()


@contextmanager
def _disk(side: Side, stage: Stage) -> Iterator[float]:
    host = stage.host(side)
    host.fill_disk()
    try:
        yield FULL
    finally:
        host.free_disk()


@contextmanager
def _power(stage: Stage, *, full: bool = False, unreadable: bool = False) -> Iterator[float]:
    """The source's host goes down, and the guest is to start with it when it comes up."""
    host = stage.source
    if full:
        host.fill_disk()
        stage.go_on()
        time.sleep(DOWN)
    assert isinstance(host.daemon, DaemonProcess)
    host.daemon.lose_power()
    stage.before.pop(Side.SOURCE, None)
    try:
        yield DOWN
    finally:
        host.free_disk()
        if unreadable:
            host.spoil_journal()
        host.start()
        time.sleep(DOWN)  # for it to start what it should not


@contextmanager
def _abort(stage: Stage) -> Iterator[float]:
    """Where it comes too late it is refused, which is as good: what counts is what is there afterwards."""
    with Running(stage.source.uri, "domjobabort", NAME) as asking:
        with contextlib.suppress(AssertionError):
            _wait_ended(asking, 1.0)
        yield 0.0
        with contextlib.suppress(AssertionError):
            asking.finish(20)


@contextmanager
def _deadline(stage: Stage) -> Iterator[float]:
    # The fault is that the time passes; what is looked at afterwards does not depend on when.
    time.sleep(DEADLINE_SECONDS + 0.5)
    yield 0.0


def _wait_ended(running: Running, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while running.process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.02)


INJURIES: dict[str, Injury] = {
    "source-daemon": partial(_daemon, Side.SOURCE),
    "source-daemon-back": partial(_daemon_back, Side.SOURCE),
    "destination-daemon": partial(_daemon, Side.DESTINATION),
    "source-qemu": partial(_qemu, Side.SOURCE),
    "destination-qemu": partial(_qemu, Side.DESTINATION),
    "cut": _cut,
    "stall": _stall,
    "source-disk": partial(_disk, Side.SOURCE),
    "destination-disk": partial(_disk, Side.DESTINATION),
    "source-power": _power,
    "source-disk-power": partial(_power, full=True),
    "source-journal-power": partial(_power, unreadable=True),
    "abort": _abort,
    "deadline": _deadline,
}
"""By ``plan.Fault.key``."""


def inflict(stage: Stage, under_way: Running) -> None:
    """At the boundary: the cell's fault comes, what was held goes on, and the fault is healed."""
    with INJURIES[stage.cell.fault.key](stage) as lasts:
        stage.go_on()
        with contextlib.suppress(AssertionError):
            _wait_ended(under_way, lasts)
    # A speed that was asked for while the daemon was away.
    if stage.source.daemon.running:
        stage.go_on()
