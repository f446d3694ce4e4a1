"""The released daemon beside the checkout's ``host_a``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import run_host
from tests.released import install
from tests.support.daemon import DaemonProcess


@pytest.fixture(scope="session")
def released() -> install.Installed:
    """The last released culvert; the first test of a machine that asks for it waits until it is installed."""
    return install.installed()


@pytest.fixture
def host_released(
    folder: Path, request: pytest.FixtureRequest, released: install.Installed
) -> Iterator[DaemonProcess]:
    """A running daemon of the released version, with the configuration that ``host_a`` has."""
    yield from run_host("released", folder, request, program=[released.program("culvertd")])
