"""The systemd unit: what each of its lines does, beside what the daemon does."""

from __future__ import annotations

import importlib
import os
import shlex
import tomllib
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from culvert.daemon import server
from culvert.daemon.places import Places
from culvert.drivers.qemu import host as driver_host
from tests.support import unit

ROOT = Path(__file__).resolve().parents[2]

PREFIXES = {
    "RuntimeDirectory": "/run",
    "StateDirectory": "/var/lib",
    "ConfigurationDirectory": "/etc",
    "LogsDirectory": "/var/log",
}


@pytest.fixture
def service() -> dict[str, str]:
    return unit.read()["Service"]


def test_it_starts_what_the_package_installs_with_words_that_are_understood(
    service: dict[str, str], tmp_path: Path
) -> None:
    program, *arguments = shlex.split(service["ExecStart"])
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["scripts"]
    assert os.path.dirname(program) == "/usr/bin"
    module, _, name = scripts[os.path.basename(program)].partition(":")
    main = getattr(importlib.import_module(module), name)
    assert isinstance(main, click.Command)
    shown = CliRunner().invoke(main, [*arguments, "--root", str(tmp_path), "--show-config"])
    assert shown.exit_code == 0, shown.output
    assert "[daemon]" in shown.output


def test_its_folders_are_those_of_the_daemon(service: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)
    layout = Places.of_system().layout
    made = {key: Path(prefix) / service[key] for key, prefix in PREFIXES.items()}
    assert made == {
        "RuntimeDirectory": layout.run,
        "StateDirectory": layout.lib,
        "ConfigurationDirectory": layout.etc,
        "LogsDirectory": layout.log,
    }
    assert int(service["LogsDirectoryMode"], 8) & 0o007 == 0
    # Definitions are written below /etc: where it is read-only, the folder named above stays writable.
    assert service["ProtectSystem"] in ("full", "no")
    # The next daemon finds the guests by what is in there, also after a stop.
    assert service["RuntimeDirectoryPreserve"] == "yes"


def test_a_guest_that_the_kernel_ends_does_not_end_the_daemon(service: dict[str, str]) -> None:
    """Guests are of this unit, and systemd's default is to stop a unit of which the kernel has killed a process."""
    assert service["OOMPolicy"] == "continue"


def test_systemd_waits_as_long_as_the_daemon_may_take_to_stop(service: dict[str, str]) -> None:
    most = server.STOP_TIMEOUT + 2 * driver_host.FINISH_TIMEOUT
    assert float(service["TimeoutStopSec"]) > most
