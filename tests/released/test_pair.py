"""The checkout's daemon and the last released one: a guest moves from one to the other and back, in every way."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from operator import attrgetter
from pathlib import Path

import pytest

from tests.released import install
from tests.support import generation
from tests.support.culvert import CHECKOUT, culvert
from tests.support.daemon import DaemonProcess
from tests.support.guest import RunningGuest, running_tiny
from tests.support.history import told
from tests.support.pki import Pki
from tests.support.proxy import Proxy
from tests.support.virsh import virsh
from tests.support.wait import wait_for
from tests.system import test_tls as tls
from tests.system.test_faults import EVERY_ROUTE, P2P, aftermath, slow_migration
from tests.system.test_migrate import assert_moved
from tests.system.test_postcopy import faster, has_noticed, in_postcopy, state
from tests.system.test_pump import PUMP, cut, interrupted

pytestmark = pytest.mark.timeout(install.DEADLINE + 180)  # the first of them waits until it is installed

Hosts = tuple[DaemonProcess, DaemonProcess]
Words = tuple[str, ...]

CLIENT: Words = ("migrate", "--live")
POSTCOPY: Words = ("--postcopy", "--postcopy-after-precopy", "--bandwidth", "8")


def assert_took(
    route: str, channels: int, guest: RunningGuest, source: DaemonProcess, destination: DaemonProcess
) -> None:
    """It has moved, whole, by that way; the job says so, and the history of both."""
    assert_moved(guest, source, destination)
    job = virsh("domjobinfo", "--completed", "--rawstats", guest.name, uri=destination.uri).expect()
    assert re.search(rf"^culvert\.route: {route}$", job, re.MULTILINE), job
    assert re.search(rf"^culvert\.channels: {channels}$", job, re.MULTILINE), job
    for host in (source, destination):
        said = told(host)
        assert (said.route, said.channels) == (route, channels), f"{host.name}: {said}"


def both_ways(one: DaemonProcess, other: DaemonProcess) -> Iterator[Hosts]:
    """Source and destination, there and back."""
    yield one, other
    yield other, one


def there_and_back(
    route: str,
    asked: Mapping[Words, int],
    guest: RunningGuest,
    hosts: Hosts,
    *,
    uri: Callable[[DaemonProcess], str] = attrgetter("tcp_uri"),
) -> Iterator[Hosts]:
    """Move ``guest`` both ways with each of the commands in ``asked``, by so many channels; after each: its hosts.

    ``uri``: how a destination is reached.
    """
    for words, channels in asked.items():
        for source, destination in both_ways(*hosts):
            result = virsh(*words, guest.name, uri(destination), uri=source.uri)
            assert result.ok, f"{' '.join(words)}, from {source.name} to {destination.name}: {result.err}"
            assert_took(route, channels, guest, source, destination)
            yield source, destination


# -- every route, asked for by a client of the source and by a client of both ----------------------------------------

ROUTES: dict[str, tuple[str, dict[Words, int]]] = {
    "stream": ("stream", {P2P: 1, CLIENT: 1}),
    "direct": ("direct", {P2P: 1, CLIENT: 1}),
    "pump": ("pump", {P2P: 1, CLIENT: 1}),
    "many": (
        "pump",
        {(*P2P, "--parallel-connections", "3"): 4, (*CLIENT, "--parallel", "--parallel-connections", "3"): 4},
    ),
}


@pytest.mark.parametrize(("route", "asked"), ROUTES.values(), ids=ROUTES)
def test_there_and_back(
    host_a: DaemonProcess, host_released: DaemonProcess, folder: Path, route: str, asked: dict[Words, int]
) -> None:
    with running_tiny(host_a, folder) as guest:
        moves = list(there_and_back(route, asked, guest, (host_a, host_released)))
        assert len(moves) == 4
    assert "Traceback" not in host_a.log + host_released.log


def test_by_tls(folder: Path, released: install.Installed) -> None:
    pki = Pki(folder / "pki")
    here, there = pki.holder("here"), pki.holder("there")
    with (
        tls.daemon(folder, "a", here.config()) as host_a,
        tls.daemon(folder, "released", there.config(), program=[released.program("culvertd")]) as host_released,
        running_tiny(host_a, folder) as guest,
    ):
        hosts = (host_a, host_released)
        for _ in there_and_back(
            "pump", {P2P: 1, CLIENT: 1}, guest, hosts, uri=lambda host: host.tls_uri(pkipath=here.folder)
        ):
            pass
        for host in hosts:
            host.wait_logged("identity=")
            assert "session open id=1 transport=tcp" not in host.log
            assert "Traceback" not in host.log


@generation.needs_postcopy
def test_post_copy(host_a: DaemonProcess, host_released: DaemonProcess, folder: Path) -> None:
    """With the channel for preempted pages where the source itself asks the destination whether it has it."""
    asked = {(*P2P, *POSTCOPY): 2, (*CLIENT, *POSTCOPY): 1}
    with running_tiny(host_a, folder) as guest:
        for source, destination in there_and_back("pump", asked, guest, (host_a, host_released)):
            assert "postcopy" in told(source).steps
            assert {"held", "postcopy"} <= set(told(destination).steps)


def test_the_command_of_each_with_the_daemon_of_the_other(
    host_a: DaemonProcess, host_released: DaemonProcess, folder: Path, released: install.Installed
) -> None:
    """Compressed in the tunnel, and with ``--auto``, which measures the link first."""
    programs = {host_a: [released.program("culvert")], host_released: CHECKOUT}
    many = ("--route", "pump", "--parallel", "--parallel-connections", "2", "--compression", "on")
    with running_tiny(host_a, folder) as guest:
        for source, destination in both_ways(host_a, host_released):
            result = culvert(
                "migrate", *many, guest.name, destination.tcp_uri, uri=source.uri, program=programs[source]
            )
            assert "route pump, 3 channels" in result.expect()
            assert_took("pump", 3, guest, source, destination)
        for source, destination in both_ways(host_a, host_released):
            words = ("migrate", "--auto", guest.name, destination.tcp_uri)
            culvert(*words, uri=source.uri, program=programs[source]).expect()
            assert_moved(guest, source, destination)
            assert any("the link carries" in text for text in told(source).texts), told(source)


# -- what goes wrong -------------------------------------------------------------------------------------------------


@PUMP
@pytest.mark.parametrize("options", [(), ("--parallel-connections", "2")], ids=["one", "three"])
def test_cut_connections_are_attached_again(
    host_a: DaemonProcess, host_released: DaemonProcess, folder: Path, route: str, options: Words
) -> None:
    with running_tiny(host_a, folder) as guest:
        for source, destination in both_ways(host_a, host_released):
            with Proxy(destination.port) as proxy, interrupted(guest, source, proxy, destination, *options):
                cut(guest, source, proxy)
            assert_took(route, 3 if options else 1, guest, source, destination)
    assert "Traceback" not in host_a.log + host_released.log


@EVERY_ROUTE
def test_aborted_half_way(host_a: DaemonProcess, host_released: DaemonProcess, folder: Path, route: str) -> None:
    with running_tiny(host_a, folder) as guest:
        for source, destination in both_ways(host_a, host_released):
            with slow_migration(guest, source, destination.tcp_uri) as running:
                virsh("domjobabort", guest.name, uri=source.uri).expect()
                result = running.finish()
            aftermath(guest, source, destination, result, "canceled by client")
    assert "Traceback" not in host_a.log + host_released.log


def regain(guest: RunningGuest, source: DaemonProcess, destination: DaemonProcess) -> None:
    """A post-copy by a connection of QEMU's own, which is lost; it goes on by another way, and ends."""
    with Proxy(destination.port) as proxy:
        where = destination.uri_by(proxy.port) + "?route=direct"
        with in_postcopy(guest, source, destination, where) as running:
            proxy.refuse()
            proxy.cut()
            wait_for(lambda: has_noticed(guest, source), "QEMU has noticed")
            proxy.refuse(False)
            wait_for(lambda: state(guest, source) == "paused (post-copy)", "it has gone on")
            faster(guest, source)
            running.finish().expect()
    assert_moved(guest, source, destination)


@pytest.mark.migration(reattach_seconds=1)
@generation.needs_postcopy
def test_a_post_copy_that_has_lost_its_way_is_given_another(
    host_a: DaemonProcess, host_released: DaemonProcess, folder: Path
) -> None:
    with running_tiny(host_a, folder) as guest:
        for source, destination in both_ways(host_a, host_released):
            regain(guest, source, destination)
    assert "Traceback" not in host_a.log + host_released.log
