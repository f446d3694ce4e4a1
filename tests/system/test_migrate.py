"""A running guest moves between two real daemons, asked for by the real virsh; its memory is verified from inside."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

import pytest

from guests import tiny
from tests.support import generation
from tests.support.culvert import culvert
from tests.support.daemon import DaemonProcess
from tests.support.guest import RunningGuest, running_tiny, state_of
from tests.support.proxy import Proxy
from tests.support.virsh import Running, virsh
from tests.support.wait import wait_for

P2P = ("migrate", "--live", "--p2p", "--tunnelled")


def migrate(guest: RunningGuest, source: DaemonProcess, destination: DaemonProcess, *options: str) -> str:
    """Peer-to-peer and tunnelled, with more options; the output of virsh."""
    return virsh(*P2P, *options, guest.name, destination.tcp_uri, uri=source.uri).expect()


def assert_moved(guest: RunningGuest, source: DaemonProcess, destination: DaemonProcess) -> None:
    """It runs at the destination alone, with its memory whole, and nothing of it is left at the source."""
    guest.assert_runs_only_on(destination, source)
    source.assert_no_leftovers()


EVERY_ROUTE = pytest.mark.parametrize("route", ["stream", "direct", "pump"])


@EVERY_ROUTE
@pytest.mark.parametrize("machine", ["pc", "q35"])
def test_peer_to_peer_tunnelled_there_and_back(
    host_a: DaemonProcess, host_b: DaemonProcess, folder: Path, machine: str, route: str
) -> None:
    with running_tiny(host_a, folder, machine=machine) as guest:
        migrate(guest, host_a, host_b)
        assert_moved(guest, host_a, host_b)
        migrate(guest, host_b, host_a)
        assert_moved(guest, host_b, host_a)


def test_peer_to_peer_is_tunnelled_without_being_told(
    host_a: DaemonProcess, host_b: DaemonProcess, folder: Path
) -> None:
    with running_tiny(host_a, folder) as guest:
        virsh("migrate", "--live", "--p2p", guest.name, host_b.tcp_uri, uri=host_a.uri).expect()
        assert_moved(guest, host_a, host_b)
        told = culvert("job", "--completed", guest.name, uri=host_b.uri).expect()
        assert re.search(r"culvert\.route +direct\n", told), told


@EVERY_ROUTE
def test_driven_by_the_client(host_a: DaemonProcess, host_b: DaemonProcess, folder: Path, route: str) -> None:
    """The client has both connections; the data still goes through the destination's one port."""
    with running_tiny(host_a, folder) as guest:
        virsh("migrate", "--live", guest.name, host_b.tcp_uri, uri=host_a.uri).expect()
        assert_moved(guest, host_a, host_b)
        virsh("migrate", "--live", guest.name, host_a.uri, uri=host_b.tcp_uri).expect()
        assert_moved(guest, host_b, host_a)
        for host in (host_a, host_b):
            assert " WARNING " not in host.log, "nobody need look where all is well"


@EVERY_ROUTE
@pytest.mark.parametrize("options", [("--p2p", "--tunnelled"), ()], ids=["p2p", "client"])
def test_the_history_has_what_was_sent_though_nobody_looked(
    host_a: DaemonProcess, host_b: DaemonProcess, folder: Path, route: str, options: tuple[str, ...]
) -> None:
    with running_tiny(host_a, folder) as guest:
        virsh("migrate", "--live", *options, guest.name, host_b.tcp_uri, uri=host_a.uri).expect()
        assert_moved(guest, host_a, host_b)
        sent, came = (figures(host) for host in (host_a, host_b))
        assert sent["tunnel_bytes"] > 1 << 20
        if route != "direct":  # on which the destination's daemon sees no byte
            assert sent["tunnel_bytes"] == pytest.approx(came["tunnel_bytes"], rel=0.05)
        assert sent["interruptions"] == 0


@pytest.mark.parametrize("route", ["pump"])
def test_the_history_has_every_interruption_though_nobody_looked(
    host_a: DaemonProcess, host_b: DaemonProcess, folder: Path, route: str
) -> None:
    with running_tiny(host_a, folder) as guest, Proxy(host_b.port) as proxy:
        proxy.cut_after(1 << 20)
        virsh(*P2P, guest.name, host_b.uri_by(proxy.port), uri=host_a.uri).expect()
        assert_moved(guest, host_a, host_b)
        assert figures(host_a)["interruptions"] == 1
        assert figures(host_a)["tunnel_bytes"] > 1 << 20


def figures(host: DaemonProcess) -> dict[str, int]:
    """Of the newest migration in the history of ``host``."""
    newest, *_ = culvert("history", "--json", uri=host.uri).expect().splitlines()
    found: dict[str, int] = json.loads(newest)["figures"]
    return found


@pytest.mark.parametrize("route", ["stream", "direct", "pump", "auto"])
def test_the_destination_uri_chooses_the_route(
    host_a: DaemonProcess, host_b: DaemonProcess, folder: Path, route: str
) -> None:
    """Whatever the configuration says, and the job says which it was. Only a stream is packets of RPC."""
    other = "stream" if route != "stream" else "direct"
    with running_tiny(host_a, folder) as guest:
        virsh(*P2P, guest.name, f"{host_b.tcp_uri}?route={other}", uri=host_a.uri).expect()
        wait_for(lambda: host_b.log.count("session open") == host_b.log.count("session close"), "all is over")
        received = max(int(count) for count in re.findall(r"received=(\d+)", host_b.log))
        assert (received > 1 << 20) is (other == "stream")
        told = culvert("job", "--completed", guest.name, uri=host_b.uri).expect()
        assert re.search(rf"culvert\.route +{other}\n", told)
        assert_moved(guest, host_a, host_b)
        result = virsh(*P2P, guest.name, f"{host_a.tcp_uri}?route=pigeon", uri=host_b.uri)
        assert "pigeon" in result.err, result
        guest.assert_runs_only_on(host_b, host_a)


@pytest.mark.parametrize("route", ["stream", "direct", "pump"])
def test_the_data_takes_the_address_of_the_migration_uri(host_a: DaemonProcess, folder: Path, route: str) -> None:
    """The calls go to one listener, the data to another: the one whose address the URI names, whatever its port."""
    (folder / "b").mkdir()
    listen = ["--listen", "tcp://127.0.0.2:0"]
    with (
        DaemonProcess(folder / "b", name="host_b", arguments=listen) as host_b,
        Proxy(host_b.port) as calls,
        running_tiny(host_a, folder) as guest,
    ):
        options = ("migrate", "--live", "--p2p", guest.name, f"{host_b.uri_by(calls.port)}?route={route}")
        nowhere = virsh(*options, "tcp://127.0.0.3", uri=host_a.uri)
        assert "127.0.0.3" in nowhere.err, nowhere
        guest.assert_runs_only_on(host_a, host_b)
        places = ("--listen-address", "127.0.0.2", "--disks-port", "49153", "--graphicsuri", "spice://127.0.0.1:1")
        virsh(*options, "tcp:127.0.0.2:49152", *places, uri=host_a.uri).expect()
        assert_moved(guest, host_a, host_b)
        told = culvert("job", "--completed", guest.name, uri=host_b.uri).expect()
        assert re.search(rf"culvert\.route +{route}\n", told), told
        assert calls.forwarded < 1 << 20


@pytest.mark.parametrize("route", ["stream", "direct", "pump"])
@pytest.mark.parametrize("driving", [("--p2p",), ()], ids=["p2p", "client"])
def test_an_address_that_leads_back_to_the_source(
    host_b: DaemonProcess, folder: Path, route: str, driving: tuple[str, ...]
) -> None:
    """A name that means another host there than here: the guest is not sent to where it is."""
    (folder / "a").mkdir()
    listen = ["--listen", f"tcp://127.0.0.2:{host_b.port}"]
    config = f'[migration]\nroute = "{route}"\n'
    with (
        DaemonProcess(folder / "a", name="host_a", arguments=listen, config=config) as host_a,
        running_tiny(host_a, folder) as guest,
    ):
        options = ("migrate", "--live", *driving, guest.name, host_b.tcp_uri, "tcp://127.0.0.2")
        result = virsh(*options, uri=host_a.uri)
        assert "the daemon of the source itself" in result.err, result
        assert f"127.0.0.2:{host_b.port}" in result.err, result
        guest.assert_runs_only_on(host_a, host_b)
        host_b.assert_no_leftovers()


def test_a_destination_without_an_address_says_so(host_a: DaemonProcess, folder: Path) -> None:
    """It has a socket and loopback, which mean something else on another host. Peer-to-peer needs neither."""
    (folder / "b").mkdir()
    with (
        DaemonProcess(folder / "b", name="host_b", config="[daemon]\nhostname = 'beta'\n") as host_b,
        running_tiny(host_a, folder) as guest,
    ):
        for to in (host_b.uri, host_b.tcp_uri):
            result = virsh("migrate", "--live", guest.name, to, uri=host_a.uri)
            assert "host 'beta' listens nowhere that host" in result.err, result
            guest.assert_runs_only_on(host_a, host_b)
        virsh("migrate", "--live", "--p2p", guest.name, host_b.uri, uri=host_a.uri).expect()
        assert_moved(guest, host_a, host_b)


def test_not_live(host_a: DaemonProcess, host_b: DaemonProcess, folder: Path) -> None:
    with running_tiny(host_a, folder) as guest:
        virsh("migrate", "--p2p", "--tunnelled", guest.name, host_b.tcp_uri, uri=host_a.uri).expect()
        assert_moved(guest, host_a, host_b)


def test_persistent_and_undefinesource(host_a: DaemonProcess, host_b: DaemonProcess, folder: Path) -> None:
    with running_tiny(host_a, folder, persistent=True) as guest:
        migrate(guest, host_a, host_b, "--persistent", "--undefinesource")
        assert_moved(guest, host_a, host_b)
        assert virsh("list", "--all", "--name", uri=host_a.uri).expect().split() == []
        assert virsh("list", "--persistent", "--name", uri=host_b.uri).expect().split() == [guest.name]


def test_without_them_the_definition_stays_at_the_source(
    host_a: DaemonProcess, host_b: DaemonProcess, folder: Path
) -> None:
    with running_tiny(host_a, folder, persistent=True) as guest:
        migrate(guest, host_a, host_b)
        assert state_of(guest.name, host_a) == "shut off"
        assert virsh("domstate", "--reason", guest.name, uri=host_a.uri).expect().strip() == "shut off (migrated)"
        assert virsh("list", "--transient", "--name", uri=host_b.uri).expect().split() == [guest.name]
        assert virsh("domstate", "--reason", guest.name, uri=host_b.uri).expect().strip() == "running (migrated)"


@EVERY_ROUTE
def test_suspend_arrives_paused_and_moves_on(
    host_a: DaemonProcess, host_b: DaemonProcess, folder: Path, route: str
) -> None:
    with running_tiny(host_a, folder) as guest:
        migrate(guest, host_a, host_b, "--suspend")
        assert state_of(guest.uuid, host_b) == "paused"
        migrate(guest, host_b, host_a)  # a paused guest stays paused
        assert virsh("domstate", "--reason", guest.name, uri=host_a.uri).expect().strip() == "paused (user)"
        virsh("resume", guest.name, uri=host_a.uri).expect()
        assert_moved(guest, host_b, host_a)


def test_another_name_at_the_destination(host_a: DaemonProcess, host_b: DaemonProcess, folder: Path) -> None:
    with running_tiny(host_a, folder) as guest:
        migrate(guest, host_a, host_b, "--dname", "renamed")
        assert_moved(guest, host_a, host_b)
        assert virsh("list", "--name", uri=host_b.uri).expect().split() == ["renamed"]


def test_another_xml_at_the_destination(host_a: DaemonProcess, host_b: DaemonProcess, folder: Path) -> None:
    with running_tiny(host_a, folder) as guest:
        xml = virsh("dumpxml", "--migratable", guest.name, uri=host_a.uri).expect()
        changed = folder / "changed.xml"
        changed.write_text(xml.replace("<vcpu", "<description>moved</description>\n  <vcpu", 1))
        persistent = folder / "persistent.xml"
        persistent.write_text(xml.replace("<vcpu", "<description>kept</description>\n  <vcpu", 1))
        migrate(guest, host_a, host_b, "--xml", str(changed), "--persistent", "--persistent-xml", str(persistent))
        assert_moved(guest, host_a, host_b)
        assert "moved" in virsh("dumpxml", guest.name, uri=host_b.uri).expect()
        assert "kept" in virsh("dumpxml", "--inactive", guest.name, uri=host_b.uri).expect()


def test_an_xml_that_the_guest_would_notice_is_refused(
    host_a: DaemonProcess, host_b: DaemonProcess, folder: Path
) -> None:
    with running_tiny(host_a, folder) as guest:
        xml = virsh("dumpxml", "--migratable", guest.name, uri=host_a.uri).expect()
        changed = folder / "changed.xml"
        changed.write_text(xml.replace("<on_poweroff", "<features><acpi/><pae/></features><on_poweroff", 1))
        result = virsh(*P2P, "--xml", str(changed), guest.name, host_b.tcp_uri, uri=host_a.uri)
        assert not result.ok
        assert "features" in result.err
        guest.assert_runs_only_on(host_a, host_b)


def test_offline(host_a: DaemonProcess, host_b: DaemonProcess, folder: Path) -> None:
    with running_tiny(host_a, folder, persistent=True) as guest:
        virsh("destroy", guest.name, uri=host_a.uri).expect()
        options = ("migrate", "--offline", "--persistent", guest.name)
        virsh(*options, host_b.tcp_uri, uri=host_a.uri).expect()
        assert virsh("list", "--inactive", "--name", uri=host_b.uri).expect().split() == [guest.name]
        virsh("undefine", guest.name, uri=host_b.uri).expect()
        virsh(*options, "--p2p", "--undefinesource", host_b.tcp_uri, uri=host_a.uri).expect()
        assert virsh("list", "--inactive", "--name", uri=host_b.uri).expect().split() == [guest.name]
        assert virsh("list", "--all", "--name", uri=host_a.uri).expect().split() == []


def test_verbose_shows_progress_up_to_the_end(host_a: DaemonProcess, host_b: DaemonProcess, folder: Path) -> None:
    calm = tiny.TinyParameters(mib=16, dirty_mib=1, dirty_mib_s=1, pass_s=0.5)
    with running_tiny(host_a, folder, parameters=calm) as guest:
        virsh("migrate-setspeed", guest.name, "6", uri=host_a.uri).expect()
        result = virsh(*P2P, "--verbose", guest.name, host_b.tcp_uri, uri=host_a.uri)
        assert result.ok, result
        shown = [word.strip("[ %]") for word in re.findall(generation.PROGRESS.here, result.err)]
        percents = [float(word) for word in shown]
        assert percents[-1] == 100
        assert any(0 < percent < 100 for percent in percents), percents
        assert_moved(guest, host_a, host_b)


def test_accepted_options_that_change_nothing_visible(
    host_a: DaemonProcess, host_b: DaemonProcess, folder: Path
) -> None:
    with running_tiny(host_a, folder) as guest:
        migrate(guest, host_a, host_b, "--change-protection", "--unsafe", "--abort-on-error", "--bandwidth", "900")
        assert_moved(guest, host_a, host_b)


def test_timeout_suspends_and_the_guest_runs_on_at_the_destination(
    host_a: DaemonProcess, host_b: DaemonProcess, folder: Path
) -> None:
    with running_tiny(host_a, folder) as guest:
        # So slow that it cannot converge while the guest runs, and can when it does not.
        virsh("migrate-setspeed", guest.name, "6", uri=host_a.uri).expect()
        migrate(guest, host_a, host_b, "--timeout", "2", "--timeout-suspend")
        assert_moved(guest, host_a, host_b)


REFUSED = [
    (("--copy-storage-all",), "NON_SHARED_DISK"),
    (("--tls",), "TLS"),
    (("--zerocopy",), "ZEROCOPY"),
    (("--rdma-pin-all",), "RDMA_PIN_ALL"),
]


def test_what_is_not_served_is_refused_by_name_before_anything_happens(
    host_a: DaemonProcess, host_b: DaemonProcess, folder: Path
) -> None:
    with running_tiny(host_a, folder) as guest:
        for options, name in REFUSED:
            result = virsh(*P2P, *options, guest.name, host_b.tcp_uri, uri=host_a.uri)
            assert not result.ok, options
            assert name in result.err, (options, result.err)
        guest.assert_runs_only_on(host_a, host_b)
        assert re.findall(r"session open id=\d+ transport=(\w+)", host_b.log) == ["unix"]  # who looked just now


def test_job_information(host_a: DaemonProcess, host_b: DaemonProcess, folder: Path) -> None:
    with running_tiny(host_a, folder, persistent=True) as guest:
        assert "None" in virsh("domjobinfo", guest.name, uri=host_a.uri).expect()
        migrate(guest, host_a, host_b)
        for host, operation in ((host_a, "Outgoing migration"), (host_b, "Incoming migration")):
            completed = virsh("domjobinfo", "--completed", "--keep-completed", guest.name, uri=host.uri).expect()
            assert "Completed" in completed
            assert operation in completed
        told = virsh("domjobinfo", "--completed", guest.name, uri=host_a.uri).expect()
        assert "Total downtime" in told
        assert "None" in virsh("domjobinfo", "--completed", guest.name, uri=host_a.uri).expect()


def test_speed_and_downtime_are_kept_and_read_back(host_a: DaemonProcess, folder: Path) -> None:
    with running_tiny(host_a, folder) as guest:
        virsh("migrate-setspeed", guest.name, "77", uri=host_a.uri).expect()
        assert virsh("migrate-getspeed", guest.name, uri=host_a.uri).expect().strip() == "77"
        virsh("migrate-setmaxdowntime", guest.name, "123", uri=host_a.uri).expect()
        assert virsh("migrate-getmaxdowntime", guest.name, uri=host_a.uri).expect().strip() == "123"


def test_lifecycle_events_on_both_sides(host_a: DaemonProcess, host_b: DaemonProcess, folder: Path) -> None:
    with running_tiny(host_a, folder) as guest:
        event = ("event", "--loop", "--event", "lifecycle", "--timeout", "60")
        with Running(host_a.uri, *event) as at_a, Running(host_b.uri, *event) as at_b:
            _wait_for_registrations(host_a, host_b)
            migrate(guest, host_a, host_b)
            at_a.interrupt()
            at_b.interrupt()
            told_a, told_b = at_a.finish().out, at_b.finish().out
    assert _order(told_a) == ["Suspended Migrated", "Stopped Migrated"]
    assert _order(told_b) == ["Started Migrated", "Resumed Migrated"]


def _order(told: str) -> list[str]:
    return [line.split(": ", 1)[1].split(":")[-1].strip() for line in told.splitlines() if "lifecycle" in line]


def _wait_for_registrations(*hosts: DaemonProcess) -> None:
    deadline = time.monotonic() + 20
    while any("event=LIFECYCLE registered" not in host.log for host in hosts):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_what_has_come_to_be_kept_goes_elsewhere_in_every_way(
    host_a: DaemonProcess, host_b: DaemonProcess, folder: Path
) -> None:
    """A definition of an older daemon that would be refused today starts here, and so may be kept there."""
    odd = "<on_reboot>preserve</on_reboot>"
    with running_tiny(host_a, folder, persistent=True) as guest:
        virsh("destroy", guest.name, uri=host_a.uri).expect()
        assert host_a.stop() == 0
        kept = host_a.root / "etc" / "qemu" / f"{guest.name}.xml"
        kept.write_text(kept.read_text().replace("<on_reboot>restart</on_reboot>", odd))
        host_a.start()
        dumped = folder / "odd.xml"
        dumped.write_text(virsh("dumpxml", guest.name, "--inactive", uri=host_a.uri).expect())
        assert odd in dumped.read_text()
        assert "on_poweroff and on_reboot" in virsh("define", str(dumped), uri=host_b.uri).err
        virsh("migrate", "--offline", "--persistent", guest.name, host_b.tcp_uri, uri=host_a.uri).expect()
        assert odd in virsh("dumpxml", guest.name, uri=host_b.uri).expect()
        virsh("undefine", guest.name, uri=host_b.uri).expect()
        virsh("start", guest.name, uri=host_a.uri).expect()
        migrate(guest, host_a, host_b, "--persistent", "--unsafe")
        assert odd in virsh("dumpxml", "--inactive", guest.name, uri=host_b.uri).expect()
