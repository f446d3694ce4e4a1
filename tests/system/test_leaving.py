"""A guest that cannot leave its QEMU as it stands is left where it is, whichever way out it is asked to take."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from culvert.hypervisor.leaving import CAN_LEAVE
from culvert.io import fault_points
from culvert.protocol.constants_state import DomainState
from tests.drivers.support import domain_xml
from tests.support import boot_sector
from tests.support.daemon import DaemonProcess
from tests.support.virsh import Running, virsh
from tests.support.wait import wait_for

NAME = "sleeper"
ASLEEP = CAN_LEAVE[DomainState.PMSUSPENDED]
MIGRATE = ("migrate", "--live")
FLOWS = {"p2p": ("--p2p", "--tunnelled"), "client": ()}


@pytest.fixture
def points(folder: Path) -> Path:
    """Where a migration of ``source`` can be held."""
    place = folder / "points"
    place.mkdir()
    return place


@pytest.fixture
def source(folder: Path, points: Path) -> Iterator[DaemonProcess]:
    root = folder / "s"
    root.mkdir()
    with DaemonProcess(root, name="source", environment={fault_points.VARIABLE: str(points)}) as host:
        yield host


def define(host: DaemonProcess, folder: Path) -> None:
    path = folder / "sleeper.xml"
    path.write_text(domain_xml(NAME, boot_sector.disk(folder, NAME, boot_sector.SLEEP)))
    virsh("define", str(path), uri=host.uri).expect()


def wait_asleep(host: DaemonProcess) -> None:
    wait_for(lambda: virsh("domstate", NAME, uri=host.uri).out.strip() == "pmsuspended", "it sleeps")


def test_a_guest_that_sleeps_stays(host_a: DaemonProcess, host_b: DaemonProcess, folder: Path) -> None:
    define(host_a, folder)
    virsh("start", NAME, uri=host_a.uri).expect()
    wait_asleep(host_a)
    image = folder / "image"
    for words in (
        *((*MIGRATE, "--unsafe", *flow, NAME, host_b.tcp_uri) for flow in FLOWS.values()),
        ("save", NAME, str(image)),
        ("managedsave", NAME),
    ):
        result = virsh(*words, uri=host_a.uri)
        assert not result.ok, words
        assert ASLEEP in result.err, (words, result)
        assert virsh("domstate", NAME, uri=host_a.uri).expect().strip() == "pmsuspended"
        assert virsh("list", "--all", "--name", uri=host_b.uri).expect().split() == []
    assert not image.exists()
    host_b.assert_no_leftovers()


@pytest.mark.parametrize("flow", FLOWS)
def test_a_guest_that_goes_to_sleep_when_its_migration_has_begun(
    source: DaemonProcess, host_b: DaemonProcess, folder: Path, points: Path, flow: str
) -> None:
    define(source, folder)
    virsh("start", NAME, "--paused", uri=source.uri).expect()
    armed = points / "source.after.perform3"
    armed.touch()
    with Running(source.uri, *MIGRATE, "--unsafe", *FLOWS[flow], NAME, host_b.tcp_uri) as migrate:
        wait_for(armed.with_name(armed.name + fault_points.REACHED).exists, "nothing is sent yet")
        virsh("qemu-monitor-command", NAME, "--hmp", "cont", uri=source.uri).expect()
        wait_asleep(source)
        armed.unlink()
        result = migrate.finish()
    assert not result.ok
    assert ASLEEP in result.err, result
    assert virsh("domstate", NAME, uri=source.uri).expect().strip() == "pmsuspended"
    host_b.assert_no_leftovers()
