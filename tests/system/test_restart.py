"""The daemon ends, is killed, starts again; the guests run on and are found again."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

import pytest

from guests import console, domain_xml
from tests.support import held, processes
from tests.support.daemon import DaemonFailed, DaemonProcess
from tests.support.guest import SMALL, RunningGuest, running_tiny, state_of
from tests.support.terminal import CTRL_RIGHT_BRACKET, Terminal
from tests.support.virsh import Running, virsh
from tests.support.wait import wait_for

P2P = ("migrate", "--live", "--p2p", "--tunnelled")
ENDS = pytest.mark.parametrize("kill", [False, True], ids=["SIGTERM", "SIGKILL"])

# What must be the same before and after.
FACTS = (
    ("domid",),
    ("domuuid",),
    ("domstate", "--reason"),
    ("dumpxml", "--security-info"),
    ("dumpxml", "--inactive"),
    ("dumpxml", "--migratable"),
    ("ttyconsole",),
)


def facts(host: DaemonProcess, *guests: str) -> dict[tuple[str, ...], str]:
    """Everything virsh shows of ``guests`` that a restart must not change."""
    shown = {(name, *words): virsh(*words, name, uri=host.uri).out for name in guests for words in FACTS}
    return shown | {("list",): virsh("list", "--all", uri=host.uri).expect()}


def serial_pty(name: str, host: DaemonProcess) -> Path:
    """The pty of the guest's second serial port."""
    xml = virsh("dumpxml", name, uri=host.uri).expect()
    return Path(xml.partition("<serial type='pty'>")[2].partition("path='")[2].partition("'")[0])


def assert_controllable(guest: RunningGuest, host: DaemonProcess) -> None:
    """It can be stopped and let run, and its console works both ways."""
    virsh("suspend", guest.name, uri=host.uri).expect()
    guest.watch.assert_stopped()
    virsh("resume", guest.name, uri=host.uri).expect()
    with Terminal(host.uri, "console", guest.name, "--devname", "serial1") as terminal:
        terminal.wait_console()
        terminal.press("v")
        terminal.wait_for("verify ok")
        terminal.press(CTRL_RIGHT_BRACKET)
        assert terminal.finish() == 0
    guest.assert_runs_only_on(host)


@ENDS
def test_guests_run_on_and_are_found_again(
    host_a: DaemonProcess, host_b: DaemonProcess, folder: Path, kill: bool
) -> None:
    for name in ("still", "idle"):
        virsh("define", str(domain_xml.tiny_guest(folder, name, SMALL).write_xml()), uri=host_a.uri).expect()
    virsh("start", "--paused", "still", uri=host_a.uri).expect()
    with running_tiny(host_a, folder) as guest, running_tiny(host_a, folder, "kept", persistent=True) as kept:
        before, pids = facts(host_a, "tiny", "kept", "still", "idle"), host_a.qemu_pids()
        host_uuid = virsh("capabilities", uri=host_a.uri).expect().partition("<uuid>")[2][:36]
        host_a.restart(kill=kill)
        host_a.restart(kill=kill)
        assert facts(host_a, "tiny", "kept", "still", "idle") == before
        assert host_a.qemu_pids() == pids
        assert host_uuid in virsh("capabilities", uri=host_a.uri).expect()
        guest.assert_runs_only_on(host_a)
        kept.assert_runs_only_on(host_a)
        assert_controllable(guest, host_a)
        assert_controllable(kept, host_a)
        # An id is not given twice, also when the daemon that gave it is gone.
        virsh("start", "--paused", "idle", uri=host_a.uri).expect()
        ids = virsh("list", "--id", uri=host_a.uri).expect().split()
        assert len(set(ids)) == 4
        # A migration works after it, there and, after a restart of both, back.
        virsh(*P2P, "tiny", host_b.tcp_uri, uri=host_a.uri).expect()
        guest.assert_runs_only_on(host_b, host_a)
        host_a.restart(kill=kill)
        host_b.restart(kill=kill)
        guest.assert_runs_only_on(host_b, host_a)
        virsh(*P2P, "tiny", host_a.tcp_uri, uri=host_b.uri).expect()
        guest.assert_runs_only_on(host_a, host_b)
        for name in ("tiny", "kept", "still", "idle"):
            virsh("destroy", name, uri=host_a.uri).expect()
        assert sorted(virsh("list", "--all", "--name", uri=host_a.uri).expect().split()) == ["idle", "kept", "still"]
    host_a.assert_no_leftovers()
    host_b.assert_no_leftovers()


def test_guest_that_died_meanwhile(host_a: DaemonProcess, folder: Path) -> None:
    with running_tiny(host_a, folder) as guest, running_tiny(host_a, folder, "kept", persistent=True) as kept:
        host_a.kill()
        for pid in host_a.qemu_pids():
            os.kill(pid, signal.SIGKILL)
        host_a.wait_no_qemu()
        host_a.start()
        assert state_of(guest.uuid, host_a) == ""
        assert virsh("domstate", "--reason", "kept", uri=host_a.uri).expect().strip() == "shut off (crashed)"
        for name in ("tiny", "kept"):
            # the second where nobody has reaped it yet: it is taken over, and seen to end
            assert re.search(
                rf"domain={name} (id=\d+ ended while no daemon was there|pid=\d+ qemu=ended)", host_a.log
            )
        host_a.assert_no_leftovers()
        virsh("start", "kept", uri=host_a.uri).expect()
        assert state_of(kept.uuid, host_a) == "running"


@ENDS
def test_guest_that_powered_off_meanwhile(host_a: DaemonProcess, folder: Path, kill: bool) -> None:
    with running_tiny(host_a, folder, persistent=True) as guest:
        pty = serial_pty(guest.name, host_a)
        if kill:
            host_a.kill()
        else:
            assert host_a.stop() == 0
        with console.Console(pty) as talk:
            talk.send(b"p")
            wait_for(lambda: _silent(guest), "the guest is off")
        host_a.start()
        shown = "shut off (shutdown)"
        wait_for(lambda: virsh("domstate", "--reason", guest.name, uri=host_a.uri).out.strip() == shown, shown)
        host_a.assert_no_leftovers()


def _silent(guest: RunningGuest) -> bool:
    before = guest.watch.count
    try:
        guest.watch.assert_stopped()
    except Exception:
        return False
    return guest.watch.count == before


def test_a_process_that_only_has_the_number_is_not_taken_for_the_guest(host_a: DaemonProcess, folder: Path) -> None:
    with running_tiny(host_a, folder, persistent=True) as guest:
        (pid,) = host_a.qemu_pids()
        host_a.kill()
        os.kill(pid, signal.SIGKILL)
        host_a.wait_no_qemu()
        status = host_a.root / "run" / "qemu" / f"{guest.name}.json"
        text = status.read_text()
        assert f'"pid": {pid}' in text
        status.write_text(text.replace(f'"pid": {pid}', f'"pid": {os.getpid()}'))
        host_a.start()
        assert state_of(guest.uuid, host_a) == "shut off"
        assert processes.state(os.getpid()) not in ("X", "Z")
        host_a.assert_no_leftovers()


def test_definition_that_cannot_be_read_is_set_aside_loudly(host_a: DaemonProcess, folder: Path) -> None:
    for name in ("good", "bad", "empty", "other"):
        virsh("define", str(domain_xml.tiny_guest(folder, name).write_xml()), uri=host_a.uri).expect()
    assert host_a.stop() == 0
    etc = host_a.root / "etc" / "qemu"
    (etc / "bad.xml").write_bytes(b"\xff\xfe rubbish")
    (etc / "empty.xml").write_bytes(b"")
    (etc / "other.xml").write_text((etc / "good.xml").read_text())
    host_a.start()
    assert virsh("list", "--all", "--name", uri=host_a.uri).expect().split() == ["good"]
    for name in ("bad", "empty", "other"):
        assert (etc / f"{name}.xml.unreadable").exists()
        host_a.wait_logged(f"ERROR culvert.io.files file={etc}/{name}.xml cannot be used")
    virsh("define", str(folder / "bad.xml"), uri=host_a.uri).expect()
    host_a.restart()
    assert sorted(virsh("list", "--all", "--name", uri=host_a.uri).expect().split()) == ["bad", "good"]
    assert (etc / "bad.xml.unreadable").read_bytes() == b"\xff\xfe rubbish"


def test_status_that_cannot_be_read_is_set_aside_loudly(host_a: DaemonProcess, folder: Path) -> None:
    """Its guest is not touched: it may be the only thing somebody has left."""
    with running_tiny(host_a, folder, "found") as found, running_tiny(host_a, folder, "lost") as lost:
        pids = host_a.qemu_pids()
        guests = host_a.root / "run" / "qemu"
        (monitor,) = guests.glob("*-lost/monitor.sock")
        host_a.kill()
        status = guests / "lost.json"
        status.write_text(status.read_text()[:100])
        host_a.start()
        assert virsh("list", "--all", "--name", uri=host_a.uri).expect().split() == ["found"]
        assert (guests / "lost.json.unreadable").exists()
        host_a.wait_logged(f"ERROR culvert.io.files file={status} cannot be used")
        host_a.wait_logged(f"monitor={monitor} uuid={lost.uuid} is a QEMU whose status file cannot be read")
        assert host_a.qemu_pids() == pids
        # It is not started a second time, and whatever else starts and ends, it goes on.
        result = virsh("create", str(folder / "lost.xml"), uri=host_a.uri)
        assert "end that one first" in result.err, result
        assert str(monitor) in result.err
        virsh("destroy", "found", uri=host_a.uri).expect()
        virsh("create", str(domain_xml.tiny_guest(folder, "new", SMALL).write_xml()), uri=host_a.uri).expect()
        virsh("destroy", "new", uri=host_a.uri).expect()
        lost.watch.wait_verified()
        found.watch.check()
        assert monitor.is_socket()
        # Once somebody has ended it, it can be started again.
        (pid,) = host_a.qemu_pids()
        os.kill(pid, signal.SIGTERM)
        host_a.wait_no_qemu()
        virsh("create", str(folder / "lost.xml"), uri=host_a.uri).expect()
        assert state_of(lost.uuid, host_a) == "running"


def test_an_interactive_virsh_goes_on_with_the_next_daemon(host_a: DaemonProcess, folder: Path) -> None:
    with running_tiny(host_a, folder) as guest, Terminal(host_a.tcp_uri) as terminal:
        terminal.wait_for("virsh # ")
        terminal.press(f"domstate {guest.name}\n")
        terminal.wait_for("virsh # ", 2)
        assert "\nrunning\n" in terminal.shown
        host_a.restart(kill=True)
        terminal.press(f"suspend {guest.name}\n")
        assert "Disconnected from" in terminal.wait_for("virsh # ", 3)
        terminal.press(f"suspend {guest.name}\n")
        terminal.wait_for("suspended")
        guest.watch.assert_stopped()


# A start, moment by moment: QEMU has not greeted yet; each command before it reaches QEMU; the last one's answer.
MOMENTS = (held.GREETING, "qmp_capabilities", "set-action", "query-chardev", "cont", "cont" + held.ANSWER)


def held_guest(folder: Path, qemu: held.Held) -> str:
    """The file with the XML of a guest "g" that starts as ``qemu`` lets it."""
    emulator = f"<emulator>{qemu.program}</emulator>"
    return str(domain_xml.tiny_guest(folder, "g", SMALL, devices=emulator).write_xml())


@ENDS
def test_it_ends_at_any_moment_of_a_start(host_a: DaemonProcess, folder: Path, kill: bool) -> None:
    """Whoever asked hears that it failed. Afterwards the guest runs and is known, or there is nothing of it."""
    qemu = held.Held(folder)
    path = held_guest(folder, qemu)
    for moment in MOMENTS:
        with Running(host_a.uri, "create", path) as create:
            with qemu.at(moment):
                (pid,) = host_a.qemu_pids()
                assert create.process.poll() is None, moment
                if kill:
                    host_a.kill()
                    assert host_a.qemu_pids() == [pid], moment
                else:
                    assert host_a.stop() == 0, moment
                    assert host_a.qemu_pids() == [], moment
            assert not create.finish().ok, moment
        host_a.start()
        listed = virsh("list", "--all", "--name", uri=host_a.uri).expect().split()
        # Only QEMU knows that it has let the guest run: the next daemon asks it.
        assert listed == (["g"] if kill and moment == MOMENTS[-1] else []), moment
        if listed:
            assert virsh("domstate", "g", uri=host_a.uri).expect().strip() == "running"
            assert host_a.qemu_pids() == [pid]
            virsh("destroy", "g", uri=host_a.uri).expect()
        host_a.assert_no_leftovers()
    virsh("create", path, uri=host_a.uri).expect()
    assert virsh("domstate", "g", uri=host_a.uri).expect().strip() == "running"


@pytest.mark.parametrize("persistent", [False, True], ids=["transient", "persistent"])
def test_destroyed_at_any_moment_of_a_start(host_a: DaemonProcess, folder: Path, persistent: bool) -> None:
    """Who destroys it is obeyed, whoever started it hears that it failed, and it can be started again."""
    qemu = held.Held(folder)
    path = held_guest(folder, qemu)
    if persistent:
        virsh("define", path, uri=host_a.uri).expect()
    words = ("start", "g") if persistent else ("create", path)
    for moment in MOMENTS:
        with Running(host_a.uri, *words) as start, qemu.at(moment):
            assert len(host_a.qemu_pids()) == 1, moment
            assert start.process.poll() is None, moment
            virsh("destroy", "g", uri=host_a.uri).expect()
            assert host_a.qemu_pids() == [], moment
            result = start.finish()
            assert not result.ok, moment
            assert "domain 'g' was destroyed while it was being started" in result.err, (moment, result)
        listed = virsh("list", "--all", "--name", uri=host_a.uri).expect().split()
        assert listed == (["g"] if persistent else []), moment
        if persistent:
            assert virsh("domstate", "--reason", "g", uri=host_a.uri).expect().strip() == "shut off (destroyed)"
        host_a.assert_no_leftovers()
    virsh(*words, uri=host_a.uri).expect()
    assert virsh("domstate", "g", uri=host_a.uri).expect().strip() == "running"


@ENDS
def test_two_daemons_cannot_use_one_root(host_a: DaemonProcess, folder: Path, kill: bool) -> None:
    with running_tiny(host_a, folder) as guest:
        second = DaemonProcess(host_a.root, name="second")
        with pytest.raises(DaemonFailed, match="ended with 1") as failure:
            second.start()
        assert str(host_a.socket) in str(failure.value)
        guest.assert_runs_only_on(host_a)
        assert len(host_a.qemu_pids()) == 1
        # Once the first is gone, however it went, its socket is no obstacle.
        if kill:
            host_a.kill()
        else:
            host_a.stop()
        second.start()
        assert virsh("domstate", guest.name, uri=second.uri).expect().strip() == "running"
        assert second.stop() == 0
        host_a.start()
        guest.assert_runs_only_on(host_a)
