"""What opens a migration is for the two daemons alone: no ticket is ever in a file of theirs, a log among them.

The tickets are read on the road, where they must be; then everything that either daemon has written is searched.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from culvert.ground import uri as uris
from tests.support import generation
from tests.support.culvert import culvert
from tests.support.daemon import DaemonProcess
from tests.support.guest import running_tiny, state_of
from tests.support.proxy import Proxy
from tests.support.virsh import Running, virsh
from tests.support.wait import wait_for
from tests.system.test_faults import sent
from tests.system.test_handover import FINISH_REPLY, waits_for_the_destination

ROAD = "127.0.0.2"
TICKET = rb"culvert-migration=[0-9a-f]{16}\.([0-9a-f]{64})"
CONFIG = f"""
[daemon]
log_level = "debug"
[migration]
host = "{ROAD}"
connect_seconds = 4
reattach_seconds = 2
"""
WAYS = {
    "p2p, direct": ("--p2p",),
    "p2p, tunnelled": ("--p2p", "--tunnelled"),
    "parallel": ("--p2p", "--parallel", "--parallel-connections", "2"),
    "client": (),
    "post-copy": ("--p2p", "--postcopy", "--postcopy-after-precopy"),
}
if not generation.KEEPS_PAGES_IN_POSTCOPY.here:
    del WAYS["post-copy"]


@contextmanager
def pair(folder: Path) -> Iterator[tuple[DaemonProcess, DaemonProcess, Proxy, Proxy]]:
    """Two daemons that log everything, and the only road to each."""
    with ExitStack() as stack:
        hosts = [
            stack.enter_context(DaemonProcess(folder / name, name=f"host-{name}", config=CONFIG)) for name in "ab"
        ]
        roads = [stack.enter_context(Proxy(host.port, address=ROAD, port=host.port)) for host in hosts]
        yield hosts[0], hosts[1], roads[0], roads[1]


def uri(road: Proxy) -> str:
    return f"qemu+tcp://{ROAD}:{road.port}/system"


def files(*hosts: DaemonProcess) -> Iterator[tuple[Path, bytes]]:
    """Everything that they have written so far."""
    for host in hosts:
        yield Path(f"log of {host.name}"), host.log.encode()
        for path in host.root.rglob("*"):
            if path.is_file():
                yield path, path.read_bytes()


def assert_in_no_file(secrets: set[bytes], *hosts: DaemonProcess) -> None:
    found = [str(path) for path, content in files(*hosts) if any(secret in content for secret in secrets)]
    assert not found


def last(host: DaemonProcess) -> dict[str, object]:
    newest, *_ = culvert("history", "--json", uri=host.uri).expect().splitlines()
    said: dict[str, object] = json.loads(newest)
    return said


def test_no_ticket_is_in_a_file_of_either_daemon(folder: Path) -> None:
    with pair(folder) as (host_a, host_b, road_a, road_b), running_tiny(host_a, folder, persistent=True) as guest:
        tickets_a, tickets_b = road_a.tap(TICKET), road_b.tap(TICKET)
        for options in WAYS.values():
            virsh("migrate", "--live", "--persistent", *options, guest.name, uri(road_b), uri=host_a.uri).expect()
            assert_in_no_file(tickets_b, host_a, host_b)
            virsh("migrate", "--live", *options, guest.name, uri(road_a), uri=host_b.uri).expect()
            assert_in_no_file(tickets_a | tickets_b, host_a, host_b)
        guest.assert_runs_only_on(host_a, host_b)
        assert len(tickets_a) >= len(WAYS) - 1  # a tunnelled one by libvirt's own stream needs none
        assert len(tickets_b) >= len(WAYS) - 1


@pytest.mark.parametrize("way", ["client", "parallel"])
def test_nor_when_its_way_is_lost(folder: Path, way: str) -> None:
    """Who cannot be reached any more is named in logs and answers, by an address without what opens it."""
    with pair(folder) as (host_a, host_b, _, road), running_tiny(host_a, folder) as guest:
        tickets = road.tap(TICKET)
        virsh("migrate-setspeed", guest.name, "1", uri=host_a.uri).expect()
        with Running(host_a.uri, "migrate", "--live", *WAYS[way], guest.name, uri(road)) as running:
            wait_for(lambda: sent(guest, host_a) > 0, "bytes flow")
            road.refuse()
            road.cut()
            told = running.finish(60)
        assert not told.ok
        wait_for(lambda: state_of(guest.uuid, host_a) == "running", "it goes on at the source")
        assert tickets
        assert not any(secret.decode() in told.err + told.out for secret in tickets)
        assert_in_no_file(tickets, host_a, host_b)


def test_a_client_s_migration_is_asked_for_by_its_name(folder: Path) -> None:
    """Whoever drove it, the source knows whom it waits for; so does the daemon that finds it in the journal."""
    with pair(folder) as (host_a, host_b, _, road), running_tiny(host_a, folder, persistent=True) as guest:
        tickets = road.tap(TICKET)
        road.cut_on(FINISH_REPLY, then_refuse=True)
        with Running(host_a.uri, "migrate", "--live", guest.name, uri(road)) as running:
            wait_for(lambda: waits_for_the_destination(guest, host_a), "the source waits")
            assert f"waiting for {uri(road)}" in virsh("domjobinfo", guest.name, uri=host_a.uri).out
            host_a.kill()
            running.finish()
        peer = uris.parse(_peer(host_a))
        assert (peer.host, peer.port) == (ROAD, road.port)
        road.refuse(False)
        host_a.start()
        wait_for(lambda: last(host_a)["step"] == "left", "it has heard that the guest runs there")
        guest.assert_runs_only_on(host_b, host_a)
        assert tickets
        assert_in_no_file(tickets, host_a, host_b)


def _peer(host: DaemonProcess) -> str:
    with sqlite3.connect(f"file:{host.root}/lib/migrations.sqlite?mode=ro", uri=True) as database:
        (peer,) = database.execute("SELECT peer FROM migration ORDER BY number DESC LIMIT 1").fetchone()
    database.close()
    return str(peer)
