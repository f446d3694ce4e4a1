"""What a person reads of a migration that somebody has ended: who it was, not what QEMU made of it."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.daemon import DaemonProcess
from tests.support.guest import RunningGuest, running_tiny, state_of
from tests.support.virsh import Running, virsh


@contextmanager
def leaving(host_a: DaemonProcess, host_b: DaemonProcess, folder: Path) -> Iterator[tuple[RunningGuest, Running]]:
    """A guest on its slow way from ``host_a`` to ``host_b``."""
    with running_tiny(host_a, folder) as guest:
        virsh("migrate-setspeed", guest.name, "1", uri=host_a.uri).expect()
        words = ("migrate", "--live", "--p2p", guest.name, host_b.tcp_uri)
        with Running(host_a.uri, *words) as moving:
            host_a.wait_logged("state=perform3")
            yield guest, moving


@pytest.mark.parametrize("side", ["source", "destination"])
def test_the_guest_is_destroyed(host_a: DaemonProcess, host_b: DaemonProcess, folder: Path, side: str) -> None:
    with leaving(host_a, host_b, folder) as (guest, moving):
        virsh("destroy", guest.name, uri=(host_a if side == "source" else host_b).uri).expect()
        told = moving.finish().err
        where = "at the destination" if side == "destination" else "it runs on neither side"
        assert re.search(f"domain 'tiny' was destroyed during the migration;? {where}", told), told
        assert "terminating on signal" not in told
        assert state_of(guest.name, host_a) == ("running" if side == "destination" else "")
        host_b.assert_no_leftovers()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=lambda number: number.name)
@pytest.mark.parametrize("side", ["source", "destination"])
def test_somebody_ends_qemu(
    host_a: DaemonProcess, host_b: DaemonProcess, folder: Path, side: str, number: signal.Signals
) -> None:
    with leaving(host_a, host_b, folder) as (_, moving):
        [qemu] = (host_a if side == "source" else host_b).qemu_pids()
        os.kill(qemu, number)
        told = moving.finish().err
        assert f"QEMU at the {side} ended during the migration" in told
        who = "killed by SIGKILL" if number is signal.SIGKILL else f"process {os.getpid()} "
        assert who in told
