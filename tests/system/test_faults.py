"""What goes wrong must go right: the guest runs on at the source, nothing is left behind, the next migration works.

Each test breaks something real in mid-migration. ``Slow`` makes the migration long enough to be caught; ``aftermath``
is the one place that says what must hold afterwards.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.daemon import DaemonProcess
from tests.support.guest import RunningGuest, running_tiny, state_of
from tests.support.proxy import Proxy
from tests.support.virsh import Result, Running, virsh
from tests.support.wait import wait_for

P2P = ("migrate", "--live", "--p2p", "--tunnelled")
EVERY_ROUTE = pytest.mark.parametrize("route", ["stream", "direct", "pump"])
UNMENDED = pytest.mark.parametrize("route", ["stream", "direct"])  # a lost connection is the end there
pytestmark = pytest.mark.migration(reattach_seconds=2)
SLOW = "1"  # MiB/s: a guest of 20 MiB takes its time
FAST = "0"  # no limit


@contextmanager
def slow_migration(
    guest: RunningGuest,
    source: DaemonProcess,
    uri: str,
    *,
    client_driven: bool = False,
    options: Sequence[str] = (),
) -> Iterator[Running]:
    """A migration to ``uri`` that is under way: bytes flow when the block begins."""
    virsh("migrate-setspeed", guest.name, SLOW, uri=source.uri).expect()
    command = ("migrate", "--live") if client_driven else P2P
    with Running(source.uri, *command, *options, guest.name, uri) as running:
        wait_for(lambda: sent(guest, source) > 0, "bytes flow")
        yield running


def sent(guest: RunningGuest, source: DaemonProcess) -> int:
    """Whether the migration has sent anything yet."""
    told = virsh("domjobinfo", "--rawstats", guest.name, uri=source.uri)
    for line in told.out.splitlines():
        if line.startswith("memory_processed"):
            return int(line.split(":")[1])
    return 0


def aftermath(
    guest: RunningGuest, source: DaemonProcess, destination: DaemonProcess, result: Result, *words: str
) -> None:
    """It failed and said why; the guest runs on at the source with its memory whole; the next migration works."""
    assert not result.ok, result
    for word in words:
        assert word in result.err, (word, result.err)
    destination.assert_no_leftovers()
    guest.assert_runs_only_on(source, destination)
    assert "None" in virsh("domjobinfo", guest.name, uri=source.uri).expect()
    assert virsh("list", "--all", "--name", uri=destination.uri).expect().split() == []
    virsh("migrate-setspeed", guest.name, FAST, uri=source.uri).expect()
    virsh(*P2P, guest.name, destination.tcp_uri, uri=source.uri).expect()
    guest.assert_runs_only_on(destination, source)
    source.assert_no_leftovers()


def test_destination_unreachable(host_a: DaemonProcess, host_b: DaemonProcess, folder: Path) -> None:
    with running_tiny(host_a, folder) as guest:
        result = virsh(*P2P, guest.name, "qemu+tcp://127.0.0.1:1/system", uri=host_a.uri)
        aftermath(guest, host_a, host_b, result, "127.0.0.1:1", "refused")


def test_destination_that_hangs_up(host_a: DaemonProcess, host_b: DaemonProcess, folder: Path) -> None:
    with running_tiny(host_a, folder) as guest, Proxy(host_b.port) as proxy:
        proxy.refuse()
        result = virsh(*P2P, guest.name, host_b.uri_by(proxy.port), uri=host_a.uri)
        aftermath(guest, host_a, host_b, result, f"127.0.0.1:{proxy.port}")


@pytest.mark.parametrize("uri", ["rubbish", "qemu+pigeon://x/system", "qemu+tcp://127.0.0.1:x/system"])
def test_destination_that_is_no_uri(host_a: DaemonProcess, host_b: DaemonProcess, folder: Path, uri: str) -> None:
    with running_tiny(host_a, folder) as guest:
        result = virsh(*P2P, guest.name, uri, uri=host_a.uri)
        assert not result.ok
        guest.assert_runs_only_on(host_a, host_b)


def test_to_the_same_daemon(host_a: DaemonProcess, host_b: DaemonProcess, folder: Path) -> None:
    with running_tiny(host_a, folder) as guest:
        result = virsh(*P2P, guest.name, host_a.tcp_uri, uri=host_a.uri)
        assert "same host" in result.err
        result = virsh("migrate", "--live", guest.name, host_a.tcp_uri, uri=host_a.uri)
        aftermath(guest, host_a, host_b, result, "same host")


def test_name_or_uuid_already_there(host_a: DaemonProcess, host_b: DaemonProcess, folder: Path) -> None:
    with running_tiny(host_a, folder) as guest:
        xml = virsh("dumpxml", "--migratable", guest.name, uri=host_a.uri).expect()
        other = folder / "other.xml"
        for changed, word in (
            (xml.replace(guest.uuid, "99999999-0000-4000-8000-000000000000"), "already exists"),
            (xml.replace(f"<name>{guest.name}<", "<name>other<"), guest.uuid),
        ):
            other.write_text(changed)
            name = virsh("define", str(other), uri=host_b.uri).expect().split("'")[1]
            result = virsh(*P2P, guest.name, host_b.tcp_uri, uri=host_a.uri)
            assert word in result.err, result
            assert state_of(name, host_b) == "shut off"
            virsh("undefine", name, uri=host_b.uri).expect()
        aftermath(guest, host_a, host_b, result)


def test_it_runs_there_already(host_a: DaemonProcess, host_b: DaemonProcess, folder: Path) -> None:
    with running_tiny(host_a, folder) as guest:
        xml = folder / "paused.xml"
        text = virsh("dumpxml", "--migratable", guest.name, uri=host_a.uri).expect()
        xml.write_text(text.replace(str(guest.guest.serial), str(folder / "elsewhere")))
        virsh("create", "--paused", str(xml), uri=host_b.uri).expect()
        result = virsh(*P2P, guest.name, host_b.tcp_uri, uri=host_a.uri)
        assert "already active" in result.err, result
        assert state_of(guest.uuid, host_b) == "paused"
        virsh("destroy", guest.name, uri=host_b.uri).expect()
        aftermath(guest, host_a, host_b, result)


def test_destination_cannot_start_qemu(host_a: DaemonProcess, host_b: DaemonProcess, folder: Path) -> None:
    """QEMU's own words reach the person at virsh."""
    with running_tiny(host_a, folder) as guest:
        xml = virsh("dumpxml", "--migratable", guest.name, uri=host_a.uri).expect()
        changed = folder / "changed.xml"
        missing = folder / "missing" / "serial"
        changed.write_text(xml.replace(str(guest.guest.serial), str(missing)))
        result = virsh(*P2P, "--xml", str(changed), guest.name, host_b.tcp_uri, uri=host_a.uri)
        aftermath(guest, host_a, host_b, result, str(missing), "No such file or directory")


def test_disk_that_is_not_shared(host_a: DaemonProcess, host_b: DaemonProcess, folder: Path) -> None:
    disk = folder / "disk.raw"
    disk.write_bytes(bytes(1 << 20))
    devices = f"<disk type='file' device='disk'><source file='{disk}'/><target dev='vda' bus='virtio'/></disk>"
    with running_tiny(host_a, folder, devices=devices) as guest:
        result = virsh(*P2P, guest.name, host_b.tcp_uri, uri=host_a.uri)
        assert "Unsafe migration" in result.err, result
        assert "vda" in result.err
        guest.assert_runs_only_on(host_a, host_b)
        virsh(*P2P, "--unsafe", guest.name, host_b.tcp_uri, uri=host_a.uri).expect()
        guest.assert_runs_only_on(host_b, host_a)


@EVERY_ROUTE
@pytest.mark.parametrize("client_driven", [False, True], ids=["p2p", "client"])
def test_destination_qemu_dies_while_bytes_flow(
    host_a: DaemonProcess, host_b: DaemonProcess, folder: Path, client_driven: bool, route: str
) -> None:
    with running_tiny(host_a, folder) as guest:
        with slow_migration(guest, host_a, host_b.tcp_uri, client_driven=client_driven) as running:
            (pid,) = host_b.qemu_pids()
            os.kill(pid, signal.SIGKILL)
            result = running.finish()
        aftermath(guest, host_a, host_b, result, "QEMU at the destination ended")


@EVERY_ROUTE
def test_source_qemu_dies_while_bytes_flow(
    host_a: DaemonProcess, host_b: DaemonProcess, folder: Path, route: str
) -> None:
    """The guest is lost with its QEMU, and that is said; nothing half-moved is left."""
    with running_tiny(host_a, folder, persistent=True) as guest:
        with slow_migration(guest, host_a, host_b.tcp_uri) as running:
            (pid,) = host_a.qemu_pids()
            os.kill(pid, signal.SIGKILL)
            result = running.finish()
        assert not result.ok
        assert "QEMU at the source ended" in result.err
        assert virsh("domstate", "--reason", guest.name, uri=host_a.uri).expect().strip() == "shut off (crashed)"
        host_a.assert_no_leftovers()
        host_b.assert_no_leftovers()
        virsh("start", guest.name, uri=host_a.uri).expect()
        virsh(*P2P, guest.name, host_b.tcp_uri, uri=host_a.uri).expect()
        assert state_of(guest.uuid, host_b) == "running"


@EVERY_ROUTE
@pytest.mark.parametrize("client_driven", [False, True], ids=["p2p", "client"])
def test_destination_daemon_killed(
    host_a: DaemonProcess, host_b: DaemonProcess, folder: Path, client_driven: bool, route: str
) -> None:
    with running_tiny(host_a, folder) as guest:
        with slow_migration(guest, host_a, host_b.tcp_uri, client_driven=client_driven) as running:
            host_b.kill()
            result = running.finish()
        host_b.start()
        aftermath(guest, host_a, host_b, result)


def test_destination_daemon_stopped(host_a: DaemonProcess, host_b: DaemonProcess, folder: Path) -> None:
    with running_tiny(host_a, folder) as guest:
        with slow_migration(guest, host_a, host_b.tcp_uri) as running:
            host_b.stop()
            result = running.finish()
        host_b.start()
        aftermath(guest, host_a, host_b, result)


@EVERY_ROUTE
def test_source_daemon_killed(host_a: DaemonProcess, host_b: DaemonProcess, folder: Path, route: str) -> None:
    with running_tiny(host_a, folder) as guest:
        with slow_migration(guest, host_a, host_b.tcp_uri) as running:
            host_a.kill()
            result = running.finish()
        host_b.wait_no_qemu()
        host_a.start()
        aftermath(guest, host_a, host_b, result)


def test_source_daemon_stopped(host_a: DaemonProcess, host_b: DaemonProcess, folder: Path) -> None:
    """Who waits at virsh hears of it, and the guest never stops."""
    with running_tiny(host_a, folder) as guest:
        with slow_migration(guest, host_a, host_b.tcp_uri) as running:
            host_a.stop()
            result = running.finish()
        host_a.start()
        aftermath(guest, host_a, host_b, result, "stopping")


@UNMENDED
def test_connection_between_the_daemons_cut(
    host_a: DaemonProcess, host_b: DaemonProcess, folder: Path, route: str
) -> None:
    with running_tiny(host_a, folder) as guest, Proxy(host_b.port) as proxy:
        with slow_migration(guest, host_a, host_b.uri_by(proxy.port)) as running:
            proxy.cut()
            result = running.finish()
        aftermath(guest, host_a, host_b, result, "lost")


@UNMENDED
def test_connection_cut_at_every_stage(
    host_a: DaemonProcess, host_b: DaemonProcess, folder: Path, route: str
) -> None:
    """After the first hundred bytes, in the prologue, in prepare, early and late in the data."""
    with running_tiny(host_a, folder) as guest, Proxy(host_b.port) as proxy:
        for count in (100, 600, 6000, 1 << 16, 1 << 20, 8 << 20):
            proxy.cut_after(proxy.forwarded + count)
            result = virsh(*P2P, guest.name, host_b.uri_by(proxy.port), uri=host_a.uri)
            assert not result.ok, count
            # A call that had arrived is still carried out, and then undone.
            wait_for(lambda: host_b.log.count("session open") == host_b.log.count("session close"), "all is over")
            host_b.assert_no_leftovers()
            guest.assert_runs_only_on(host_a, host_b)
        aftermath(guest, host_a, host_b, result)


@EVERY_ROUTE
@pytest.mark.parametrize("client_driven", [False, True], ids=["p2p", "client"])
def test_aborted_by_the_user(
    host_a: DaemonProcess, host_b: DaemonProcess, folder: Path, client_driven: bool, route: str
) -> None:
    with running_tiny(host_a, folder) as guest:
        with slow_migration(guest, host_a, host_b.tcp_uri, client_driven=client_driven) as running:
            virsh("domjobabort", guest.name, uri=host_a.uri).expect()
            result = running.finish()
        told = virsh("domjobinfo", "--completed", "--keep-completed", guest.name, uri=host_a.uri).expect()
        assert "Cancelled" in told
        aftermath(guest, host_a, host_b, result, "canceled by client")


def test_ctrl_c_in_virsh(host_a: DaemonProcess, host_b: DaemonProcess, folder: Path) -> None:
    with running_tiny(host_a, folder) as guest:
        with slow_migration(guest, host_a, host_b.tcp_uri) as running:
            running.press_ctrl_c()
            result = running.finish()
        aftermath(guest, host_a, host_b, result, "canceled by client")


def test_virsh_killed_in_peer_to_peer_changes_nothing(
    host_a: DaemonProcess, host_b: DaemonProcess, folder: Path
) -> None:
    with running_tiny(host_a, folder) as guest:
        with slow_migration(guest, host_a, host_b.tcp_uri) as running:
            running.process.kill()
            running.process.wait()
        virsh("migrate-setspeed", guest.name, FAST, uri=host_a.uri).expect()
        wait_for(lambda: state_of(guest.uuid, host_b) == "running", "the guest has arrived")
        host_a.wait_no_qemu()
        guest.assert_runs_only_on(host_b, host_a)


@EVERY_ROUTE
def test_virsh_killed_while_it_drives(host_a: DaemonProcess, host_b: DaemonProcess, folder: Path, route: str) -> None:
    """Nobody is left who could say finish: the guest stays where it is."""
    with running_tiny(host_a, folder) as guest:
        with slow_migration(guest, host_a, host_b.tcp_uri, client_driven=True) as running:
            running.process.kill()
            running.process.wait()
        host_b.wait_no_qemu()
        wait_for(lambda: "None" in virsh("domjobinfo", guest.name, uri=host_a.uri).expect(), "the job is given up")
        guest.assert_runs_only_on(host_a, host_b)


@EVERY_ROUTE
def test_destroyed_at_the_destination_while_bytes_flow(
    host_a: DaemonProcess, host_b: DaemonProcess, folder: Path, route: str
) -> None:
    with running_tiny(host_a, folder) as guest:
        with slow_migration(guest, host_a, host_b.tcp_uri) as running:
            virsh("destroy", guest.name, uri=host_b.uri).expect()
            result = running.finish()
        aftermath(guest, host_a, host_b, result)


def test_destroyed_at_the_source_while_bytes_flow(host_a: DaemonProcess, host_b: DaemonProcess, folder: Path) -> None:
    with running_tiny(host_a, folder, persistent=True) as guest:
        with slow_migration(guest, host_a, host_b.tcp_uri) as running:
            virsh("destroy", guest.name, uri=host_a.uri).expect()
            result = running.finish()
        assert not result.ok
        assert virsh("domstate", "--reason", guest.name, uri=host_a.uri).expect().strip() == "shut off (destroyed)"
        host_a.assert_no_leftovers()
        host_b.assert_no_leftovers()


@pytest.fixture
def impatient_a(folder: Path, request: pytest.FixtureRequest) -> Iterator[DaemonProcess]:
    """A daemon that gives a migration three seconds in all, and a silent tunnel two."""
    root = folder / "impatient"
    root.mkdir()
    config = getattr(request, "param", "[migration]\ndeadline_seconds = 3\n")
    with DaemonProcess(root, name="impatient_a", config=config) as daemon:
        yield daemon


def test_deadline_passed(impatient_a: DaemonProcess, host_b: DaemonProcess, folder: Path) -> None:
    with running_tiny(impatient_a, folder) as guest:
        with slow_migration(guest, impatient_a, host_b.tcp_uri) as running:
            result = running.finish()
        aftermath(guest, impatient_a, host_b, result, "not done within 3 s")


@pytest.mark.parametrize("impatient_a", ["[migration]\nstall_seconds = 2\n"], indirect=True)
def test_silent_tunnel(impatient_a: DaemonProcess, host_b: DaemonProcess, folder: Path) -> None:
    """The destination's QEMU is alive but takes nothing: without a limit that would last for ever."""
    with running_tiny(impatient_a, folder) as guest:
        with slow_migration(guest, impatient_a, host_b.tcp_uri) as running:
            (pid,) = host_b.qemu_pids()
            os.kill(pid, signal.SIGSTOP)
            virsh("migrate-setspeed", guest.name, FAST, uri=impatient_a.uri).expect()
            try:
                result = running.finish()
            finally:
                for stopped in host_b.qemu_pids():
                    os.kill(stopped, signal.SIGCONT)
        aftermath(guest, impatient_a, host_b, result)


@pytest.mark.parametrize("impatient_a", ["[migration]\nstall_seconds = 2\n"], indirect=True)
def test_a_source_that_hangs(impatient_a: DaemonProcess, host_b: DaemonProcess, folder: Path) -> None:
    """The source's QEMU lives and answers nothing: who migrates is told within a minute, whatever it was asked."""
    with running_tiny(impatient_a, folder) as guest:
        with slow_migration(guest, impatient_a, host_b.tcp_uri) as running:
            (pid,) = impatient_a.qemu_pids()
            os.kill(pid, signal.SIGSTOP)
            try:
                result = running.finish()
            finally:
                os.kill(pid, signal.SIGCONT)
        aftermath(guest, impatient_a, host_b, result, "nothing went through the tunnel for 2 s")


def test_other_calls_are_answered_meanwhile_and_changes_refused(
    host_a: DaemonProcess, host_b: DaemonProcess, folder: Path
) -> None:
    with running_tiny(host_a, folder) as guest:
        with slow_migration(guest, host_a, host_b.tcp_uri) as running:
            assert state_of(guest.name, host_a) == "running"
            assert state_of(guest.name, host_b) == "paused"
            for command in (("reboot",), ("reset",), ("shutdown",)):
                result = virsh(*command, guest.name, uri=host_a.uri)
                assert "migration out" in result.err, result
            result = virsh(*P2P, guest.name, host_b.tcp_uri, uri=host_a.uri)
            assert "migration out" in result.err, result
            result = virsh("resume", guest.name, uri=host_b.uri)
            assert "migration in" in result.err, result
            virsh("domjobabort", guest.name, uri=host_a.uri).expect()
            result = running.finish()
        aftermath(guest, host_a, host_b, result)
