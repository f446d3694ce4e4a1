"""The life of real guests: every call, the states it leaves, the events it sends and their order."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import threading
from pathlib import Path

import pytest
from lxml import etree

from culvert.drivers.qemu import domain as domain_module
from culvert.drivers.qemu import launch, power, process, screenshot
from culvert.drivers.qemu.console import open_console
from culvert.drivers.qemu.domain import Domain
from culvert.drivers.qemu.state.status import Status
from culvert.ground import errors
from culvert.protocol.constants_flag import XMLFlag
from culvert.protocol.constants_state import DomainState, PausedReason, RunningReason, ShutoffReason
from tests.drivers.support import (
    GREETING,
    PATIENCE,
    POWER_OFF,
    RESET,
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


def pid_of(domain: Domain) -> int:
    running = domain.require_active().process
    assert running is not None
    return running.pid


async def test_define_start_destroy_undefine(tmp_path: Path) -> None:
    async with running_driver(tmp_path) as driver:
        heard = Heard(driver)
        domain = await driver.define_xml(domain_xml("g"))
        assert (domain.state, domain.reason, domain.id) == (DomainState.SHUTOFF, ShutoffReason.UNKNOWN, -1)
        await launch.start(domain)
        assert (domain.state, domain.reason, domain.id) == (DomainState.RUNNING, RunningReason.BOOTED, 1)
        assert driver.lookup_by_id(1) is domain
        with pytest.raises(errors.OperationInvalid, match="already running"):
            await launch.start(domain)
        await power.destroy(domain)
        assert (domain.state, domain.reason, domain.id) == (DomainState.SHUTOFF, ShutoffReason.DESTROYED, -1)
        await launch.start(domain)
        assert domain.id == 2
        await power.destroy(domain)
        await driver.undefine(domain)
        assert driver.domains() == []
        run = [("RESUMED", "UNPAUSED"), ("STARTED", "BOOTED"), ("SHUTDOWN", "HOST"), ("STOPPED", "DESTROYED")]
        assert heard.names == [("DEFINED", "ADDED"), *run, *run, ("UNDEFINED", "REMOVED")]
        assert [event.id for event in heard.events] == [-1, 1, 1, 1, -1, 2, 2, 2, -1, -1]
        assert list(driver.layout.statuses.iterdir()) == []
        assert list(driver.layout.definitions.iterdir()) == []


async def test_start_paused_then_resume_then_suspend(tmp_path: Path) -> None:
    async with running_driver(tmp_path) as driver:
        heard = Heard(driver)
        domain = await driver.create_xml(domain_xml("g"), paused=True)
        assert (domain.state, domain.reason) == (DomainState.PAUSED, PausedReason.USER)
        await power.resume(domain)
        assert (domain.state, domain.reason) == (DomainState.RUNNING, RunningReason.UNPAUSED)
        with pytest.raises(errors.OperationInvalid, match="already running"):
            await power.resume(domain)
        await power.suspend(domain)
        assert (domain.state, domain.reason) == (DomainState.PAUSED, PausedReason.USER)
        await power.suspend(domain)
        assert heard.names == [
            ("STARTED", "BOOTED"),
            ("SUSPENDED", "PAUSED"),
            ("RESUMED", "UNPAUSED"),
            ("SUSPENDED", "PAUSED"),
        ]


async def test_info_and_xml_of_a_running_guest(tmp_path: Path) -> None:
    async with running_driver(tmp_path) as driver:
        domain = await driver.create_xml(domain_xml("g", SERIAL_PTY))
        info = domain.info()
        assert (info.state, info.max_memory, info.memory, info.vcpus) == (DomainState.RUNNING, 16384, 16384, 1)
        async with asyncio.timeout(PATIENCE):
            await eventually(lambda: domain.info().cpu_time > 0)
        live = etree.fromstring(await domain.xml())
        pty = str(live.xpath("string(devices/serial/source/@path)"))
        assert pty.startswith("/dev/pts/")
        assert live.xpath("@id") == ["1"]
        assert live.xpath("devices/console/@tty") == [pty]
        assert live.xpath("devices/serial/alias/@name") == ["serial0"]
        for flags in (XMLFlag.INACTIVE, XMLFlag.MIGRATABLE, XMLFlag.SECURE | XMLFlag.MIGRATABLE):
            shown = etree.fromstring(await domain.xml(flags))
            assert shown.xpath("@id | devices/serial/alias | devices/serial/source") == []
        with pytest.raises(errors.InvalidArgument, match="0x80"):
            await domain.xml(0x80)


async def test_a_transient_guest_vanishes_with_its_end(tmp_path: Path) -> None:
    async with running_driver(tmp_path) as driver:
        domain = await driver.create_xml(domain_xml("g"))
        with pytest.raises(errors.OperationInvalid, match="transient"):
            await driver.undefine(domain)
        await power.destroy(domain)
        with pytest.raises(errors.NoDomain, match="'g'"):
            driver.lookup_by_name("g")
        with pytest.raises(errors.OperationInvalid, match="not running"):
            await power.destroy(domain)
        assert etree.fromstring(await domain.xml()).findtext("name") == "g"  # who still holds it is not let down


async def test_undefining_a_running_guest_makes_it_transient(tmp_path: Path) -> None:
    async with running_driver(tmp_path) as driver:
        domain = await driver.define_xml(domain_xml("g"))
        await launch.start(domain)
        await driver.undefine(domain)
        assert domain.is_active
        assert not domain.is_persistent
        await power.destroy(domain)
        assert driver.domains() == []


async def test_a_definition_made_while_it_runs_counts_from_the_next_start(tmp_path: Path) -> None:
    async with running_driver(tmp_path) as driver:
        heard = Heard(driver)
        domain = await driver.define_xml(domain_xml("g", uuid="11111111-2222-4333-8444-000000000001"))
        await launch.start(domain)
        again = await driver.define_xml(domain_xml("g", uuid="11111111-2222-4333-8444-000000000001", memory=32))
        assert again is domain
        assert domain.info().max_memory == 16384
        await power.destroy(domain)
        assert domain.info().max_memory == 32768
        assert ("DEFINED", "UPDATED") in heard.names


async def test_an_image_that_is_not_there_is_told_before_qemu_is_started(tmp_path: Path) -> None:
    disk = "<disk type='file'><source file='/no/such/image'/><target dev='hda'/></disk>"
    async with running_driver(tmp_path) as driver:
        domain = await driver.define_xml(domain_xml("g", disk))
        with pytest.raises(errors.SystemCallError, match="Cannot access storage file '/no/such/image'"):
            await launch.start(domain)
        assert (domain.state, domain.reason) == (DomainState.SHUTOFF, ShutoffReason.FAILED)
        assert list(driver.layout.statuses.iterdir()) == []


async def test_a_failed_start_shows_qemus_output_and_leaves_nothing(tmp_path: Path) -> None:
    image = tmp_path / "no.qcow2"
    image.write_bytes(b"no image")
    disk = f"<disk><driver type='qcow2'/><source file='{image}'/><target dev='hda'/></disk>"
    async with running_driver(tmp_path) as driver:
        heard = Heard(driver)
        with pytest.raises(errors.RequestError, match="not in qcow2 format"):
            await driver.create_xml(domain_xml("g", disk))
        assert driver.domains() == []
        domain = await driver.define_xml(domain_xml("g", disk))
        for _ in range(2):
            with pytest.raises(errors.RequestError, match="not in qcow2 format"):
                await launch.start(domain)
        assert (domain.state, domain.reason) == (DomainState.SHUTOFF, ShutoffReason.FAILED)
        assert "not in qcow2 format" in await domain.last_output()
        assert heard.names == [("DEFINED", "ADDED")]
        assert list(driver.layout.statuses.iterdir()) == []


async def test_a_cancelled_start_leaves_nothing(tmp_path: Path) -> None:
    async with running_driver(tmp_path) as driver:
        domain = await driver.define_xml(domain_xml("g"))
        # Cancelled after so many turns of the loop: before anything, with files made, with QEMU under way …
        for turns in (0, 1, 2, 3, 5, 8, 13, 21, 34):
            async with asyncio.TaskGroup() as tasks:
                start = tasks.create_task(launch.start(domain), name="start")
                for _ in range(turns):
                    await asyncio.sleep(0)
                start.cancel()
            if not start.cancelled():
                break
            assert not domain.is_active, turns
        else:
            await launch.start(domain)
        assert domain.state is DomainState.RUNNING


async def test_a_killed_qemu_is_a_crash(tmp_path: Path) -> None:
    async with running_driver(tmp_path) as driver:
        heard = Heard(driver)
        domain = await driver.define_xml(domain_xml("g"))
        await launch.start(domain)
        os.kill(pid_of(domain), signal.SIGKILL)
        async with asyncio.timeout(PATIENCE):
            await domain.exited.wait()
        assert (domain.state, domain.reason) == (DomainState.SHUTOFF, ShutoffReason.CRASHED)
        assert heard.names[-1] == ("STOPPED", "FAILED")
        await launch.start(domain)
        assert domain.state is DomainState.RUNNING


async def test_a_stopped_qemu_is_killed_by_force(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "TERM_TIMEOUT", 0.5)
    async with running_driver(tmp_path) as driver:
        domain = await driver.create_xml(domain_xml("g"))
        os.kill(pid_of(domain), signal.SIGSTOP)
        await power.destroy(domain)
        assert domain.reason == ShutoffReason.DESTROYED


async def test_a_destroy_that_times_out_does_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk does not answer, so the start sees nothing of it: afterwards the guest runs, and ends on its own."""
    monkeypatch.setattr(domain_module, "GONE_TIMEOUT", 0.2)
    async with running_driver(tmp_path) as driver, asyncio.TaskGroup() as tasks:
        domain = await driver.define_xml(domain_xml("g"))
        answers = threading.Event()
        save_status = driver.host.store.save_status

        def stuck(status: Status) -> None:
            answers.wait(PATIENCE)
            save_status(status)

        monkeypatch.setattr(driver.host.store, "save_status", stuck)
        start = tasks.create_task(launch.start(domain), name="start")
        async with asyncio.timeout(PATIENCE):
            await eventually(lambda: domain.is_active)
        with pytest.raises(errors.OperationTimeout, match="does not end"):
            await power.destroy(domain)
        answers.set()
        await start
        monkeypatch.setattr(domain_module, "GONE_TIMEOUT", PATIENCE)
        os.kill(pid_of(domain), signal.SIGKILL)
        async with asyncio.timeout(PATIENCE):
            await domain.exited.wait()
        assert domain.reason == ShutoffReason.CRASHED


async def test_undefined_while_a_start_waits(tmp_path: Path) -> None:
    """It would run, and nobody would find it."""
    async with running_driver(tmp_path) as driver:
        domain = await driver.define_xml(domain_xml("g"))

        async def undefine() -> None:
            async with domain.changing("something"):
                await asyncio.sleep(0)  # the start waits now
                await driver.undefine(domain)

        _, failure = await asyncio.gather(undefine(), launch.start(domain), return_exceptions=True)
        assert isinstance(failure, errors.NoDomain)
        assert "was undefined meanwhile" in failure.message
        assert driver.domains() == []
        assert list(driver.layout.statuses.iterdir()) == []


async def test_a_call_that_waits_ends_with_the_guest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "TERM_TIMEOUT", 0.5)
    async with running_driver(tmp_path) as driver:
        domain = await driver.define_xml(domain_xml("g"))
        await launch.start(domain)
        os.kill(pid_of(domain), signal.SIGSTOP)
        async with asyncio.TaskGroup() as tasks:
            call = tasks.create_task(_failure(domain), name="suspend")
            await asyncio.sleep(0)
            tasks.create_task(power.destroy(domain), name="destroy")
        assert "closed the monitor" in call.result()


async def _failure(domain: Domain) -> str:
    with pytest.raises(errors.OperationFailed) as caught:
        await power.suspend(domain)
    return caught.value.message


async def test_qemu_killed_by_quit_on_the_monitor(tmp_path: Path) -> None:
    async with running_driver(tmp_path) as driver:
        heard = Heard(driver)
        domain = await driver.define_xml(domain_xml("g"))
        await launch.start(domain)
        assert json.loads(await domain.monitor.raw('{"execute":"quit"}')) == {"return": {}}
        async with asyncio.timeout(PATIENCE):
            await domain.exited.wait()
        assert domain.reason == ShutoffReason.SHUTDOWN
        assert heard.names[-2:] == [("SHUTDOWN", "HOST"), ("STOPPED", "SHUTDOWN")]


async def test_monitor_commands(tmp_path: Path) -> None:
    async with running_driver(tmp_path) as driver:
        domain = await driver.create_xml(domain_xml("g"))
        assert json.loads(await domain.monitor.raw('{"execute":"query-status"}'))["return"]["status"] == "running"
        assert "VM status: running" in await domain.monitor.human("info status")
        await domain.monitor.human("stop")
        assert (domain.state, domain.reason) == (DomainState.PAUSED, PausedReason.UNKNOWN)


@pytest.mark.parametrize("machine", ["pc", "q35"])
async def test_a_guest_that_powers_off(tmp_path: Path, machine: str) -> None:
    async with running_driver(tmp_path) as driver:
        heard = Heard(driver)
        disk = echo_disk(tmp_path)
        if machine == "q35":
            disk = disk.replace("dev='hda'", "dev='sda' bus='sata'")
        domain = await driver.define_xml(domain_xml("g", SERIAL_PTY + disk, machine=machine))
        await launch.start(domain, paused=True)
        console = await booted(domain)
        await console.write(POWER_OFF)
        async with asyncio.timeout(PATIENCE):
            await domain.exited.wait()
        assert (domain.state, domain.reason) == (DomainState.SHUTOFF, ShutoffReason.SHUTDOWN)
        assert heard.names[-2:] == [("SHUTDOWN", "GUEST"), ("STOPPED", "SHUTDOWN")]
        assert await console.read() == b""


async def test_reboot_boots_a_guest_again_that_powers_off(tmp_path: Path) -> None:
    async with running_driver(tmp_path) as driver:
        heard = Heard(driver)
        domain = await driver.create_xml(domain_xml("g", SERIAL_PTY + echo_disk(tmp_path)), paused=True)
        console = await booted(domain)
        await power.reboot(domain)
        await console.write(POWER_OFF)
        await read_until(console, GREETING)
        assert (domain.state, domain.reason, domain.id) == (DomainState.RUNNING, RunningReason.UNPAUSED, 1)
        await power.shutdown(domain)
        await console.write(POWER_OFF)
        await heard.until("STOPPED", "SHUTDOWN")


@pytest.mark.parametrize(("action", "again"), [("restart", True), ("destroy", False)])
async def test_on_reboot(tmp_path: Path, action: str, again: bool) -> None:
    async with running_driver(tmp_path) as driver:
        heard = Heard(driver)
        xml = domain_xml("g", SERIAL_PTY + echo_disk(tmp_path), extra=f"<on_reboot>{action}</on_reboot>")
        domain = await driver.create_xml(xml, paused=True)
        console = await booted(domain)
        await console.write(RESET)
        if again:
            await read_until(console, GREETING)
            assert domain.state is DomainState.RUNNING
        else:
            await heard.until("STOPPED", "SHUTDOWN")


async def test_on_poweroff_restart(tmp_path: Path) -> None:
    async with running_driver(tmp_path) as driver:
        xml = domain_xml("g", SERIAL_PTY + echo_disk(tmp_path), extra="<on_poweroff>restart</on_poweroff>")
        domain = await driver.create_xml(xml, paused=True)
        console = await booted(domain)
        await console.write(POWER_OFF)
        await read_until(console, GREETING)
        assert domain.state is DomainState.RUNNING


async def test_reset_boots_again(tmp_path: Path) -> None:
    async with running_driver(tmp_path) as driver:
        domain = await driver.create_xml(domain_xml("g", SERIAL_PTY + echo_disk(tmp_path)), paused=True)
        console = await booted(domain)
        await power.reset(domain)
        await read_until(console, GREETING)


async def test_calls_that_need_a_running_guest(tmp_path: Path) -> None:
    async with running_driver(tmp_path) as driver:
        domain = await driver.define_xml(domain_xml("g"))
        for call in (
            *(power.destroy, power.shutdown, power.reboot, power.reset, power.suspend, power.resume),
            *(open_console, screenshot.take, lambda guest: guest.monitor.raw("{}")),
        ):
            with pytest.raises(errors.OperationInvalid, match="not running"):
                await call(domain)


async def test_a_job_keeps_others_out_but_not_the_end(tmp_path: Path) -> None:
    class Job:
        description = "migration out"

    async with running_driver(tmp_path) as driver:
        domain = await driver.create_xml(domain_xml("g"))
        domain.job = Job()
        for call in (power.shutdown, power.reboot, power.reset, power.resume):
            with pytest.raises(errors.OperationInvalid, match="migration out"):
                await call(domain)
        await power.suspend(domain)
        assert (domain.state, domain.reason) == (DomainState.PAUSED, PausedReason.MIGRATION)
        await power.destroy(domain)
        assert not domain.is_active


async def test_many_at_once(tmp_path: Path) -> None:
    async with running_driver(tmp_path) as driver:
        domains = await asyncio.gather(
            *(driver.create_xml(domain_xml(f"g{number}", "<graphics type='vnc'/>")) for number in range(3))
        )
        assert len({domain.id for domain in domains}) == 3
        ports = {graphics.port for domain in domains for graphics in domain.definition.devices.graphics}
        assert len(ports) == 3
        await asyncio.gather(*(power.destroy(domain) for domain in domains))
        assert driver.host.vnc_ports == set()
