"""A guest that has everything comes back from a stock libvirtd as it went, and is the same machine there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from guests import watch
from tests.support.everything import LIBVIRT_ADDS, PASSWORD, View, changed, with_everything
from tests.support.guest import RunningGuest
from tests.support.interop import P2P, Either, Pair, guest
from tests.support.virsh import virsh

NAME = "all"
WAYS = {"tunnelled": P2P, "p2p": ("--live", "--p2p"), "client": ("--live",)}


@contextmanager
def the_guest(host: Either, folder: Path) -> Iterator[RunningGuest]:
    """It runs, and has been changed in every way."""
    made = guest(folder, NAME)
    xml = made.serial.with_suffix(".xml")
    xml.write_text(with_everything(made.xml))
    virsh("define", str(xml), uri=host.uri).expect()
    with watch.SerialWatch(made.serial) as follow:
        virsh("start", NAME, uri=host.uri).expect()
        follow.wait_running()
        changed(host, NAME, folder)
        yield RunningGuest(made, follow)


@pytest.mark.parametrize("way", WAYS)
def test_there_and_back(hosts: Pair, folder: Path, way: str) -> None:
    options = (*WAYS[way], "--persistent")
    with the_guest(hosts.culvert, folder) as moving:
        before = View.of(hosts.culvert, NAME)
        hosts.migrate(moving, hosts.culvert, *options).expect()
        there = View.of(hosts.stock, NAME)
        assert f"passwd='{PASSWORD}'" in there.live
        there.assert_same_machine(before)
        hosts.migrate(moving, hosts.stock, *options).expect()
        moving.assert_runs_only_on(hosts.culvert, hosts.stock)
        View.of(hosts.culvert, NAME).assert_same(before, LIBVIRT_ADDS)


def test_from_a_libvirtd(hosts: Pair, folder: Path) -> None:
    with the_guest(hosts.stock, folder) as moving:
        before = View.of(hosts.stock, NAME)
        hosts.migrate(moving, hosts.stock, *P2P, "--persistent").expect()
        moving.assert_runs_only_on(hosts.culvert, hosts.stock)
        here = View.of(hosts.culvert, NAME)
        assert f"passwd='{PASSWORD}'" in here.live
        here.assert_same_machine(before)
