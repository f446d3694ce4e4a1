"""One guest is moved post-copy, and the road or a daemon is taken away again and again until it has arrived.

Half of the guest is here and half there all the time: nobody but the two daemons can bring it together, and nobody
gives them a hand.
"""

from __future__ import annotations

import contextlib
import itertools
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import daemon_guests, move
from benchmarks.hosts import LabError
from benchmarks.lab import Lab
from benchmarks.monitor import Monitor, MonitorError
from benchmarks.move import Figures, Observation
from benchmarks.stage import MoveFailed, is_qemu, wait_gone
from benchmarks.stage_kept import KeptStage
from guests import report, tiny
from tests.support.virsh import ENVIRONMENT

STAGE = "culvert-kept"
ROUTES = ("direct", "pump")
CUTS = 20
KINDS = ("drop", "kill-a", "reset", "kill-b")  # in turn: of the road (``hosts.BREAKS``), or a daemon dies
CUT_SECONDS = 8.0  # more than a connection is waited for (``stage_kept.SETTINGS``)
MBIT = 100  # slow, so that there is something left to bring for every cut
SHARE = 3.0  # of the run's memory
DIRTY_MIB_S = 50
LIMIT_MS = 300
SWITCHES_SECONDS = 5.0  # within which it takes the switch to post-copy
GOES_ON_SECONDS = 60.0  # within which a move that was cut goes on
ARRIVES_SECONDS = 120.0  # within which the guest arrives after the last cut
POLL = 0.05
_GOING = ("postcopy-active",)
_OVER = ("completed", "failed", "cancelled")


@dataclass(slots=True)
class Log:
    """What was done to the move; ``left``: bytes still to be brought when the cuts began."""

    cuts: list[str] = field(default_factory=list)
    left: int = 0


def measure(lab: Lab, route: str) -> Figures:
    """Move a guest by ``route`` with ``CUTS`` cuts, none before the move goes on after the one before it.

    Raises ``MoveFailed`` when it does not go on, does not arrive, or arrives before the last cut;
    ``report.GuestFault``, ``console.ConsoleError`` when it is not whole afterwards.
    """
    with lab.pair.limited(MBIT):
        stage = lab.stage(STAGE, ("--tunnelled",))
        assert isinstance(stage, KeptStage)
        mib = round(lab.memory_mib * SHARE)
        parameters = tiny.TinyParameters(
            mib=mib, dirty_mib=mib // 2, dirty_mib_s=DIRTY_MIB_S, pass_s=1e6, hz=250, touch=True
        )
        with move.started(lab, stage, parameters, LIMIT_MS) as running:
            log = Log()
            seen = running.observe(lambda: _cut_to_pieces(lab, stage, running, route, log))
            move.verify(seen.destination.result(10))
            running.follow.check()
            return {"cuts": len(log.cuts), **_figures(seen)}


def _cut_to_pieces(lab: Lab, stage: KeptStage, running: move.Running, route: str, log: Log) -> None:
    way = ("--tunnelled", "--postcopy", f"?route={route}")
    said = lab.ground.folder / "client.log"
    with open(said, "wb") as output:
        # It is lost with the first daemon that dies: the move is the daemons' own.
        client = subprocess.Popen(
            stage.command(running.guest.name, way),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=ENVIRONMENT,
        )
        try:
            _switch(stage, running, client, said)
            for kind in itertools.islice(itertools.cycle(KINDS), CUTS):
                _bring_some(running.source, log)
                _cut(lab, stage, kind)
                log.cuts.append(kind)
                _wait(running.source, _GOING, f"the move goes on after cut {len(log.cuts)}, {kind}", GOES_ON_SECONDS)
            _arrive(stage, running)
        finally:
            client.kill()
            client.wait()


def _switch(stage: KeptStage, running: move.Running, client: subprocess.Popen[bytes], said: Path) -> None:
    """Wait until the move is on its way, and switch it to post-copy while nearly everything is still here.

    Before it is that far the switch is refused: then it is asked for again.
    """
    deadline = time.monotonic() + SWITCHES_SECONDS
    refusal = "the move does not begin"
    while True:
        if client.poll() is not None or time.monotonic() > deadline:
            raise MoveFailed(said.read_text("utf-8", "replace").strip() or refusal)
        time.sleep(POLL)
        if _status(running.source) == "active":
            try:
                daemon_guests.call(stage.uris[0], "migrate-postcopy", running.guest.name)
                break
            except LabError as err:
                refusal = str(err)
    _wait(running.source, _GOING, "post-copy", GOES_ON_SECONDS)


def _bring_some(source: Monitor, log: Log) -> None:
    """Until so much more has been brought that every cut gets its share. Raises ``MoveFailed`` when all has."""
    log.left = log.left or _remaining(source)
    wanted = log.left * (CUTS - len(log.cuts)) / (CUTS + 1)
    deadline = time.monotonic() + GOES_ON_SECONDS
    while _remaining(source) > wanted:
        if time.monotonic() > deadline:
            raise MoveFailed(f"after {len(log.cuts)} cuts nothing more is brought")
        time.sleep(POLL)
    if _status(source) in _OVER:
        raise MoveFailed(f"over after {len(log.cuts)} cuts of {CUTS}: there was too little to bring")


def _cut(lab: Lab, stage: KeptStage, kind: str) -> None:
    what, _, host = kind.partition("-")
    if what == "kill":
        stage.kill(host)
        return
    with lab.pair.broken(what):
        time.sleep(CUT_SECONDS)


def _arrive(stage: KeptStage, running: move.Running) -> None:
    """The guest is there and nothing of it is here."""
    _wait(running.source, _OVER, "the guest arrives", ARRIVES_SECONDS)
    wait_gone([pid for pid in stage.pids()["a"] if is_qemu(pid)], "QEMU at the source")
    deadline = time.monotonic() + GOES_ON_SECONDS
    while running.guest.name not in _listed(stage.uris[1]):
        if time.monotonic() > deadline:
            raise MoveFailed("the daemon at the destination does not count the guest among its own")
        time.sleep(POLL)


def _listed(uri: str) -> list[str]:
    """The guests that run at a daemon; none while it is being started."""
    with contextlib.suppress(LabError):
        return daemon_guests.call(uri, "list", "--name", "--state-running").split()
    return []


def _wait(source: Monitor, wanted: tuple[str, ...], what: str, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while (status := _status(source)) not in wanted:
        if status in _OVER or time.monotonic() > deadline:
            raise MoveFailed(f"{what}: not within {seconds:g} s; QEMU says {status}")
        time.sleep(POLL)


def _status(source: Monitor) -> str:
    """QEMU's word; ``completed`` once it is gone after it has said so."""
    if source.first("MIGRATION", "completed"):
        return "completed"
    try:
        return str(source.execute("query-migrate").get("status", "none"))
    except MonitorError:
        if source.first("MIGRATION", "completed"):
            return "completed"
        raise


def _remaining(source: Monitor) -> int:
    """Bytes; 0 when it is over."""
    try:
        return int(source.execute("query-migrate").get("ram", {}).get("remaining", 0))
    except MonitorError:
        return 0


def _figures(seen: Observation) -> Figures:
    reports = seen.follow.reports
    paused = [event for event in seen.source.events if event.data.get("status") == "postcopy-paused"]
    return {
        "wall_s": seen.end - seen.start,
        "paused": len(paused),
        "longest_silence_ms": report.longest_silence(reports, seen.start).seconds * 1e3,
        **move.taken(seen),
    }
