"""A guest that ends while it moves: whoever asked hears that, and not what its QEMUs made of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from guests import console
from tests.support.daemon import DaemonProcess
from tests.support.guest import running_tiny, state_of
from tests.support.virsh import Running, virsh
from tests.support.wait import wait_for

FLOWS = {"p2p": ("--p2p", "--tunnelled"), "client": ()}
FOLLOWED = ("signal", "load of migration", "section footer", "QEMU at the")


def _power_off(host: DaemonProcess) -> None:
    xml = virsh("dumpxml", "tiny", uri=host.uri).expect()
    pty = xml.partition("<serial type='pty'>")[2].partition("path='")[2].partition("'")[0]
    with console.Console(Path(pty)) as talk:
        talk.send(b"p")
        wait_for(lambda: not virsh("domstate", "tiny", uri=host.uri).out.startswith("running"), "the guest is off")


def _destroy(host: DaemonProcess) -> None:
    virsh("destroy", "tiny", uri=host.uri).expect()


ENDS: dict[str, tuple[Callable[[DaemonProcess], None], str, str, str]] = {
    "shuts down": (_power_off, "has shut down", "shut off (shutdown)", "Stopped Shutdown"),
    "is destroyed": (_destroy, "was destroyed", "shut off (destroyed)", "Stopped Destroyed"),
}


@pytest.mark.parametrize("flow", FLOWS)
@pytest.mark.parametrize("how", ENDS)
def test_a_guest_that_ends_while_it_moves(
    host_a: DaemonProcess, host_b: DaemonProcess, folder: Path, flow: str, how: str
) -> None:
    end, words, shown, stopped = ENDS[how]
    with running_tiny(host_a, folder, persistent=True) as guest:
        virsh("migrate-setspeed", guest.name, "1", uri=host_a.uri).expect()
        with (
            Running(host_a.uri, "event", "--event", "lifecycle", "--loop", "--timeout", "120") as events,
            Running(host_a.uri, "migrate", "--live", *FLOWS[flow], guest.name, host_b.tcp_uri) as migrate,
        ):
            wait_for(
                lambda: "Data processed" in virsh("domjobinfo", guest.name, uri=host_a.uri).out,
                "its memory is on its way",
            )
            end(host_a)
            result = migrate.finish()
            wait_for(lambda: virsh("domstate", "--reason", guest.name, uri=host_a.uri).out.strip() == shown, shown)
            events.interrupt()
            told = events.finish().out
        assert not result.ok
        assert f"domain 'tiny' {words} during the migration; it runs on neither side" in result.err, result
        assert not [word for word in FOLLOWED if word in result.err], result
        assert stopped in told
        assert state_of(guest.uuid, host_b) == ""
        host_b.assert_no_leftovers()
        host_a.assert_no_leftovers()
        # It can be started again, and then it moves.
        virsh("start", guest.name, uri=host_a.uri).expect()
        virsh("migrate", "--live", *FLOWS[flow], guest.name, host_b.tcp_uri, uri=host_a.uri).expect()
        assert state_of(guest.uuid, host_b) == "running"
