"""What goes wrong between culvert and a stock libvirtd: the guest is never lost and never runs twice.

``slowly`` makes the migration long enough to be caught; ``aftermath`` says what must hold whatever broke.
"""

from __future__ import annotations

import itertools
import os
import signal
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support import generation
from tests.support.culvert import culvert
from tests.support.guest import RunningGuest, state_of
from tests.support.interop import P2P, Either, Pair, pair, running
from tests.support.proxy import Proxy
from tests.support.virsh import Result, Running, virsh
from tests.support.wait import wait_for

SLOW = "2"  # MiB/s: a guest of 20 MiB takes its time
FAST = "0"  # no limit

CALL, REPLY = 0, 1
PREPARE_TUNNEL, FINISH, OPEN = 304, 306, 1

SIDES = pytest.mark.parametrize("from_culvert", [True, False], ids=["from-culvert", "from-libvirt"])
ROADS = pytest.mark.parametrize("tls", [False, pytest.param(True, marks=pytest.mark.interop)], ids=["plain", "tls"])


def packet(procedure: int, kind: int) -> bytes:
    """How a packet of the REMOTE program begins, behind its length."""
    return struct.pack(">IIII", 0x20008086, 1, procedure, kind)


def source_of(hosts: Pair, from_culvert: bool) -> Either:
    return hosts.culvert if from_culvert else hosts.stock


def sent(guest: RunningGuest, source: Either) -> int:
    """Bytes of memory that have gone so far."""
    told = virsh("domjobinfo", "--rawstats", guest.name, uri=source.uri)
    found = [line.split(":")[1] for line in told.out.splitlines() if line.startswith("memory_processed")]
    return int(found[0]) if found else 0


@contextmanager
def slowly(hosts: Pair, guest: RunningGuest, source: Either, uri: str, *options: str) -> Iterator[Running]:
    """A migration to ``uri`` that is under way: bytes flow when the block begins."""
    virsh("migrate-setspeed", guest.name, SLOW, uri=source.uri).expect()
    with Running(source.uri, "migrate", *(options or P2P), "--unsafe", guest.name, uri) as under_way:
        wait_for(lambda: sent(guest, source) > 1 << 18, "bytes flow")
        yield under_way


def assert_undone(guest: RunningGuest, source: Either, destination: Either) -> None:
    """It runs on at the source with its memory whole. At the destination a call that had arrived may only just begin
    to be carried out, and is then undone: the guest may be seen there for a while, but never running."""

    def undone() -> bool:
        there = state_of(guest.uuid, destination)
        assert there != "running", f"{guest.name} runs at {destination.name}"
        return there == "" and not destination.qemu_pids() and state_of(guest.uuid, source) == "running"

    wait_for(undone, "it is undone")
    guest.watch.wait_verified()


def aftermath(hosts: Pair, guest: RunningGuest, source: Either, result: Result, *, tls: bool = False) -> None:
    """It failed; the guest runs on at the source with its memory whole; the next migration works."""
    assert not result.ok, result
    destination = hosts.other(source)
    assert_undone(guest, source, destination)
    virsh("migrate-setspeed", guest.name, FAST, uri=source.uri)
    hosts.move(guest, source, tls=tls)
    assert "Traceback" not in hosts.culvert.log


@SIDES
@ROADS
def test_abort(hosts: Pair, folder: Path, from_culvert: bool, tls: bool) -> None:
    source = source_of(hosts, from_culvert)
    with running(source, folder) as guest:
        there = hosts.uri(hosts.other(source), tls=tls)
        with slowly(hosts, guest, source, there) as under_way:
            virsh("domjobabort", guest.name, uri=source.uri).expect()
            result = under_way.finish()
        assert "cancel" in result.err
        aftermath(hosts, guest, source, result, tls=tls)


@pytest.mark.parametrize("options", [("--live", "--p2p"), ("--live",)], ids=["p2p", "client"])
@SIDES
def test_abort_of_a_native_one(hosts: Pair, folder: Path, from_culvert: bool, options: tuple[str, ...]) -> None:
    source = source_of(hosts, from_culvert)
    with running(source, folder) as guest:
        with slowly(hosts, guest, source, hosts.other(source).tcp_uri, *options) as under_way:
            virsh("domjobabort", guest.name, uri=source.uri).expect()
            result = under_way.finish()
        aftermath(hosts, guest, source, result)


@SIDES
@ROADS
def test_destination_killed(hosts: Pair, folder: Path, from_culvert: bool, tls: bool) -> None:
    source = source_of(hosts, from_culvert)
    destination = hosts.other(source)
    with running(source, folder) as guest:
        with slowly(hosts, guest, source, hosts.uri(destination, tls=tls)) as under_way:
            destination.kill()
            result = under_way.finish()
        destination.start()
        aftermath(hosts, guest, source, result, tls=tls)


@SIDES
def test_the_destination_s_qemu_killed(hosts: Pair, folder: Path, from_culvert: bool) -> None:
    source = source_of(hosts, from_culvert)
    destination = hosts.other(source)
    with running(source, folder) as guest:
        with slowly(hosts, guest, source, destination.tcp_uri) as under_way:
            for pid in destination.qemu_pids():
                os.kill(pid, signal.SIGKILL)
            result = under_way.finish()
        if from_culvert and not generation.OUTLIVES_AN_INCOMING_QEMU.here:
            destination.restart(kill=True)
        aftermath(hosts, guest, source, result)


@SIDES
def test_source_killed(hosts: Pair, folder: Path, from_culvert: bool) -> None:
    source = source_of(hosts, from_culvert)
    destination = hosts.other(source)
    with running(source, folder) as guest:
        with slowly(hosts, guest, source, destination.tcp_uri) as under_way:
            source.kill()
            result = under_way.finish()
        destination.assert_no_leftovers()
        source.start()
        aftermath(hosts, guest, source, result)


@SIDES
@ROADS
def test_connection_cut(hosts: Pair, folder: Path, from_culvert: bool, tls: bool) -> None:
    source = source_of(hosts, from_culvert)
    destination = hosts.other(source)
    with running(source, folder) as guest, Proxy(destination.tls_port if tls else destination.port) as proxy:
        there = hosts.uri(destination, tls=tls, port=proxy.port)
        for count in (1000, 9000, 1 << 20):
            proxy.cut_after(proxy.forwarded + count)
            result = virsh("migrate", *P2P, "--unsafe", guest.name, there, uri=source.uri)
            assert not result.ok, count
            if from_culvert and not generation.OUTLIVES_AN_INCOMING_QEMU.here:
                destination.restart(kill=True)
            assert_undone(guest, source, destination)
        aftermath(hosts, guest, source, result, tls=tls)


@pytest.mark.parametrize(
    "from_culvert",
    [pytest.param(True, id="from-culvert", marks=pytest.mark.interop), pytest.param(False, id="from-libvirt")],
)
def test_a_network_that_is_silent(folder: Path, from_culvert: bool) -> None:
    """Keepalive in both roles: each side notices by itself, one as the client, the other as the server."""
    with (
        pair(
            folder,
            config="[keepalive]\ninterval = 1\ncount = 2\n[migration]\nstall_seconds = 4",
            stock_config="keepalive_interval = 1\nkeepalive_count = 2",
            stock_qemu="keepalive_interval = 1\nkeepalive_count = 2",
        ) as hosts,
        running(source_of(hosts, from_culvert), folder) as guest,
    ):
        source = source_of(hosts, from_culvert)
        destination = hosts.other(source)
        with Proxy(destination.port) as proxy:
            with slowly(hosts, guest, source, destination.uri_by(proxy.port)) as under_way:
                proxy.stall()
                result = under_way.finish()
            destination.assert_no_leftovers()  # while the network is still silent
        aftermath(hosts, guest, source, result)


@SIDES
def test_connection_lost_at_each_step(hosts: Pair, folder: Path, from_culvert: bool) -> None:
    source = source_of(hosts, from_culvert)
    destination = hosts.other(source)
    with running(source, folder) as guest, Proxy(destination.port) as proxy:
        for procedure, kind in itertools.product((OPEN, PREPARE_TUNNEL), (CALL, REPLY)):
            proxy.cut_on(packet(procedure, kind))
            there = destination.uri_by(proxy.port)
            result = virsh("migrate", *P2P, "--unsafe", guest.name, there, uri=source.uri)
            assert not result.ok, (procedure, kind)
            assert_undone(guest, source, destination)
        aftermath(hosts, guest, source, result)


@SIDES
def test_late_at_every_step(hosts: Pair, folder: Path, from_culvert: bool) -> None:
    """Slow answers are answers."""
    source = source_of(hosts, from_culvert)
    destination = hosts.other(source)
    with running(source, folder) as guest, Proxy(destination.port) as proxy:
        for procedure in (OPEN, PREPARE_TUNNEL, FINISH):
            for kind in (CALL, REPLY):
                proxy.delay_on(packet(procedure, kind), 1)
        result = hosts.migrate(guest, source, port=proxy.port)
        assert result.ok, result.err
        guest.assert_runs_only_on(destination, source)


def test_finish_that_never_reaches_libvirt(hosts: Pair, folder: Path) -> None:
    """libvirt kills the guest that was waiting there and keeps nothing: nobody here can know that it never ran."""
    with running(hosts.culvert, folder) as guest, Proxy(hosts.stock.port) as proxy:
        proxy.cut_on(packet(FINISH, CALL))
        result = hosts.migrate(guest, hosts.culvert, port=proxy.port)
        assert f"culvert resolve {guest.name}" in result.err
        hosts.stock.assert_no_leftovers()
        assert (
            virsh("domstate", "--reason", guest.name, uri=hosts.culvert.uri).expect().strip() == "paused (migrating)"
        )
        assert "resolve" in virsh("resume", guest.name, uri=hosts.culvert.uri).err
        culvert("resolve", guest.name, "--running-here", "--yes", uri=hosts.culvert.uri).expect()
        aftermath(hosts, guest, hosts.culvert, result)


def test_the_same_across_a_restart(hosts: Pair, folder: Path) -> None:
    """Also a culvert that has forgotten all but what is on its disk neither guesses nor asks for ever."""
    with running(hosts.culvert, folder) as guest, Proxy(hosts.stock.port) as proxy:
        proxy.cut_on(packet(FINISH, CALL), then_refuse=True)
        virsh("migrate-setmaxdowntime", guest.name, "60000", uri=hosts.culvert.uri).expect()
        there = hosts.stock.uri_by(proxy.port)
        with Running(hosts.culvert.uri, "migrate", *P2P, "--unsafe", guest.name, there) as under_way:
            hosts.culvert.wait_logged("to say whether the guest runs there")
            hosts.culvert.kill()
            under_way.finish()
        hosts.stock.assert_no_leftovers()
        hosts.culvert.start()
        assert state_of(guest.uuid, hosts.culvert) == "paused"
        proxy.refuse(False)
        here = ("resolve", guest.name, "--running-here", "--yes")
        wait_for(lambda: culvert(*here, uri=hosts.culvert.uri).rc == 0, "it is a person's to decide")
        guest.assert_runs_only_on(hosts.culvert, hosts.stock)


def test_an_answer_to_finish_that_is_lost(hosts: Pair, folder: Path) -> None:
    """The guest has run at the libvirtd and is looked for; whatever libvirt makes of it, it never runs twice."""
    with running(hosts.culvert, folder) as guest, Proxy(hosts.stock.port) as proxy:
        proxy.cut_on(packet(FINISH, REPLY))
        result = hosts.migrate(guest, hosts.culvert, port=proxy.port)
        there, here = (state_of(guest.uuid, host) for host in (hosts.stock, hosts.culvert))
        if result.ok:
            assert (there, here) == ("running", "")
            guest.assert_runs_only_on(hosts.stock, hosts.culvert)
        else:
            assert (there, here) == ("", "paused")
            assert f"culvert resolve {guest.name}" in result.err
