"""One cell: a migration is broken at one boundary in one way, and then everything is looked at."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from faults import injuries, records, voices
from faults.hosts import NAME, Host
from faults.plan import WAYS, Cell, Side, Who, Word
from faults.stage import FAST, Stage, stage
from faults.verdict import POSTCOPY_FAILED, Seen, Sight, Standing, standing
from tests.support.culvert import culvert
from tests.support.daemon import DaemonFailed
from tests.support.virsh import Result, Running

SETTLES = 40.0  # seconds everything may take to come to its end when nothing is broken any more
# Seconds that it is seen without a change: a source asks every five, a destination waits six for a lost way.
STEADY = {Standing.WAITS: 12.0, Standing.HALF: 12.0}
STEADY_ELSE = 4.0
VERIFIES = 30.0  # seconds for a guest to verify all of its memory
LOOK = 0.4  # seconds between two looks by virsh
PASSES = 3  # the pass under way, one that began after it, and one more
CLEANS = 15.0  # seconds for what is left over to go


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a cell. ``note``: what was seen, in words; ``seconds``: how long all of it took."""

    name: str
    word: Word
    ok: bool
    note: str
    seconds: float


class Wrong(Exception):
    """What ends a cell early: its word, and what was seen."""

    def __init__(self, word: Word, note: str) -> None:
        super().__init__(note)
        self.word = word


def run(cell: Cell, logs: Path | None = None) -> Outcome:
    """Do it. With ``logs``, a cell that did not come out well leaves both daemons' logs in that folder.

    Raises only what has nothing to do with the daemons: the stage could not be set up.
    """
    began = time.monotonic()
    with stage(cell) as here:
        voice = here.guest.serial
        _until(lambda: voices.read(voice).count > 3, 30, "the guest has said something")
        try:
            word, note = _break(here)
        except Wrong as wrong:
            word, note = wrong.word, str(wrong)
        except (AssertionError, DaemonFailed) as err:
            word, note = Word.STUCK, str(err).split("\n--- ")[0].strip()
        if found := _twice(here):
            word, note = Word.TWICE, f"{found}; {note}"
        ok = word in cell.allowed
        if logs is not None and not ok:
            _keep_logs(here, logs)
    return Outcome(cell.name, word, ok, note, time.monotonic() - began)


def _keep_logs(here: Stage, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    stem = here.cell.name.replace("/", ".")
    for host in here.hosts:
        (folder / f"{stem}.{host.side.value}.log").write_text(
            f"{host.daemon.log[-60000:]}\n{host.daemon.log_tail()}", encoding="utf-8"
        )


def _twice(here: Stage) -> str:
    found = voices.faults((voices.read(host.voice) for host in here.hosts), here.migrations)
    return next((text for text in found if text.startswith("twice")), "")


# -- the migration that is broken ------------------------------------------------------------------------------------


def _break(here: Stage) -> tuple[Word, str]:
    here.arm()
    with here.begin(here.source, "--persistent") as under_way:
        here.wait_reached(under_way)
        injuries.inflict(here, under_way)
        found, sight = _settled(here, under_way)
        if under_way.process.poll() is None:
            under_way.process.kill()
        told = under_way.finish()
    note = _last_words(told) or str(sight)
    match found:
        case Standing.SOURCE | Standing.DESTINATION:
            return _alive(here, here.host(Side(found.name.lower())), note)
        case Standing.NOWHERE | Standing.HALVED:
            return _lost(here, told, sight)
        case Standing.WAITS:
            return _waits(here, sight)
        case Standing.HALF:
            raise Wrong(Word.STRAY, str(sight))
        case Standing.BOTH:
            raise Wrong(Word.TWICE, str(sight))
        case Standing.MOVING:
            raise Wrong(Word.STUCK, str(sight))


def _last_words(told: Result) -> str:
    if told.ok:
        return "virsh: done"
    return "virsh: " + (told.err.strip().splitlines() or [f"exit code {told.rc}"])[-1]


def _settled(here: Stage, under_way: Running) -> tuple[Standing, Sight]:
    """Wait until it has come to an end, or to what is not one and stays."""
    deadline, since, before = time.monotonic() + SETTLES, time.monotonic(), Standing.MOVING
    while True:
        sight = _look(here, under_way)
        found = standing(sight)
        if found is not before:
            since, before = time.monotonic(), found
        if found in (Standing.SOURCE, Standing.DESTINATION):
            return found, sight
        if found is not Standing.MOVING and time.monotonic() - since > STEADY.get(found, STEADY_ELSE):
            return found, sight
        if time.monotonic() > deadline:
            return found, sight
        time.sleep(LOOK)


def _look(here: Stage, under_way: Running | None) -> Sight:
    ended = under_way is None or under_way.process.poll() is not None
    return Sight(_see(here.source), _see(here.destination), ended)


def _see(host: Host) -> Seen:
    try:
        told = host.virsh("domstate", "--reason", NAME, timeout=10)
        if not told.ok and not told.no_domain:
            return Seen(answers=False)
        found = re.match(r"([a-z ]+?)(?: \((.*)\))?$", told.out.strip())
        state, reason = (found.group(1), found.group(2) or "") if found else ("", "")
        job = host.virsh("domjobinfo", NAME, timeout=10)
    except AssertionError:
        return Seen(answers=False)
    under_way = job.ok and not re.search(r"Job type:\s+None", job.out)
    return Seen(state, reason, _job(job.out) if under_way else "", len(host.daemon.qemu_pids()))


def _job(text: str) -> str:
    error = re.search(r"^Error message:\s*(.*)$", text, re.MULTILINE)
    return f"job: {error.group(1)}" if error else "job"


# -- what is left of it ----------------------------------------------------------------------------------------------


def _alive(here: Stage, at: Host, note: str) -> tuple[Word, str]:
    """It runs at ``at``; it is whole, it moves to the other host, it is whole there, nothing is left behind."""
    word = Word.SOURCE if at is here.source else Word.DESTINATION
    _verify(here, at)
    _read_journals(here, at)
    _next(here, at)
    return word, note


def _next(here: Stage, at: Host) -> None:
    other = here.other(at)
    here.go_on()
    _move(here, at, other)
    _verify(here, other)
    _clean(here)


def _verify(here: Stage, at: Host) -> None:
    """Its copy at ``at`` goes on, and verifies all of its memory."""
    last = max((voices.read(host.voice) for host in here.hosts), key=lambda voice: voice.count).last
    passes = (last.passes if last else 0) + PASSES

    def verified() -> bool:
        said = voices.read(at.voice).last
        return said is not None and said.passes >= passes

    try:
        _until(verified, VERIFIES, "")
    except AssertionError:
        raise Wrong(Word.LOST, f"the guest does not go on at the {at.side.value}: {_look(here, None)}") from None
    found = voices.faults((voices.read(host.voice) for host in here.hosts), here.migrations)
    if found:
        raise Wrong(Word.TWICE if found[0].startswith("twice") else Word.LOST, "; ".join(found))


def _read_journals(here: Stage, at: Host) -> None:
    """Both say what has happened. What could not be written, because the disk was full, may be missing."""
    if here.cell.who is not Who.CULVERT or here.cell.fault.root:
        return

    def lies() -> list[str]:
        told = [records.last(host.daemon.root) for host in here.hosts]
        return list(records.lies(*told, arrived=at is here.destination))

    try:
        _until(lambda: not lies(), CLEANS, "", pause=LOOK)
    except AssertionError:
        raise Wrong(Word.STRAY, "; ".join(lies())) from None


def _move(here: Stage, source: Host, destination: Host) -> None:
    """The next migration: peer-to-peer, with nothing broken, as soon as nothing of the last one is in its way."""
    if here.cell.who is Who.LIBVIRT:
        source.virsh("migrate-setmaxdowntime", NAME, "60000")
    source.virsh("migrate-setspeed", NAME, str(FAST))
    deadline = time.monotonic() + CLEANS
    while True:
        with here.begin(source, "--persistent", way=WAYS[0]) as under_way:
            told = under_way.finish(60)
        if told.ok:
            break
        if time.monotonic() > deadline:
            word = Word.STRAY if destination.daemon.qemu_pids() else Word.STUCK
            raise Wrong(word, f"the next migration fails: {told.err.strip()}; {_look(here, None)}")
        time.sleep(0.5)  # who was called off late is still cleaning up
    _until(lambda: not source.daemon.qemu_pids(), 20, f"no QEMU is left at the {source.side.value}", Word.STRAY)


def _clean(here: Stage) -> None:
    """When the guest is taken away nothing of it is left, nor of the attempt."""
    for host in here.hosts:
        host.virsh("destroy", NAME)
        host.virsh("undefine", NAME)
    try:
        _until(lambda: not any(host.leftovers() for host in here.hosts), CLEANS, "", pause=LOOK)
    except AssertionError:
        left = {host.side.value: host.leftovers() for host in here.hosts}
        raise Wrong(Word.STRAY, f"left behind: {left}") from None
    for side, before in here.before.items():
        host = here.host(side)

        def more(host: Host = host, before: dict[str, int] = before) -> dict[str, int]:
            now = host.descriptors()
            return {kind: count - before.get(kind, 0) for kind, count in now.items() if count > before.get(kind, 0)}

        try:
            _until(lambda: not more(), CLEANS, "")
        except AssertionError:
            known = "; ".join(host.sockets())
            raise Wrong(
                Word.STRAY, f"the {side.value} daemon has descriptors more: {more()}; its sockets: {known}"
            ) from None


def _lost(here: Stage, told: Result, sight: Sight) -> tuple[Word, str]:
    """No copy is left that could go on. Is that said, and is everything else in order?"""
    if found := _twice(here):
        return Word.TWICE, found
    for host in here.hosts:
        host.virsh("destroy", NAME)  # half of a guest, where there is that
    _until(lambda: not any(host.daemon.qemu_pids() for host in here.hosts), 20, "half of a guest can be taken away")
    said = not told.ok and told.err.strip()
    crashed = [seen for seen in (sight.source, sight.destination) if seen.reason in ("crashed", POSTCOPY_FAILED)]
    if not said and not crashed:
        return Word.LOST, f"nobody says so: {sight}"
    if "waiting" in sight.source.job:
        # One half was lost with its QEMU, and the other one is of no use without it: the operator says so.
        culvert("resolve", NAME, "--running-there", "--yes", uri=here.source.uri).expect()
    started = here.source.virsh("start", NAME)
    if not started.ok:
        raise Wrong(Word.STUCK, f"it cannot be started again: {started.err.strip()}")
    for host in here.hosts:
        host.voice.write_bytes(b"")  # this one counts from the beginning
    _verify(here, here.source)
    _next(here, here.source)
    killed = here.cell.fault.key.endswith("-qemu")
    return Word.LOST_TOLD if killed else Word.LOST, f"{_last_words(told)}; {sight}"


def _waits(here: Stage, sight: Sight) -> tuple[Word, str]:
    """It stands still: does it say so, and does an operator's word move it?"""
    if here.cell.way.postcopy and here.cell.boundary.switched:
        return _recovered(here, sight)
    if here.cell.who is not Who.CULVERT or "waiting" not in sight.source.job:
        return Word.WAITS, str(sight)
    resolved = culvert("resolve", NAME, "--running-here", "--yes", uri=here.source.uri)
    if not resolved.ok:
        return Word.WAITS, f"resolve: {resolved.err.strip()}; {sight}"
    _until(lambda: standing(_look(here, None)) is Standing.SOURCE, 30, "it goes on when resolved", pause=LOOK)
    _alive(here, here.source, "")
    return Word.WAITS_RESOLVED, str(sight)


def _recovered(here: Stage, sight: Sight) -> tuple[Word, str]:
    """Both halves of a broken post-copy are kept: a new migration takes it up again."""
    here.go_on()
    with here.begin(here.source, "--persistent", "--postcopy-resume") as under_way:
        told = under_way.finish(60)
    if not told.ok:
        return Word.WAITS, f"it cannot be taken up again: {_last_words(told)}; {sight}"
    _until(lambda: standing(_look(here, None)) is Standing.DESTINATION, 30, "it arrives at last", pause=LOOK)
    _alive(here, here.destination, "")
    return Word.WAITS_RESOLVED, str(sight)


def _until(
    condition: Callable[[], object], seconds: float, what: str, word: Word | None = None, pause: float = 0.05
) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            if word is not None:
                raise Wrong(word, f"not within {seconds:g} s: {what}")
            raise AssertionError(f"not within {seconds:g} s: {what}")
        time.sleep(pause)
