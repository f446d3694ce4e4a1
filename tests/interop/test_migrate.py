"""Guests between culvert and a stock libvirtd, asked for by the real virsh; memory is verified from inside."""

from __future__ import annotations

import itertools
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.interop import DIRTYING, IDLE, ONE_ITERATION, P2P, Pair, running
from tests.support.virsh import Running, virsh

LOADS = {"idle": IDLE, "dirtying": DIRTYING}
MACHINES = pytest.mark.parametrize("machine", ["pc", "q35"])
SHAPES = pytest.mark.parametrize("rich", [False, True], ids=["minimal", "rich"])
ROADS = pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
ROUND_TRIPS = 5


@MACHINES
@SHAPES
@ROADS
def test_each_direction(hosts: Pair, folder: Path, machine: str, rich: bool, tls: bool) -> None:
    """Both loads, begun on either: a guest that a libvirt has booted, and one that culvert has."""
    for source in (hosts.culvert, hosts.stock):
        for load, parameters in LOADS.items():
            name = f"{load}-{source.name}"
            with running(source, folder, name, parameters, machine=machine, rich=rich) as guest:
                hosts.move(guest, source, tls=tls)
                virsh("destroy", name, uri=hosts.other(source).uri).expect()


@dataclass(frozen=True)
class Cell:
    """One of the matrix."""

    load: str
    machine: str
    rich: bool
    tls: bool

    def __str__(self) -> str:
        words = (self.load, self.machine, "rich" if self.rich else "minimal", "tls" if self.tls else "plain")
        return "-".join(words)


MATRIX = [Cell(*each) for each in itertools.product(LOADS, ("pc", "q35"), (False, True), (False, True))]
OFTEN = {Cell("dirtying", "pc", True, False), Cell("dirtying", "q35", False, True), Cell("idle", "q35", True, True)}


@pytest.mark.parametrize(
    "cell",
    [pytest.param(cell, id=str(cell), marks=() if cell in OFTEN else pytest.mark.interop) for cell in MATRIX],
)
def test_there_and_back(hosts: Pair, folder: Path, cell: Cell) -> None:
    with running(hosts.culvert, folder, "traveller", LOADS[cell.load], machine=cell.machine, rich=cell.rich) as guest:
        for _ in range(ROUND_TRIPS):
            hosts.move(guest, hosts.culvert, tls=cell.tls)
            hosts.move(guest, hosts.stock, tls=cell.tls)


@pytest.mark.parametrize("options", [("--live", "--p2p"), ("--live",)], ids=["p2p", "client"])
def test_natively(hosts: Pair, folder: Path, options: tuple[str, ...]) -> None:
    """Without a tunnel: culvert's p2p takes one all the same; in every other form QEMU's stream goes bare."""
    with running(hosts.culvert, folder, "native", DIRTYING, machine="q35", rich=True) as guest:
        hosts.move(guest, hosts.culvert, *options)
        hosts.move(guest, hosts.stock, *options)
        assert hosts.culvert.log.count("bare stream") == 1


def test_natively_where_a_migration_uri_says(hosts: Pair, folder: Path) -> None:
    """Peer-to-peer from a culvert too, as oVirt and Nova ask for it: to that address and no other."""
    with running(hosts.culvert, folder, "named", DIRTYING, machine="q35") as guest:
        virsh("migrate-setmaxdowntime", guest.name, ONE_ITERATION, uri=hosts.culvert.uri).expect()
        options = ("--live", "--p2p", "--unsafe", guest.name, hosts.stock.tcp_uri)
        nowhere = virsh(
            "migrate", *options, "tcp://127.0.0.4", "--listen-address", "127.0.0.3", uri=hosts.culvert.uri
        )
        assert "127.0.0.4" in nowhere.err, nowhere
        guest.assert_runs_only_on(hosts.culvert, hosts.stock)
        where = ("tcp:127.0.0.3", "--listen-address", "127.0.0.3")
        virsh("migrate", *options, *where, "--graphicsuri", "vnc://127.0.0.1", uri=hosts.culvert.uri).expect()
        guest.assert_runs_only_on(hosts.stock, hosts.culvert)


def test_two_come_natively_at_the_same_time(hosts: Pair, folder: Path) -> None:
    """QEMU's stream does not say whose it is: each still arrives as itself."""
    with ExitStack() as stack:
        guests = [
            stack.enter_context(running(hosts.stock, folder, f"twin{number}", machine=machine))
            for number, machine in enumerate(("pc", "q35", "pc"))
        ]
        under_way = [
            stack.enter_context(
                Running(hosts.stock.uri, "migrate", "--live", "--p2p", "--unsafe", guest.name, hosts.culvert.tcp_uri)
            )
            for guest in guests
        ]
        for running_virsh, guest in zip(under_way, guests, strict=True):
            running_virsh.finish().expect()
            guest.assert_runs_only_on(hosts.culvert, hosts.stock)


def test_not_live_paused_persistent_and_renamed(hosts: Pair, folder: Path) -> None:
    with running(hosts.stock, folder, "odd") as guest:
        hosts.move(guest, hosts.stock, "--p2p", "--tunnelled")
        hosts.move(guest, hosts.culvert, *P2P, "--persistent")
        assert virsh("list", "--persistent", "--name", uri=hosts.stock.uri).expect().split() == ["odd"]
        hosts.migrate(guest, hosts.stock, *P2P, "--suspend", "--persistent", "--undefinesource").expect()
        assert virsh("domstate", "--reason", "odd", uri=hosts.culvert.uri).expect().strip() == "paused (user)"
        assert virsh("list", "--all", "--name", uri=hosts.stock.uri).expect().split() == []
        virsh("resume", "odd", uri=hosts.culvert.uri).expect()
        hosts.migrate(guest, hosts.culvert, *P2P, "--dname", "other", "--persistent").expect()
        assert virsh("list", "--name", uri=hosts.stock.uri).expect().split() == ["other"]
        assert virsh("list", "--all", "--name", uri=hosts.culvert.uri).expect().split() == ["odd"]
        guest.assert_runs_only_on(hosts.stock, hosts.culvert)


def test_offline(hosts: Pair, folder: Path) -> None:
    with running(hosts.culvert, folder, "still") as guest:
        path = str(guest.guest.serial.with_suffix(".xml"))
        virsh("destroy", "still", uri=hosts.culvert.uri).expect()
        virsh("define", path, uri=hosts.culvert.uri).expect()
        for source in (hosts.culvert, hosts.stock):
            for options in (("--p2p",), ()):
                there = hosts.other(source)
                virsh(
                    "migrate", "--offline", "--persistent", *options, "still", there.tcp_uri, uri=source.uri
                ).expect()
                assert virsh("list", "--inactive", "--name", uri=there.uri).expect().split() == ["still"]
                virsh("undefine", "still", uri=there.uri).expect()
            if source is hosts.culvert:
                virsh("undefine", "still", uri=source.uri).expect()
                virsh("define", path, uri=hosts.stock.uri).expect()


def test_what_the_last_job_tells_on_either_side(hosts: Pair, folder: Path) -> None:
    """The figures travel in the cookies, in libvirt's form."""
    with running(hosts.culvert, folder, "figures", DIRTYING) as guest:
        for source in (hosts.culvert, hosts.stock):
            there = hosts.other(source)
            hosts.move(guest, source)
            told = virsh("domjobinfo", guest.name, "--completed", uri=there.uri).expect()
            figures = dict(line.split(":", 1) for line in told.splitlines() if ":" in line)
            assert figures["Operation"].strip() == "Incoming migration"
            assert float(figures["Memory total"].split()[0]) > 16
            assert 0 < float(figures["Time elapsed"].split()[0]) < 60_000
            assert "Total downtime" in figures
