"""A daemon that a whole module throws things at, looked at after each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.daemon import DaemonProcess, remove_folder, short_folder
from tests.support.processes import resident
from tests.support.virsh import virsh

GROWTH = 160 << 20  # bytes: four of the largest packets with their copies, and what the allocator keeps of them


@pytest.fixture(scope="module")
def target() -> Iterator[DaemonProcess]:
    """The daemon that everything is thrown at."""
    folder = short_folder()
    root = folder / "t"
    root.mkdir()
    with DaemonProcess(root, name="target", arguments=["--log-level", "debug"]) as daemon:
        yield daemon
    remove_folder(folder)


@pytest.fixture
def host(target: DaemonProcess) -> Iterator[DaemonProcess]:
    """``target``; afterwards it is the same process, has met no bug of its own, has kept nothing, has not grown."""
    pid, before, logged = target.pid, resident(target.pid), len(target.log)
    yield target
    told = target.log[logged:]
    assert target.running, target.log_tail()
    assert target.pid == pid
    target.assert_never_held(logged)
    bug = told.find("Traceback")
    assert bug < 0, told[max(bug - 500, 0) : bug + 4000]
    assert virsh("list", "--all", "--name", uri=target.uri).expect().split() == []
    target.assert_no_leftovers()
    assert resident(target.pid) - before < GROWTH
