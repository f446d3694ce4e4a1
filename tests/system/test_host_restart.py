"""A host goes down in the middle of a hand-over, with its daemon and its QEMUs, and comes up again.

Its guests are to start with the host: that must not be the second copy of one.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.culvert import culvert
from tests.support.daemon import DaemonProcess
from tests.support.guest import RunningGuest, running_tiny, state_of
from tests.support.proxy import Proxy
from tests.support.virsh import Running, virsh
from tests.support.wait import wait_for
from tests.system.test_faults import P2P
from tests.system.test_handover import FINISH_CALL, FINISH_REPLY, waits_for_the_destination


@contextmanager
def starting_with_the_host(host: DaemonProcess, folder: Path) -> Iterator[RunningGuest]:
    with running_tiny(host, folder, persistent=True) as guest:
        virsh("autostart", guest.name, uri=host.uri).expect()
        yield guest


def last(host: DaemonProcess) -> dict[str, object]:
    """The newest migration in the host's history."""
    newest, *_ = culvert("history", "--json", uri=host.uri).expect().splitlines()
    found: dict[str, object] = json.loads(newest)
    return found


def told(host: DaemonProcess, text: str) -> None:
    host.wait_logged(text)


def test_a_guest_that_has_left_does_not_start_with_its_old_host(
    host_a: DaemonProcess, host_b: DaemonProcess, folder: Path
) -> None:
    with starting_with_the_host(host_a, folder) as guest:
        virsh(*P2P, guest.name, host_b.tcp_uri, uri=host_a.uri).expect()
        host_a.lose_power()
        host_a.start()
        told(host_a, "is not started with the host: it has gone to")
        guest.assert_runs_only_on(host_b, host_a)
        # What has come back starts here again.
        virsh(*P2P, guest.name, host_a.tcp_uri, uri=host_b.uri).expect()
        guest.assert_runs_only_on(host_a, host_b)
        host_a.lose_power()
        host_a.start()
        wait_for(lambda: state_of(guest.uuid, host_a) == "running", "it starts with the host")


@pytest.mark.parametrize(("lost", "arrived"), [(FINISH_REPLY, True), (FINISH_CALL, False)], ids=["reply", "call"])
def test_the_source_goes_down_while_it_waits(
    host_a: DaemonProcess, host_b: DaemonProcess, folder: Path, lost: bytes, arrived: bool
) -> None:
    """It starts the guest when it has heard that it is nowhere, and not before."""
    with starting_with_the_host(host_a, folder) as guest, Proxy(host_b.port) as proxy:
        proxy.cut_on(lost, then_refuse=True)
        with Running(host_a.uri, *P2P, guest.name, host_b.uri_by(proxy.port)) as running:
            wait_for(lambda: waits_for_the_destination(guest, host_a), "the source waits")
            host_a.lose_power()
            assert not running.finish().ok
        host_a.start()
        told(host_a, "is not started with the host yet")
        assert "waiting for" in virsh("start", guest.name, uri=host_a.uri).err
        assert state_of(guest.uuid, host_a) == "shut off"
        proxy.refuse(False)
        if arrived:
            told(host_a, "is not started with the host: it has gone to")
            guest.assert_runs_only_on(host_b, host_a)
            assert last(host_a)["step"] == "left"
        else:
            wait_for(lambda: state_of(guest.uuid, host_a) == "running", "it starts with the host")
            host_b.assert_no_leftovers()
            assert last(host_a)["step"] == "lost"


def test_the_destination_goes_down_with_the_answer_on_its_way(
    host_a: DaemonProcess, host_b: DaemonProcess, folder: Path
) -> None:
    """The guest ran there and went down with the host: the source does not start an older one, and says why."""
    with starting_with_the_host(host_a, folder) as guest, Proxy(host_b.port) as proxy:
        proxy.cut_on(FINISH_REPLY, then_refuse=True)
        with Running(host_a.uri, *P2P, guest.name, host_b.uri_by(proxy.port)) as running:
            wait_for(lambda: waits_for_the_destination(guest, host_a), "the source waits")
            host_b.lose_power()
            host_b.start()
            proxy.refuse(False)
            running.finish()
        assert last(host_b)["step"] == "arrived"
        assert state_of(guest.uuid, host_a) == "shut off"
        assert state_of(guest.uuid, host_b) == ""
        assert last(host_a)["step"] == "left"
