"""A program in Go, made with Debian's go-libvirt, as Terraform's provider, exporters and virter are."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from guests import domain_xml, watch
from tests.support.daemon import DaemonProcess
from tests.support.guest import SMALL, RunningGuest

pytestmark = pytest.mark.interop

PROGRAM = Path(__file__).with_name("go_client.go")


@pytest.fixture
def client(folder: Path) -> Path:
    """The program, built."""
    built = folder / "go-client"
    environment = {
        **os.environ,
        "GO111MODULE": "off",
        "GOPATH": "/usr/share/gocode",
        "GOCACHE": str(folder / "go-cache"),
        "GOFLAGS": "",
    }
    command = ("go", "build", "-o", str(built), str(PROGRAM))
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=170, check=False)
    assert done.returncode == 0, done.stderr
    return built


def test_connect_list_events_and_a_move(
    client: Path, host_a: DaemonProcess, host_b: DaemonProcess, folder: Path
) -> None:
    made = domain_xml.tiny_guest(folder, "gopher", SMALL)
    with watch.SerialWatch(made.serial) as follow:
        command = (str(client), str(host_a.socket), str(made.write_xml()), made.name, host_b.tcp_uri)
        done = subprocess.run(command, capture_output=True, text=True, timeout=150, check=False)
        assert (done.returncode, done.stderr) == (0, ""), done.stdout
        assert done.stdout.splitlines() == [
            "connected QEMU true",
            "event 2 0",  # started, booted
            "domain gopher 1",
            "event 5 3",  # stopped, migrated
            "gone true",
        ]
        RunningGuest(made, follow).assert_runs_only_on(host_b, host_a)
