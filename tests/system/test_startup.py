"""Every command at every moment of a start: the guest is gone or runs, and whoever asked knows."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from culvert.drivers.qemu.startup import SIDE, StartStep
from culvert.io import fault_points
from tests.drivers.support import domain_xml
from tests.support.daemon import DaemonProcess
from tests.support.virsh import Result, Running, virsh
from tests.support.wait import wait_for

NAME = "g"
PASSWORD = "<graphics type='vnc' port='-1' autoport='yes' passwd='secret'/>"
CARD = "<interface type='user'><mac address='52:54:00:00:00:01'/><model type='virtio'/></interface>"
LATE = "was destroyed while it was being started"

BOOT = tuple(step for step in StartStep if step is not StartStep.FED)
RESTORE = tuple(StartStep)
INCOMING = tuple(
    step for step in BOOT if step not in (StartStep.SECRETS, StartStep.CPU, StartStep.RUNS, StartStep.HERE)
)
RUNNING = (StartStep.RUNS, StartStep.DONE, StartStep.HERE)
WITHOUT_PROCESS = (StartStep.BEGUN, StartStep.WRITTEN, StartStep.FLASH)


@dataclass(frozen=True)
class Bench:
    """A daemon whose starts can be held, and a place for files."""

    host: DaemonProcess
    folder: Path
    points: Path

    @contextlib.contextmanager
    def at(self, step: StartStep) -> Iterator[None]:
        """Inside, a start that is under way has made ``step`` and stands; on leaving it goes on."""
        armed = self.points / f"{SIDE}.{step.value}"
        reached = armed.with_name(armed.name + fault_points.REACHED)
        armed.touch()
        try:
            wait_for(reached.exists, f"a start that stands at {armed.name}")
            yield
        finally:
            armed.unlink(missing_ok=True)
            reached.unlink(missing_ok=True)

    def virsh(self, *words: str) -> Result:
        return virsh(*words, uri=self.host.uri)

    def calls(self, procedure: str) -> int:
        """How many calls of ``procedure`` have come to the daemon so far."""
        return self.host.log.count(f"procedure={procedure} ")

    def wait_called(self, procedure: str, before: int) -> None:
        """Wait until ``procedure`` has been called more often than ``before``."""
        wait_for(lambda: self.calls(procedure) > before, f"a call of {procedure}")

    def state(self) -> str:
        return self.virsh("domstate", "--reason", NAME).expect().strip()

    def file(self, name: str, text: str) -> str:
        path = self.folder / name
        path.write_text(text)
        return str(path)

    def define(self) -> None:
        """The guest is there, persistent and shut off."""
        xml = domain_xml(NAME, PASSWORD + CARD, uuid="11111111-2222-4333-8444-00000000000a")
        self.virsh("define", self.file("g.xml", xml)).expect()


@contextlib.contextmanager
def running_bench(folder: Path, name: str) -> Iterator[Bench]:
    points = folder / f"{name}.points"
    points.mkdir()
    root = folder / name
    root.mkdir()
    host = DaemonProcess(
        root,
        name=f"host_{name}",
        config="[daemon]\nlog_level = 'debug'\n",
        environment={fault_points.VARIABLE: str(points)},
    )
    with host:
        yield Bench(host, folder, points)


@pytest.fixture
def bench(folder: Path) -> Iterator[Bench]:
    with running_bench(folder, "a") as bench:
        yield bench


@pytest.fixture
def other(folder: Path) -> Iterator[Bench]:
    with running_bench(folder, "b") as bench:
        yield bench


# the end, at every moment of every kind of start


def destroyed(bench: Bench, start: Running, step: StartStep) -> Result:
    """What the starter hears whose guest was destroyed at ``step``."""
    told = f"domain={NAME} is ended while it is being started"
    before = bench.host.log.count(told)
    with bench.at(step):
        with Running(bench.host.uri, "destroy", NAME) as destroy:
            if step in WITHOUT_PROCESS:
                # There is nothing to be killed: the start must see it by itself.
                wait_for(lambda: bench.host.log.count(told) > before, "the start has been told")
                (bench.points / f"{SIDE}.{step.value}").unlink()
            destroy.finish().expect()
        assert bench.host.qemu_pids() == [], step
    return start.finish()


def test_destroyed_while_it_boots(bench: Bench) -> None:
    bench.define()
    for step in BOOT:
        with Running(bench.host.uri, "start", NAME) as start:
            result = destroyed(bench, start, step)
        assert not result.ok, step
        assert LATE in result.err, (step, result)
        assert bench.state() == "shut off (destroyed)", step
        bench.host.assert_no_leftovers()
    bench.virsh("start", NAME).expect()
    assert bench.state() == "running (booted)"


def test_destroyed_while_it_is_restored(bench: Bench) -> None:
    bench.define()
    bench.virsh("start", NAME).expect()
    image = bench.folder / "image"
    bench.virsh("save", NAME, str(image)).expect()
    for step in RESTORE:
        with Running(bench.host.uri, "restore", str(image)) as restore:
            result = destroyed(bench, restore, step)
        assert not result.ok, step
        assert LATE in result.err, (step, result)
        assert bench.state() == "shut off (destroyed)", step
        bench.host.assert_no_leftovers()
    bench.virsh("restore", str(image)).expect()
    assert bench.state() == "running (restored)"


def test_destroyed_while_it_begins_to_come_in(bench: Bench, other: Bench) -> None:
    bench.define()
    bench.virsh("start", NAME).expect()
    for step in INCOMING:
        with Running(bench.host.uri, "migrate", "--live", "--p2p", NAME, other.host.tcp_uri) as migrate:
            result = destroyed(other, migrate, step)
        assert not result.ok, step
        assert LATE in result.err, (step, result)
        assert other.virsh("list", "--all", "--name").expect().split() == [], step
        other.host.assert_no_leftovers()
        assert bench.state().startswith("running"), step
    bench.virsh("migrate", "--live", "--p2p", NAME, other.host.tcp_uri).expect()
    assert other.state() == "running (migrated)"


def test_a_destroy_that_is_given_up_does_not_count(bench: Bench) -> None:
    """A graceful one times out: what ends the guest later is what is told."""
    bench.define()
    with Running(bench.host.uri, "start", NAME) as start:
        with bench.at(StartStep.SPAWNED):
            (pid,) = bench.host.qemu_pids()
            os.kill(pid, signal.SIGSTOP)
            failed = bench.virsh("destroy", "--graceful", NAME)
            assert not failed.ok
            assert "has not ended within" in failed.err
            os.kill(pid, signal.SIGCONT)
        result = start.finish()
    # SIGTERM has been sent to it and it ends by that, but nobody has destroyed it.
    assert not result.ok
    assert LATE not in result.err
    assert bench.state() == "shut off (failed)"


# what waits for the start


@dataclass(frozen=True)
class Command:
    """``words`` for virsh and the ``procedure`` that they call; ``expect`` looks at what came of it."""

    words: Callable[[Bench, str], tuple[str, ...]]
    procedure: str
    expect: Callable[[Bench, Bench, Result], None]


def _shut_down(bench: Bench, other: Bench, result: Result) -> None:
    result.expect()  # the button was pressed; there is nobody in the guest who would hear it
    assert bench.state() == "running (booted)"


def _saved(bench: Bench, other: Bench, result: Result) -> None:
    result.expect()
    assert bench.state() == "shut off (saved)"
    (bench.folder / "image").unlink()


def _moved(bench: Bench, other: Bench, result: Result) -> None:
    result.expect()
    assert other.state() == "running (migrated)"
    assert bench.state() == "shut off (migrated)"
    other.virsh("destroy", NAME).expect()
    other.host.assert_no_leftovers()


def _undefined(bench: Bench, other: Bench, result: Result) -> None:
    result.expect()
    assert "no" in bench.virsh("dominfo", NAME).expect().partition("Persistent:")[2].split()[:1]
    assert bench.state() == "running (booted)"
    bench.virsh("destroy", NAME).expect()
    assert bench.virsh("list", "--all", "--name").expect().split() == []
    bench.define()


def _detached(bench: Bench, other: Bench, result: Result) -> None:
    # The guest has no system that could let go of the card: it is asked, or it is gone.
    assert result.ok or "unplug" in result.err, result
    assert bench.state() == "running (booted)"


COMMANDS = {
    "shutdown": Command(lambda bench, there: ("shutdown", NAME), "DOMAIN_SHUTDOWN", _shut_down),
    "save": Command(lambda bench, there: ("save", NAME, str(bench.folder / "image")), "DOMAIN_SAVE", _saved),
    "migrate": Command(
        lambda bench, there: ("migrate", "--live", "--p2p", NAME, there),
        *("DOMAIN_MIGRATE_PERFORM3_PARAMS", _moved),
    ),
    "undefine": Command(lambda bench, there: ("undefine", NAME), "DOMAIN_UNDEFINE_FLAGS", _undefined),
    "detach-device": Command(
        lambda bench, there: ("detach-device", NAME, bench.file("card.xml", CARD), "--live"),
        *("DOMAIN_DETACH_DEVICE_FLAGS", _detached),
    ),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_while_it_boots(bench: Bench, other: Bench, name: str) -> None:
    """It waits for the start, and the start succeeds; then it is carried out as ever."""
    command = COMMANDS[name]
    bench.define()
    for step in BOOT:
        before = bench.calls(command.procedure)
        with (
            Running(bench.host.uri, "start", NAME) as start,
            contextlib.ExitStack() as asking,
        ):
            with bench.at(step):
                asked = asking.enter_context(Running(bench.host.uri, *command.words(bench, other.host.tcp_uri)))
                bench.wait_called(command.procedure, before)
            start.finish().expect()
            command.expect(bench, other, asked.finish())
        if bench.state().startswith("running"):
            bench.virsh("destroy", NAME).expect()
        bench.host.assert_no_leftovers()


@pytest.mark.parametrize("step", BOOT, ids=lambda step: step.value)
def test_the_daemon_stops_while_it_boots(bench: Bench, step: StartStep) -> None:
    """The start is taken back, whoever asked hears that, and the next daemon knows of a guest that never ran."""
    bench.define()
    with Running(bench.host.uri, "start", NAME) as start:
        assert bench.host.process is not None
        with bench.at(step):
            bench.host.process.terminate()
            assert not start.finish().ok
            bench.host.wait_no_qemu()
        assert bench.host.process.wait(30) == 0
    assert bench.host.leftovers() == []
    bench.host.start()
    assert bench.state().startswith("shut off")
    bench.virsh("start", NAME).expect()
    assert bench.state() == "running (booted)"


@pytest.mark.parametrize("step", BOOT, ids=lambda step: step.value)
def test_the_daemon_is_killed_while_it_boots(bench: Bench, step: StartStep) -> None:
    """The next daemon ends what was half a start, whether or not its pid was written down; what runs, it knows."""
    bench.define()
    with Running(bench.host.uri, "start", NAME) as start:
        with bench.at(step):
            bench.host.kill()
        assert not start.finish().ok
    bench.host.start()
    runs = step in RUNNING
    wait_for(
        lambda: bench.state().startswith("running") is runs, f"it is known that it {'runs' if runs else 'is off'}"
    )
    if runs:
        assert len(bench.host.qemu_pids()) == 1
        bench.virsh("destroy", NAME).expect()
    else:
        bench.host.wait_no_qemu()
        assert bench.state() == "shut off (failed)"
    bench.host.assert_no_leftovers()
    bench.virsh("start", NAME).expect()
    assert bench.state() == "running (booted)"


@pytest.mark.parametrize("step", RESTORE, ids=lambda step: step.value)
def test_the_daemon_is_killed_while_it_goes_on_from_its_image(bench: Bench, step: StartStep) -> None:
    """As above: what has not run goes on from its image the next time; what runs has none any more."""
    bench.define()
    bench.virsh("start", NAME).expect()
    bench.virsh("managedsave", NAME).expect()
    with Running(bench.host.uri, "start", NAME) as start:
        with bench.at(step):
            bench.host.kill()
        assert not start.finish().ok
    bench.host.start()
    runs = step in RUNNING
    wait_for(
        lambda: bench.state().startswith("running") is runs, f"it is known that it {'runs' if runs else 'is off'}"
    )
    if runs:
        assert bench.virsh("list", "--with-managed-save", "--all", "--name").expect().split() == []
        return
    bench.host.wait_no_qemu()
    assert bench.state() == "shut off (failed)"
    bench.host.assert_no_leftovers()
    bench.virsh("start", NAME).expect()
    assert bench.state() == "running (restored)"
