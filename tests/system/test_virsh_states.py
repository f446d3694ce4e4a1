"""States, and the reasons the real virsh shows for them, where a guest moves."""

from __future__ import annotations

from pathlib import Path

from tests.support.daemon import DaemonProcess
from tests.support.guest import running_tiny, state_of
from tests.support.virsh import Running, virsh
from tests.support.wait import wait_for

P2P = ("migrate", "--live", "--p2p", "--tunnelled")


def reason_of(guest: str, host: DaemonProcess) -> str:
    """``virsh domstate --reason``."""
    return virsh("domstate", "--reason", guest, uri=host.uri).out.strip()


def test_before_during_and_after_a_migration(host_a: DaemonProcess, host_b: DaemonProcess, folder: Path) -> None:
    with running_tiny(host_a, folder, persistent=True) as guest:
        virsh("migrate-setspeed", guest.name, "1", uri=host_a.uri).expect()
        with Running(host_a.uri, *P2P, guest.name, host_b.tcp_uri) as migration:
            wait_for(lambda: reason_of(guest.name, host_b) == "paused (migrating)", "it waits at the destination")
            assert reason_of(guest.name, host_a) == "running (booted)"
            assert "background job" in virsh("domcontrol", guest.name, uri=host_a.uri).expect()
            # What would change the guest under it is refused, looking is not.
            for command in ("reset", "reboot", "shutdown", "resume"):
                result = virsh(command, guest.name, uri=host_a.uri)
                assert "job 'migration out' runs" in result.err, (command, result)
            assert virsh("dominfo", guest.name, uri=host_a.uri).ok
            virsh("domjobabort", guest.name, uri=host_a.uri).expect()
            assert not migration.finish().ok
        # Called off while it was being prepared: the destination hears it by the end of the source's connection.
        wait_for(lambda: state_of(guest.uuid, host_b) == "", "the destination has let go")
        guest.assert_runs_only_on(host_a, host_b)
        virsh("migrate-setspeed", guest.name, "0", uri=host_a.uri).expect()
        virsh(*P2P, guest.name, host_b.tcp_uri, uri=host_a.uri).expect()
        assert reason_of(guest.name, host_b) == "running (migrated)"
        assert reason_of(guest.name, host_a) == "shut off (migrated)"
        virsh(*P2P, "--suspend", guest.name, host_a.tcp_uri, uri=host_b.uri).expect()
        assert reason_of(guest.name, host_a).startswith("paused (")
        virsh("resume", guest.name, uri=host_a.uri).expect()
        assert reason_of(guest.name, host_a) == "running (unpaused)"
        guest.assert_runs_only_on(host_a, host_b)


def test_paused_while_it_migrates(host_a: DaemonProcess, host_b: DaemonProcess, folder: Path) -> None:
    """A guest that is stopped stays stopped where it goes."""
    with running_tiny(host_a, folder) as guest:
        virsh("suspend", guest.name, uri=host_a.uri).expect()
        virsh(*P2P, guest.name, host_b.tcp_uri, uri=host_a.uri).expect()
        assert reason_of(guest.name, host_b).startswith("paused (")
        guest.watch.assert_stopped()
        virsh("resume", guest.name, uri=host_b.uri).expect()
        guest.assert_runs_only_on(host_b, host_a)
        host_a.assert_no_leftovers()
