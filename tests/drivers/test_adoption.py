"""Guests outlive the driver and are found again, as they stand then."""

from __future__ import annotations

import asyncio
import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from culvert.drivers.qemu import adoption, launch, power, process
from culvert.drivers.qemu import host as host_module
from culvert.drivers.qemu.console import open_console
from culvert.drivers.qemu.domain import Domain
from culvert.drivers.qemu.driver import Driver
from culvert.drivers.qemu.monitor import Monitor
from culvert.drivers.qemu.process import ProcessIdentity
from culvert.drivers.qemu.run import Ending
from culvert.drivers.qemu.state.status import Status
from culvert.ground import errors
from culvert.io import files
from culvert.protocol.constants_state import DomainState, PausedReason, RunningReason, ShutoffReason, StoppedDetail
from tests.drivers.support import (
    PATIENCE,
    POWER_OFF,
    SERIAL_PTY,
    Heard,
    booted,
    domain_xml,
    echo_disk,
    eventually,
    needs_qemu,
    read_until,
    running_driver,
)

pytestmark = needs_qemu


def process_of(domain: Domain) -> process.Process:
    found = domain.require_active().process
    assert found is not None
    return found


async def ended(pid: int) -> None:
    """Wait for the end of a process that is our child, as all QEMUs of a test are, and collect it."""
    await asyncio.to_thread(os.waitpid, pid, 0)


async def test_running_guests_run_on_and_are_found(tmp_path: Path) -> None:
    async with running_driver(tmp_path, leave_guests=True) as driver:
        persistent = await driver.define_xml(domain_xml("persistent", SERIAL_PTY + echo_disk(tmp_path)))
        await launch.start(persistent, paused=True)
        (await booted(persistent)).close()
        transient = await driver.create_xml(domain_xml("transient"))
        await power.suspend(transient)
        persistent.annotations["migration"] = "out"
        persistent.changed()
        before = {one.name: (one.id, process_of(one).pid, await one.xml()) for one in driver.domains()}
    async with running_driver(tmp_path) as driver:
        heard = Heard(driver)
        assert {one.name: (one.id, process_of(one).pid, await one.xml()) for one in driver.domains()} == before
        persistent, transient = driver.lookup_by_name("persistent"), driver.lookup_by_name("transient")
        assert (persistent.state, persistent.reason) == (DomainState.RUNNING, RunningReason.UNPAUSED)
        assert (transient.state, transient.reason) == (DomainState.PAUSED, PausedReason.USER)
        assert (persistent.is_persistent, transient.is_persistent) == (True, False)
        assert persistent.annotations == {"migration": "out"}
        third = await driver.create_xml(domain_xml("third"))
        assert third.id == 3
        console = await open_console(persistent)
        await console.write(b"alive")
        assert await read_until(console, b"alive") == b"alive"
        await console.write(POWER_OFF)
        await heard.until("STOPPED", "SHUTDOWN")
        await power.destroy(transient)
        assert [one.name for one in driver.domains()] == ["persistent", "third"]


async def test_what_happened_meanwhile(tmp_path: Path) -> None:
    async with running_driver(tmp_path, leave_guests=True) as driver:
        for name in ("paused", "dead"):
            await launch.start(await driver.define_xml(domain_xml(name)))
        await launch.start(await driver.define_xml(domain_xml("off", SERIAL_PTY + echo_disk(tmp_path))), paused=True)
        await driver.create_xml(domain_xml("gone"))
        pids = {one.name: process_of(one).pid for one in driver.domains()}
        sockets = {one.name: one.require_active().monitor_path for one in driver.domains()}
        runtimes = [one.require_active().runtime for one in driver.domains()]
        await booted(driver.lookup_by_name("off"))
        pty = driver.lookup_by_name("off").definition.devices.serials[0].source
        assert pty is not None
        assert pty.path is not None
    for name in ("dead", "gone"):
        os.kill(pids[name], signal.SIGKILL)
        await ended(pids[name])
    await _stop(sockets["paused"])
    await _power_off(pty.path, sockets["off"])
    async with running_driver(tmp_path) as driver:
        paused, dead, off = (driver.lookup_by_name(name) for name in ("paused", "dead", "off"))
        assert (paused.state, paused.reason) == (DomainState.PAUSED, PausedReason.UNKNOWN)
        assert (dead.state, dead.reason, dead.id) == (DomainState.SHUTOFF, ShutoffReason.CRASHED, -1)
        async with asyncio.timeout(PATIENCE):
            await off.exited.wait()
        assert (off.state, off.reason) == (DomainState.SHUTOFF, ShutoffReason.SHUTDOWN)
        with pytest.raises(errors.NoDomain):
            driver.lookup_by_name("gone")
        await launch.start(dead)
        await power.resume(paused)
        assert paused.state is DomainState.RUNNING
    assert not any(runtime.exists() for runtime in runtimes)


async def _stop(monitor_path: Path) -> None:
    async with asyncio.TaskGroup() as tasks:
        monitor = await Monitor.connect(monitor_path, tasks, name="test")
        await monitor.execute("stop")
        await monitor.close()


async def _power_off(pty: str, monitor_path: Path) -> None:
    # QEMU looks for somebody at the other end of a pty once a second: it must be held until it has been read.
    fd = os.open(pty, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
    try:
        async with asyncio.TaskGroup() as tasks:
            monitor = await Monitor.connect(monitor_path, tasks, name="test")
            async with monitor.events(["SHUTDOWN"]) as queue:
                os.write(fd, POWER_OFF)
                await queue.get(PATIENCE)
            await monitor.close()
    finally:
        os.close(fd)


async def test_an_adopted_guest_that_dies_is_noticed(tmp_path: Path) -> None:
    async with running_driver(tmp_path, leave_guests=True) as driver:
        await driver.create_xml(domain_xml("g"))
    async with running_driver(tmp_path) as driver:
        heard = Heard(driver)
        domain = driver.lookup_by_name("g")
        os.kill(process_of(domain).pid, signal.SIGKILL)
        await heard.until("STOPPED", "FAILED")
        async with asyncio.timeout(PATIENCE):
            await eventually(lambda: list(driver.layout.statuses.iterdir()) == [])


async def _ends_while_it_is_left(driver: Driver, how: str, place: Path) -> str:
    """Begin to end a guest of ``driver``; returns what must be said of it."""
    if how == "powers off":
        domain = await driver.define_xml(domain_xml("g", SERIAL_PTY + echo_disk(place)))
        await launch.start(domain, paused=True)
        console = await booted(domain)
        async with domain.monitor.events(["SHUTDOWN"]) as told:
            await console.write(POWER_OFF)
            await told.get(PATIENCE)
        return "SHUTDOWN"
    domain = await driver.define_xml(domain_xml("g"))
    await launch.start(domain)
    if how == "quits":
        async with domain.monitor.events(["SHUTDOWN"]) as told:  # of what it had no time to say nobody can know
            await domain.monitor.execute("quit")
            await told.get(PATIENCE)
        return "SHUTDOWN"
    if how == "is killed":
        os.kill(process_of(domain).pid, signal.SIGKILL)
        return "CRASHED"
    if how == "is slow to be destroyed":
        os.kill(process_of(domain).pid, signal.SIGSTOP)  # it goes on when nobody waits for it any more
    driver.host.spawn(power.destroy(domain), name="destroy")
    await asyncio.sleep(0)
    return "DESTROYED"


@pytest.mark.parametrize(
    "how", ["is destroyed", "is slow to be destroyed", "powers off", "quits", "is killed"], ids=lambda how: how
)
async def test_a_guest_that_ends_while_the_daemon_stops(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """What it is said to have come to is the same as with a daemon that stays."""
    if how == "is slow to be destroyed":
        monkeypatch.setattr(host_module, "FINISH_TIMEOUT", 0.2)
    async with running_driver(tmp_path, leave_guests=True) as driver:
        expected = await _ends_while_it_is_left(driver, how, tmp_path)
        (domain,) = driver.domains()
        pid = domain.run.process.pid if domain.run is not None and domain.run.process is not None else 0
    if how == "is slow to be destroyed":
        os.kill(pid, signal.SIGCONT)
        await ended(pid)
    async with running_driver(tmp_path) as driver:
        domain = driver.lookup_by_name("g")
        async with asyncio.timeout(PATIENCE):
            await domain.exited.wait()
        # The daemon that stopped may have seen it end: then there is nothing for this one to tell.
        seen = {"is destroyed": ["UNKNOWN"], "is slow to be destroyed": [expected]}.get(how, ["UNKNOWN", expected])
        assert ShutoffReason(domain.reason).name in seen
        async with asyncio.timeout(PATIENCE):
            await eventually(lambda: list(driver.layout.statuses.iterdir()) == [])


@pytest.mark.parametrize(
    ("state", "reason", "process", "ending", "expected"),
    [
        (DomainState.RUNNING, 1, True, None, (ShutoffReason.CRASHED, StoppedDetail.FAILED)),
        (DomainState.SHUTDOWN, 0, True, None, (ShutoffReason.SHUTDOWN, StoppedDetail.SHUTDOWN)),
        (DomainState.RUNNING, 1, True, (2, 1), (ShutoffReason.DESTROYED, StoppedDetail.DESTROYED)),
        (DomainState.SHUTDOWN, 0, True, (5, 4), (ShutoffReason.SAVED, StoppedDetail.SAVED)),
        (DomainState.PAUSED, PausedReason.STARTING_UP, True, None, (ShutoffReason.FAILED, None)),
        (DomainState.PAUSED, PausedReason.MIGRATION, False, None, (ShutoffReason.FAILED, None)),
        (
            DomainState.PAUSED,
            PausedReason.STARTING_UP,
            False,
            (2, 1),
            (ShutoffReason.DESTROYED, StoppedDetail.DESTROYED),
        ),
        (DomainState.RUNNING, 1, True, (99, 1), (ShutoffReason.CRASHED, StoppedDetail.FAILED)),
    ],
)
def test_how_a_guest_has_ended_that_nobody_saw(
    state: int,
    reason: int,
    process: bool,
    ending: tuple[int, int | None] | None,
    expected: tuple[ShutoffReason, StoppedDetail | None],
) -> None:
    identity = ProcessIdentity(1, 2, "boot") if process else None
    status = Status("g", "uuid", 1, "<domain/>", state, reason, identity, 0, "/run", ending=ending)
    assert adoption._known_ending(Status.from_text(status.to_text())) == Ending(*expected)


async def test_a_start_that_was_never_written_down_is_ended(tmp_path: Path) -> None:
    async with running_driver(tmp_path, leave_guests=True) as driver:
        domain = await driver.create_xml(domain_xml("g"))
        pid = process_of(domain).pid
        status = driver.layout.status("g")
    # As a daemon that was killed between the start and its record leaves it.
    recorded = Status.from_text(status.read_text())
    files.write_atomically(status, recorded.to_text().replace(f'"pid": {pid}', '"pid": 0'))
    text = status.read_text()
    begin, end = text.index('"process": {'), text.index("}", text.index('"process": {')) + 1
    files.write_atomically(status, text[:begin] + '"process": null' + text[end:])
    async with running_driver(tmp_path) as driver:
        async with asyncio.timeout(PATIENCE):
            await ended(pid)
        assert driver.domains() == []
        assert list(driver.layout.statuses.iterdir()) == []


@pytest.mark.parametrize("left", ["nothing", "a socket", "a QEMU", "one that does not answer"])
async def test_who_listens_where_a_start_was_to_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, left: str
) -> None:
    """The daemon was killed between starting QEMU and writing its pid down, or before: nothing may run on unseen."""
    monkeypatch.setattr(adoption, "FIRST_TIMEOUT", 1.0 if left == "one that does not answer" else PATIENCE)
    async with running_driver(tmp_path, leave_guests=True) as driver:
        domain = await driver.define_xml(domain_xml("g"))
        await launch.start(domain)
        run, status = domain.require_active(), domain.status()
        assert status is not None
        pid = process_of(domain).pid
    if left == "one that does not answer":
        os.kill(pid, signal.SIGSTOP)
    elif left != "a QEMU":
        os.kill(pid, signal.SIGKILL)
        await ended(pid)
    if left == "nothing":
        run.monitor_path.unlink()
    files.write_atomically(driver.layout.status("g"), replace(status, process=None).to_text())
    async with running_driver(tmp_path) as driver:
        domain = driver.lookup_by_name("g")
        assert (domain.state, domain.reason) == (DomainState.SHUTOFF, ShutoffReason.FAILED)
        assert ("was being started when the last daemon ended: ended" in caplog.text) is (left == "a QEMU")
        if left == "a QEMU":
            async with asyncio.timeout(PATIENCE):
                await ended(pid)
        left_over = [run.runtime] if left == "one that does not answer" else []
        assert list(driver.layout.statuses.iterdir()) == left_over
        if left == "one that does not answer":
            with pytest.raises(errors.OperationInvalid, match="end that one first"):
                await launch.start(domain)
            os.kill(pid, signal.SIGKILL)
            await ended(pid)
        await launch.start(domain)


async def test_a_start_that_was_not_finished_is_ended(tmp_path: Path) -> None:
    async with running_driver(tmp_path, leave_guests=True) as driver:
        domain = await driver.create_xml(domain_xml("g"), paused=True)
        pid = process_of(domain).pid
        domain.set_state(DomainState.PAUSED, PausedReason.STARTING_UP)
        await domain.persist()
    async with running_driver(tmp_path) as driver:
        async with asyncio.timeout(PATIENCE):
            await eventually(lambda: driver.domains() == [])
            await eventually(lambda: list(driver.layout.statuses.iterdir()) == [])
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


@pytest.mark.parametrize("damage", ["half a fi", '{"format": 1, "name": "g"}', '{"format": 7}'])
async def test_an_unreadable_status_is_kept_and_harms_no_other(tmp_path: Path, damage: str) -> None:
    async with running_driver(tmp_path, leave_guests=True) as driver:
        await driver.create_xml(domain_xml("g"))
        driver.layout.status("broken").write_text(damage)
    async with running_driver(tmp_path) as driver:
        assert [one.name for one in driver.domains()] == ["g"]
        assert driver.layout.status("broken.json.unreadable").with_suffix("").read_text() == damage


async def test_a_guest_whose_monitor_does_not_answer_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("culvert.drivers.qemu.adoption.FIRST_TIMEOUT", 0.1)
    monkeypatch.setattr("culvert.drivers.qemu.adoption.RETRY_PAUSE", 0.1)
    async with running_driver(tmp_path, leave_guests=True) as driver:
        pid = process_of(await driver.create_xml(domain_xml("g"))).pid
    os.kill(pid, signal.SIGSTOP)
    async with running_driver(tmp_path) as driver:
        domain = driver.lookup_by_name("g")
        assert domain.is_active
        with pytest.raises(errors.OperationInvalid, match="monitor"):
            await power.suspend(domain)
        os.kill(pid, signal.SIGCONT)
        async with asyncio.timeout(PATIENCE):
            await eventually(lambda: domain.require_active().monitor is not None)
        await domain.monitor.execute("query-status")
        await power.suspend(domain)
        assert domain.state is DomainState.PAUSED
