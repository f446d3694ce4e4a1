"""Fixtures with real processes, for every test package.

``host_a`` and ``host_b`` are two running daemons of this machine, ``folder`` is a short place for their guests'
files. A test that fails shows both logs; a test that ends, however it ends, leaves no process and no file.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests import pure
from tests.support.daemon import CHECKOUT, DaemonProcess, remove_folder, short_folder

_DAEMONS = pytest.StashKey[list[DaemonProcess]]()


# No test may depend on a time: neither how long an example takes nor how long it takes to find one.
settings.register_profile("culvert", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("culvert")


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(pure.Plugin())


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.when == "call" and report.failed:
        for daemon in item.stash.get(_DAEMONS, []):
            report.sections.append((f"log of {daemon.name}", daemon.log_tail()))
    return report


@pytest.fixture
def folder() -> Iterator[Path]:
    """A new folder with a short path, for guests' files and sockets; removed at the end."""
    path = short_folder()
    yield path
    remove_folder(path)


def _config(request: pytest.FixtureRequest) -> str:
    """Section [migration] as the test's marker ``migration`` has it; a parameter "route" of the test is in it too."""
    marker = request.node.get_closest_marker("migration")
    settings = dict(marker.kwargs) if marker is not None else {}
    callspec = getattr(request.node, "callspec", None)
    if callspec is not None and "route" in callspec.params:
        settings["route"] = callspec.params["route"]
    if not settings:
        return ""
    return "[migration]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in settings.items())


def run_host(
    name: str, folder: Path, request: pytest.FixtureRequest, *, program: Sequence[str] = CHECKOUT
) -> Iterator[DaemonProcess]:
    """The body of a fixture: the daemon ``program``, running, configured by the test and shown when that fails."""
    root = folder / name
    root.mkdir()
    daemon = DaemonProcess(root, name=f"host_{name}", config=_config(request), program=program)
    request.node.stash.setdefault(_DAEMONS, []).append(daemon)
    with daemon:
        yield daemon


@pytest.fixture
def host_a(folder: Path, request: pytest.FixtureRequest) -> Iterator[DaemonProcess]:
    """A running daemon."""
    yield from run_host("a", folder, request)


@pytest.fixture
def host_b(folder: Path, request: pytest.FixtureRequest) -> Iterator[DaemonProcess]:
    """Another running daemon."""
    yield from run_host("b", folder, request)


@pytest.fixture(params=["unix", "tcp"])
def uri(request: pytest.FixtureRequest, host_a: DaemonProcess) -> str:
    """``host_a``, over each of its transports."""
    return host_a.uri if request.param == "unix" else host_a.tcp_uri
