"""The pump route: many channels through the one port, and connections that are lost without QEMU noticing."""

from __future__ import annotations

import asyncio
import os
import re
import resource
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from culvert.channels.ticket import Ticket
from culvert.daemon import priority
from culvert.protocol import culvert as own
from culvert.wire.packet import PacketType
from tests.support import processes
from tests.support.culvert import culvert
from tests.support.daemon import DaemonProcess
from tests.support.guest import SMALL, RunningGuest, running_tiny, state_of
from tests.support.processes import descriptors, threads
from tests.support.proxy import Proxy
from tests.support.virsh import Result, virsh
from tests.support.wait import wait_for
from tests.system.test_faults import FAST, P2P, aftermath, slow_migration
from tests.system.test_rubbish_channels import MAIN, attach
from tests.system.test_rubbish_migration import DIRECT, Attempt, connected, refused

PUMP = pytest.mark.parametrize("route", ["pump"])
CHANNEL_CALL, CHANNEL_REPLY = (
    struct.pack(">IIII", own.PROGRAM.number, own.PROGRAM.version, own.MIGRATION_CHANNEL.number, kind)
    for kind in (PacketType.CALL, PacketType.REPLY)
)


def told(guest: RunningGuest, host: DaemonProcess, name: str, *options: str) -> int:
    """One of culvert's own figures of the guest's job on ``host``; 0 where it is not told."""
    out = culvert("job", *options, guest.name, uri=host.uri).out
    found = re.search(rf"culvert\.{name} +(\d+)\n", out)
    return int(found[1]) if found else 0


def interruptions(guest: RunningGuest, host: DaemonProcess) -> int:
    return told(guest, host, "interruptions")


def none_kept(before: list[int], *hosts: DaemonProcess) -> bool:
    """Whether the hosts have no more descriptors than they had."""
    return all(descriptors(host.pid) <= had for host, had in zip(hosts, before, strict=True))


@contextmanager
def interrupted(
    guest: RunningGuest, source: DaemonProcess, proxy: Proxy, destination: DaemonProcess, *options: str
) -> Iterator[None]:
    """A migration through ``proxy`` under way, slow for the length of the block; then let go, and it ends well."""
    with slow_migration(guest, source, destination.uri_by(proxy.port), options=options) as running:
        yield
        virsh("migrate-setspeed", guest.name, FAST, uri=source.uri).expect()
        running.finish().expect()
    guest.assert_runs_only_on(destination, source)
    source.assert_no_leftovers()


def cut(guest: RunningGuest, source: DaemonProcess, proxy: Proxy) -> None:
    """Cut every connection, and wait until the migration goes on."""
    before = interruptions(guest, source)
    proxy.cut()
    wait_for(lambda: interruptions(guest, source) > before, "connected again")


# -- many channels ---------------------------------------------------------------------------------------------------

WAYS_TO_ASK = [
    ("migrate", "--live", "--p2p", "--parallel", "--parallel-connections", "3"),
    ("migrate", "--live", "--p2p", "--tunnelled", "--parallel-connections", "3"),
    ("migrate", "--live", "--parallel", "--parallel-connections", "3"),
]


@pytest.mark.parametrize("command", WAYS_TO_ASK, ids=["p2p", "tunnelled", "client-driven"])
def test_many_channels_through_the_one_port(
    host_a: DaemonProcess, host_b: DaemonProcess, folder: Path, command: tuple[str, ...]
) -> None:
    with running_tiny(host_a, folder) as guest:
        for source, destination in ((host_a, host_b), (host_b, host_a)):
            virsh(*command, guest.name, destination.tcp_uri, uri=source.uri).expect()
            guest.assert_runs_only_on(destination, source)
            source.assert_no_leftovers()
            assert told(guest, destination, "channels", "--completed") == 4


def test_who_answers_goes_before_who_pumps(host_a: DaemonProcess, host_b: DaemonProcess, folder: Path) -> None:
    """Where that is allowed; the guests, and whatever else the daemons start, have no part in it."""
    first = priority.NICE if os.geteuid() == 0 else os.getpriority(os.PRIO_PROCESS, 0)
    with (
        Proxy(host_b.port) as proxy,
        running_tiny(host_a, folder) as guest,
        interrupted(guest, host_a, proxy, host_b, "--parallel-connections", "3"),
    ):
        for host in (host_a, host_b):
            answers, *others = sorted(processes.niceness(host.pid).items())  # the process's own number is the lowest
            assert answers == (host.pid, first)
            assert len(others) >= 4  # a channel each
            for qemu in host.qemu_pids():
                others += processes.niceness(qemu).items()
            # What a thread with a better priority starts begins with none (sched(7), SCHED_RESET_ON_FORK).
            assert {nice for _, nice in others} <= {0, os.getpriority(os.PRIO_PROCESS, 0)}


def test_the_command_line_asks_for_them_too(host_a: DaemonProcess, host_b: DaemonProcess, folder: Path) -> None:
    with running_tiny(host_a, folder) as guest:
        options = ("--parallel", "--parallel-connections", "2", "--compression", "on")
        result = culvert("migrate", guest.name, host_b.tcp_uri, *options, uri=host_a.uri)
        assert "route pump, 3 channels" in result.expect()
        guest.assert_runs_only_on(host_b, host_a)
        result = culvert("migrate", guest.name, host_a.tcp_uri, "--route", "direct", "--parallel", uri=host_b.uri)
        assert "route 'direct' needs a single channel" in result.out
        guest.assert_runs_only_on(host_b, host_a)


@PUMP
def test_in_a_root_whose_sockets_have_long_names(
    host_a: DaemonProcess, host_b: DaemonProcess, folder: Path, route: str
) -> None:
    # Short enough for the daemon's own socket, which virsh has to reach, and too long for those of the channels.
    deep = folder / "".ljust(90 - len(f"{folder}/"), "x")
    deep.mkdir()
    with DaemonProcess(deep, name="deep") as deep_host, running_tiny(host_a, folder) as guest:
        for source, destination in ((host_a, deep_host), (deep_host, host_a)):
            virsh(*WAYS_TO_ASK[0], guest.name, destination.tcp_uri, uri=source.uri).expect()
            guest.assert_runs_only_on(destination, source)


# -- lost connections ------------------------------------------------------------------------------------------------

CHANNELS = pytest.mark.parametrize("options", [(), ("--parallel-connections", "2")], ids=["one", "three"])


@PUMP
@CHANNELS
def test_cut_once(
    host_a: DaemonProcess, host_b: DaemonProcess, folder: Path, route: str, options: tuple[str, ...]
) -> None:
    """Every connection is reset, the one of the calls too; the migration goes on and ends well."""
    with running_tiny(host_a, folder) as guest, Proxy(host_b.port) as proxy:
        with interrupted(guest, host_a, proxy, host_b, *options):
            cut(guest, host_a, proxy)
        assert "Traceback" not in host_a.log + host_b.log


@PUMP
def test_cut_ten_times(host_a: DaemonProcess, host_b: DaemonProcess, folder: Path, route: str) -> None:
    with (
        running_tiny(host_a, folder) as guest,
        Proxy(host_b.port) as proxy,
        interrupted(guest, host_a, proxy, host_b),
    ):
        for _ in range(10):
            cut(guest, host_a, proxy)


@PUMP
def test_the_guest_can_be_cancelled_while_there_is_no_connection(
    host_a: DaemonProcess, host_b: DaemonProcess, folder: Path, route: str
) -> None:
    with running_tiny(host_a, folder) as guest, Proxy(host_b.port) as proxy:
        with slow_migration(guest, host_a, host_b.uri_by(proxy.port)) as running:
            proxy.refuse()
            proxy.cut()
            host_a.wait_logged("connecting again")
            virsh("domjobabort", guest.name, uri=host_a.uri).expect()
            result = running.finish()
        assert not result.ok
        assert "canceled by client" in result.err
        assert state_of(guest.name, host_a) == "running"
        # The destination has not heard of it; it makes room as soon as the guest comes anew.
        virsh("migrate-setspeed", guest.name, FAST, uri=host_a.uri).expect()
        virsh(*P2P, guest.name, host_b.tcp_uri, uri=host_a.uri).expect()
        guest.assert_runs_only_on(host_b, host_a)


@PUMP
@pytest.mark.migration(reattach_seconds=1)
def test_cut_for_longer_than_the_limit(
    host_a: DaemonProcess, host_b: DaemonProcess, folder: Path, route: str
) -> None:
    """The migration fails with the reason, the destination gives up by itself, the guest runs on."""
    with running_tiny(host_a, folder) as guest, Proxy(host_b.port) as proxy:
        with slow_migration(guest, host_a, host_b.uri_by(proxy.port)) as running:
            proxy.refuse()
            proxy.cut()
            result = running.finish()
        host_b.wait_logged("state=gone")
        aftermath(guest, host_a, host_b, result, "could not be reached again within 1 s")


@PUMP
@pytest.mark.migration(dead_seconds=2)
def test_half_open(host_a: DaemonProcess, host_b: DaemonProcess, folder: Path, route: str) -> None:
    """No reset, no end of file: nothing comes any more. Silence is noticed, and the next connection goes through."""
    with (
        running_tiny(host_a, folder) as guest,
        Proxy(host_b.port) as proxy,
        interrupted(guest, host_a, proxy, host_b),
    ):
        proxy.stall()
        host_a.wait_logged("connecting again")
        proxy.resume()
        wait_for(lambda: interruptions(guest, host_a) > 0, "connected again")


@PUMP
@pytest.mark.parametrize("where", [CHANNEL_CALL, CHANNEL_REPLY], ids=["call", "reply"])
def test_cut_while_a_channel_is_attached_again(
    host_a: DaemonProcess, host_b: DaemonProcess, folder: Path, route: str, where: bytes
) -> None:
    with (
        running_tiny(host_a, folder) as guest,
        Proxy(host_b.port) as proxy,
        interrupted(guest, host_a, proxy, host_b),
    ):
        proxy.cut_on(where)
        cut(guest, host_a, proxy)


@PUMP
@pytest.mark.parametrize("where", [CHANNEL_CALL, CHANNEL_REPLY], ids=["call", "reply"])
def test_cut_while_a_channel_is_attached_for_the_first_time(
    host_a: DaemonProcess, host_b: DaemonProcess, folder: Path, route: str, where: bytes
) -> None:
    """Nothing has been sent, so nothing is lost: it fails at once, and can be tried again at once."""
    with running_tiny(host_a, folder) as guest, Proxy(host_b.port) as proxy:
        proxy.cut_on(where)
        result = virsh(*P2P, guest.name, host_b.uri_by(proxy.port), uri=host_a.uri)
        assert not result.ok
        guest.assert_runs_only_on(host_a, host_b)
        virsh(*P2P, guest.name, host_b.tcp_uri, uri=host_a.uri).expect()
        guest.assert_runs_only_on(host_b, host_a)


@PUMP
def test_cut_when_all_is_sent_and_nothing_finished(
    host_a: DaemonProcess, host_b: DaemonProcess, folder: Path, route: str
) -> None:
    """The connection of the calls is lost in mid-migration; the guest arrives by a new one."""
    with running_tiny(host_a, folder) as guest, Proxy(host_b.port) as proxy:
        with interrupted(guest, host_a, proxy, host_b):
            cut(guest, host_a, proxy)
            host_a.wait_logged("the migration goes on")
        host_a.wait_logged("connecting again to")
        guest.assert_runs_only_on(host_b, host_a)


# -- what is left --------------------------------------------------------------------------------------------------


@PUMP
def test_nothing_is_left_of_many_migrations(
    host_a: DaemonProcess, host_b: DaemonProcess, folder: Path, route: str
) -> None:
    """Descriptors and threads are what they were, after channels that ended well, were cut, and were cancelled."""
    hosts = (host_a, host_b)

    def there_and_back(guest: RunningGuest, *options: str) -> None:
        for source, destination in (hosts, reversed(hosts)):
            virsh(*P2P, *options, guest.name, destination.tcp_uri, uri=source.uri).expect()

    def cancelled(guest: RunningGuest) -> Result:
        with slow_migration(guest, host_a, host_b.tcp_uri, options=("--parallel-connections", "2")) as running:
            virsh("domjobabort", guest.name, uri=host_a.uri).expect()
            result = running.finish()
        virsh("migrate-setspeed", guest.name, FAST, uri=host_a.uri).expect()
        return result

    with running_tiny(host_a, folder) as guest, Proxy(host_b.port) as proxy:
        settled = [descriptors(host.pid) for host in hosts]
        there_and_back(guest)
        there_and_back(guest, "--parallel-connections", "4")
        assert not cancelled(guest).ok
        with interrupted(guest, host_a, proxy, host_b, "--parallel-connections", "2"):
            cut(guest, host_a, proxy)
        virsh(*P2P, guest.name, host_a.tcp_uri, uri=host_b.uri).expect()
        guest.assert_runs_only_on(host_a, host_b)
        wait_for(lambda: none_kept(settled, *hosts), f"descriptors are as they were: {settled}")
        # A daemon's own, its log's, the tests' guard, two for definitions, and those for its files; of more than
        # twenty channels' none.
        few = 5 + min(32, (os.cpu_count() or 1) + 4)
        wait_for(lambda: all(threads(host.pid) <= few for host in hosts), f"no more than {few} threads are left")


@pytest.mark.migration(attach_seconds=1)
async def test_a_ticket_that_nobody_has_used_expires(host_a: DaemonProcess, folder: Path) -> None:
    attempt = Attempt(folder)
    async with connected(host_a) as client:
        ticket = Ticket.parse(await attempt.prepare(client))
        await asyncio.sleep(1.1)
        async with refused(words="expired"):
            await attach(client, ticket.token(MAIN, 1))
        async with refused(words="cancelled"):
            await attempt.finish(client, DIRECT, cancelled=True)
    host_a.assert_no_leftovers()


@pytest.mark.parametrize("side", ["source", "destination"])
def test_descriptors_run_out(host_a: DaemonProcess, host_b: DaemonProcess, folder: Path, side: str) -> None:
    """It fails while nothing has happened, with the reason; with descriptors again, all is well."""
    short = host_a if side == "source" else host_b
    with running_tiny(host_a, folder) as guest:
        before = [descriptors(host.pid) for host in (host_a, host_b)]
        limits = resource.prlimit(short.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(short.pid, resource.RLIMIT_NOFILE, (descriptors(short.pid) + 12, limits[1]))
        result = virsh(*P2P, "--parallel-connections", "20", guest.name, host_b.tcp_uri, uri=host_a.uri)
        resource.prlimit(short.pid, resource.RLIMIT_NOFILE, limits)
        aftermath(guest, host_a, host_b, result)
        virsh(*P2P, "--parallel-connections", "20", guest.name, host_a.tcp_uri, uri=host_b.uri).expect()
        wait_for(lambda: none_kept(before, host_a, host_b), "none is kept")


TEXT = replace(SMALL, mib=64, dirty_mib=1, dirty_mib_s=1, fill="text")


@pytest.mark.parametrize("mode", ["auto", "on"])
def test_compression_on_a_slow_road(host_a: DaemonProcess, host_b: DaemonProcess, folder: Path, mode: str) -> None:
    """The road carries less than what the guest has; "auto" may find that the processor has no time for it."""
    with (
        running_tiny(host_a, folder, parameters=TEXT) as guest,
        Proxy(host_b.port, bytes_per_second=8 << 20) as proxy,
    ):
        virsh(*P2P, guest.name, f"{host_b.uri_by(proxy.port)}?compression={mode}", uri=host_a.uri).expect()
        guest.assert_runs_only_on(host_b, host_a)
        if mode == "on":  # what "auto" chooses is the processor's business: tests/tunnel/test_compression.py
            assert proxy.forwarded < 48 << 20


def test_compression_is_off_where_it_is_not_asked_for(
    host_a: DaemonProcess, host_b: DaemonProcess, folder: Path
) -> None:
    with running_tiny(host_a, folder, parameters=TEXT) as guest, Proxy(host_b.port) as proxy:
        virsh(*P2P, guest.name, f"{host_b.uri_by(proxy.port)}?route=pump", uri=host_a.uri).expect()
        guest.assert_runs_only_on(host_b, host_a)
        assert proxy.forwarded > 60 << 20
