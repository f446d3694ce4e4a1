"""The daemon helper on a real daemon."""

from __future__ import annotations

from pathlib import Path

import pytest

from culvert.daemon import loop_guard
from tests.support import processes
from tests.support.daemon import DaemonFailed, DaemonProcess
from tests.support.virsh import virsh


def test_starts_answers_restarts_on_the_same_port_and_leaves_nothing(folder: Path) -> None:
    root = folder / "h"
    root.mkdir()
    with DaemonProcess(root) as daemon:
        port = daemon.port
        for uri in (daemon.uri, daemon.tcp_uri):
            assert "QEMU" in virsh("version", uri=uri).expect()
        first = daemon.pid
        daemon.restart(kill=True)
        assert daemon.port == port
        assert daemon.pid != first
        assert virsh("uri", uri=daemon.tcp_uri).ok
        daemon.assert_no_leftovers()
        assert daemon.stop() == 0
        assert not daemon.running
    assert processes.marked(root) == []


def test_a_loop_that_was_held_is_an_error_at_the_end(folder: Path) -> None:
    root = folder / "h"
    root.mkdir()
    with (
        pytest.raises(AssertionError, match=loop_guard.HELD),
        # With this limit every callback has held it.
        DaemonProcess(root, environment={loop_guard.VARIABLE: "0"}) as daemon,
    ):
        daemon.wait_logged(loop_guard.HELD)
    assert processes.marked(root) == []


def test_a_start_that_fails_shows_why(folder: Path) -> None:
    root = folder / "h"
    root.mkdir()
    daemon = DaemonProcess(root, arguments=["--no-such-option"])
    with pytest.raises(DaemonFailed, match="no-such-option"):
        daemon.start()
    assert processes.marked(root) == []
