"""Post-copy through the tunnel: asked for in every way virsh has, and taken up by itself when it has lost its way."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from guests import tiny
from tests.support import generation
from tests.support.culvert import culvert
from tests.support.daemon import DaemonProcess
from tests.support.guest import RunningGuest, running_tiny
from tests.support.proxy import Proxy
from tests.support.virsh import Running, virsh
from tests.support.wait import wait_for

pytestmark = generation.needs_postcopy

P2P = ("migrate", "--live", "--p2p", "--tunnelled", "--postcopy")
SLOW = ("--bandwidth", "1", "--postcopy-bandwidth", "1")
FASTER = "2000"
BROKEN = "running (post-copy failed)"
SUSPENDED = "event=3 detail=7"
"""In the log: VIR_DOMAIN_EVENT_SUSPENDED, VIR_DOMAIN_EVENT_SUSPENDED_POSTCOPY."""


@contextmanager
def in_postcopy(
    guest: RunningGuest, source: DaemonProcess, destination: DaemonProcess, where: str
) -> Iterator[Running]:
    """A migration that has gone over to post-copy and has a while to go."""
    with Running(source.uri, *P2P, *SLOW, guest.name, where) as running:
        wait_for(lambda: phase(guest, source) == "perform", "it sends")
        switch(guest, source)
        wait_for(lambda: "(post-copy)" in state(guest, destination), "the guest runs at the destination")
        assert state(guest, source) == "paused (post-copy)"
        yield running


def switch(guest: RunningGuest, source: DaemonProcess) -> None:
    """Go over to post-copy; QEMU must have begun to send for that."""
    wait_for(lambda: virsh("migrate-postcopy", guest.name, uri=source.uri).ok, "post-copy is begun")


def state(guest: RunningGuest, host: DaemonProcess) -> str:
    return virsh("domstate", "--reason", guest.uuid, uri=host.uri).out.strip()


def phase(guest: RunningGuest, host: DaemonProcess) -> str:
    out = culvert("job", guest.name, uri=host.uri).out
    return next((line.split()[1] for line in out.splitlines() if "culvert.phase" in line), "")


def has_noticed(guest: RunningGuest, source: DaemonProcess) -> bool:
    """Whether the source's QEMU knows that its way is lost, and the daemon says so."""
    asked = virsh("qemu-monitor-command", guest.name, '{"execute": "query-migrate"}', uri=source.uri).out
    return "postcopy-paused" in asked and state(guest, source) == "paused (post-copy failed)"


def faster(guest: RunningGuest, source: DaemonProcess) -> None:
    virsh("migrate-setspeed", "--postcopy", guest.name, FASTER, uri=source.uri).expect()


def steps(host: DaemonProcess) -> list[str]:
    """The steps of the newest migration in the history of ``host``."""
    newest = json.loads(culvert("history", "--limit", "1", "--json", uri=host.uri).expect())
    shown = json.loads(culvert("history", "show", str(newest["id"]), "--json", uri=host.uri).expect())
    return [line["step"] for line in shown["lines"]]


BY_CLIENT = ("migrate", "--live", "--postcopy")
WAYS = [
    pytest.param(("", P2P, 2), id="pump"),
    pytest.param(("?route=direct", P2P, 1), id="direct"),
    pytest.param(("", BY_CLIENT, 2), id="client"),
    pytest.param(("", BY_CLIENT, 1), id="client-direct", marks=pytest.mark.migration(route="direct")),
]
"""How the destination's URI ends, what is asked for, how many channels it has: one is for preempted pages."""


def channels(host: DaemonProcess) -> int:
    """Of the newest migration in the history of ``host``."""
    newest = json.loads(culvert("history", "--limit", "1", "--json", uri=host.uri).expect())
    return int(newest["figures"]["channels"])


@pytest.mark.parametrize("way", WAYS)
def test_after_a_round_of_precopy(
    host_a: DaemonProcess, host_b: DaemonProcess, folder: Path, way: tuple[str, tuple[str, ...], int]
) -> None:
    route, asked, expected = way
    with running_tiny(host_a, folder) as guest:
        after = ("--postcopy-after-precopy", *SLOW[:1], "4")
        virsh(*asked, *after, guest.name, host_b.tcp_uri + route, uri=host_a.uri).expect()
        guest.assert_runs_only_on(host_b, host_a)
        assert [channels(host_a), channels(host_b)] == [expected, expected]
        assert state(guest, host_b) == "running (migrated)"
        assert "postcopy" in steps(host_a)
        assert "held" in steps(host_b)
        host_a.assert_no_leftovers()
        assert "postcopy_failed" not in host_a.log, "nobody need look where all is well"


def test_at_any_time_and_it_cannot_be_taken_back(host_a: DaemonProcess, host_b: DaemonProcess, folder: Path) -> None:
    with running_tiny(host_a, folder) as guest:
        with in_postcopy(guest, host_a, host_b, host_b.tcp_uri) as running:
            told = culvert("job", guest.name, uri=host_a.uri).expect()
            assert "expected downtime" not in told, "the standstill is over"
            assert "can no longer be aborted" in virsh("domjobabort", guest.name, uri=host_a.uri).err
            refused = virsh("domjobabort", guest.name, "--postcopy", uri=host_a.uri)
            assert "is not interrupted by hand" in refused.err, refused
            faster(guest, host_a)
            running.finish().expect()
        guest.assert_runs_only_on(host_b, host_a)


def test_when_the_timeout_has_passed(host_a: DaemonProcess, host_b: DaemonProcess, folder: Path) -> None:
    with running_tiny(host_a, folder) as guest:
        options = ("--bandwidth", "1", "--timeout", "1", "--timeout-postcopy")
        virsh(*P2P, *options, guest.name, host_b.tcp_uri, uri=host_a.uri).expect()
        guest.assert_runs_only_on(host_b, host_a)


def test_a_migration_that_was_not_allowed_to(host_a: DaemonProcess, host_b: DaemonProcess, folder: Path) -> None:
    with running_tiny(host_a, folder) as guest:
        assert "outgoing migration is in progress" in virsh("migrate-postcopy", guest.name, uri=host_a.uri).err


@pytest.mark.migration(reattach_seconds=1)
@pytest.mark.parametrize("route", ["pump", "direct"])
def test_its_way_is_lost_for_longer_than_the_limit(
    host_a: DaemonProcess, host_b: DaemonProcess, folder: Path, route: str
) -> None:
    """By the pump QEMU notices nothing; by a connection of its own it does, and is given another one. Three times."""
    with running_tiny(host_a, folder) as guest, Proxy(host_b.port) as proxy:
        with in_postcopy(guest, host_a, host_b, host_b.uri_by(proxy.port) + f"?route={route}") as running:
            for notices in (route == "direct", False, False):  # what it is given then goes by the pump
                proxy.refuse()
                proxy.cut()
                wait_for(lambda: state(guest, host_a) == "paused (post-copy failed)", "the source says so")
                if notices:
                    wait_for(lambda: has_noticed(guest, host_a), "QEMU has noticed")
                    wait_for(lambda: state(guest, host_b) == BROKEN, "the destination says so")
                assert "waiting for" in culvert("list", uri=host_a.uri).expect()
                proxy.refuse(False)
                wait_for(lambda: state(guest, host_a) == "paused (post-copy)", "it has gone on")
                wait_for(lambda: state(guest, host_b) == "running (post-copy)", "the destination says so")
            faster(guest, host_a)
            running.finish().expect()
        guest.assert_runs_only_on(host_b, host_a)


@pytest.mark.parametrize("victim", ["source", "destination"])
def test_a_daemon_is_killed(host_a: DaemonProcess, host_b: DaemonProcess, folder: Path, victim: str) -> None:
    with running_tiny(host_a, folder) as guest:
        with in_postcopy(guest, host_a, host_b, host_b.tcp_uri) as running:
            (host_a if victim == "source" else host_b).restart(kill=True)
            wait_for(lambda: state(guest, host_a) == "paused (post-copy)", "it has gone on")
            faster(guest, host_a)
            if victim == "destination":
                running.finish().expect()
            else:
                running.finish()
                wait_for(lambda: not state(guest, host_a), "the guest has left")
        guest.assert_runs_only_on(host_b, host_a)
        assert state(guest, host_b) == "running (migrated)"


def test_a_daemon_that_is_killed_beside_the_way_changes_nothing(
    host_a: DaemonProcess, host_b: DaemonProcess, folder: Path
) -> None:
    """On the route direct QEMU has the connection itself: the pages go on, and nobody is told otherwise."""
    big = tiny.TinyParameters(mib=96, dirty_mib=80, dirty_mib_s=200, pass_s=0.5)
    with running_tiny(host_a, folder, parameters=big) as guest:
        with in_postcopy(guest, host_a, host_b, host_b.tcp_uri + "?route=direct") as running:
            host_b.kill()
            wait_for(lambda: "waiting for" in culvert("list", uri=host_a.uri).out, "it asks")
            assert state(guest, host_a) == "paused (post-copy)"
            host_b.start()
            wait_for(lambda: "waiting for" not in culvert("list", uri=host_a.uri).out, "it has been answered")
            assert state(guest, host_a) == "paused (post-copy)"
            faster(guest, host_a)
            running.finish().expect()
        guest.assert_runs_only_on(host_b, host_a)
    assert host_a.log.count("state=postcopy_failed") == 1
    assert host_a.log.count(SUSPENDED) == 1, "one event for the switch, and no other"


@pytest.mark.migration(reattach_seconds=1)
def test_the_source_s_daemon_is_killed_while_the_way_is_lost(
    host_a: DaemonProcess, host_b: DaemonProcess, folder: Path
) -> None:
    with running_tiny(host_a, folder) as guest, Proxy(host_b.port) as proxy:
        with in_postcopy(guest, host_a, host_b, host_b.uri_by(proxy.port)) as running:
            proxy.refuse()
            host_a.restart(kill=True)
            assert state(guest, host_a) == "paused (post-copy failed)"
            wait_for(lambda: state(guest, host_b) == BROKEN, "the destination says so")
            proxy.refuse(False)
            wait_for(lambda: state(guest, host_a) == "paused (post-copy)", "it has gone on")
            wait_for(lambda: state(guest, host_b) == "running (post-copy)", "the destination says so")
            faster(guest, host_a)
            running.finish()
            wait_for(lambda: not state(guest, host_a), "the guest has left")
        guest.assert_runs_only_on(host_b, host_a)


@pytest.mark.parametrize("victim", ["source", "destination"])
def test_a_qemu_is_killed(host_a: DaemonProcess, host_b: DaemonProcess, folder: Path, victim: str) -> None:
    """One half of the guest is gone, and the other one is of no use: that is said, and an operator ends the wait."""
    with running_tiny(host_a, folder) as guest:
        with in_postcopy(guest, host_a, host_b, host_b.tcp_uri) as running:
            (pid,) = (host_a if victim == "source" else host_b).qemu_pids()
            os.kill(pid, signal.SIGKILL)
            told = running.finish()
        assert not told.ok
        assert "culvert resolve" in told.err, told
        assert "'culvert resolve" in culvert("list", uri=host_a.uri).expect()
        culvert("resolve", guest.uuid, "--running-there", "--yes", uri=host_a.uri).expect()
        host_a.assert_no_leftovers()
        if victim == "source":
            assert state(guest, host_b) == BROKEN
            virsh("destroy", guest.name, uri=host_b.uri).expect()
        host_b.assert_no_leftovers()


@pytest.mark.migration(stall_seconds=2)
def test_a_source_that_hangs_when_post_copy_is_asked_for(
    host_a: DaemonProcess, host_b: DaemonProcess, folder: Path
) -> None:
    """Whether it has switched only QEMU knows: that is said, nobody runs the guest, and it goes on when QEMU does."""
    with running_tiny(host_a, folder) as guest:
        with Running(host_a.uri, *P2P, *SLOW, guest.name, host_b.tcp_uri) as running:
            wait_for(lambda: phase(guest, host_a) == "perform", "it sends")
            (pid,) = host_a.qemu_pids()
            os.kill(pid, signal.SIGSTOP)
            try:
                switch(guest, host_a)
                told = running.finish()
                assert not told.ok
                assert "lives and does not answer" in told.err, told
                assert "lives and does not answer" in culvert("list", uri=host_a.uri).expect()
                assert state(guest, host_b) == "paused (migrating)"
                refused = culvert("resolve", guest.uuid, "--running-here", "--yes", uri=host_a.uri)
                assert "'switching'" in refused.err, refused
            finally:
                os.kill(pid, signal.SIGCONT)
            wait_for(lambda: "(post-copy)" in state(guest, host_b), "the guest runs at the destination")
            assert "does not answer" not in culvert("list", uri=host_a.uri).expect()
            faster(guest, host_a)
            wait_for(lambda: not state(guest, host_a), "the guest has left")
        guest.assert_runs_only_on(host_b, host_a)
        assert state(guest, host_b) == "running (migrated)"


@pytest.mark.migration(reattach_seconds=1)
def test_it_can_be_resumed_by_hand(host_a: DaemonProcess, host_b: DaemonProcess, folder: Path) -> None:
    with running_tiny(host_a, folder) as guest, Proxy(host_b.port) as proxy:
        with in_postcopy(guest, host_a, host_b, host_b.uri_by(proxy.port) + "?route=direct") as running:
            proxy.refuse()
            proxy.cut()
            wait_for(lambda: has_noticed(guest, host_a), "QEMU has noticed")
            proxy.refuse(False)
            resume = ("migrate", "--live", "--p2p", "--postcopy", "--postcopy-resume", guest.name, host_b.tcp_uri)
            with Running(host_a.uri, *resume) as resuming:
                wait_for(lambda: state(guest, host_a) == "paused (post-copy)", "it has gone on")
                faster(guest, host_a)
                resuming.finish().expect()
            running.finish().expect()
        guest.assert_runs_only_on(host_b, host_a)


def test_auto_goes_over_to_it_when_the_guest_does_not_converge(
    host_a: DaemonProcess, host_b: DaemonProcess, folder: Path
) -> None:
    """And says why: in the job that is over, and in the history."""
    busy = tiny.TinyParameters(mib=32, dirty_mib=16, dirty_mib_s=200, pass_s=0.5)
    with running_tiny(host_a, folder, parameters=busy) as guest:
        slow = ("--auto", "--bandwidth", "20")
        culvert("migrate", *slow, guest.name, host_b.tcp_uri, uri=host_a.uri).expect()
        guest.assert_runs_only_on(host_b, host_a)
        newest = json.loads(culvert("history", "--limit", "1", "--json", uri=host_a.uri).expect())
        lines = json.loads(culvert("history", "show", str(newest["id"]), "--json", uri=host_a.uri).expect())["lines"]
        decided = [line["text"] for line in lines if line["text"].startswith("auto: ")]
        assert any(text.startswith("auto: post-copy: ") for text in decided), decided
        assert "postcopy" in steps(host_a)


@pytest.fixture
def without_userfaultfd(folder: Path) -> Iterator[DaemonProcess]:
    """A host whose QEMU cannot be given a page after its guest has asked for it."""
    root = folder / "w"
    root.mkdir()
    within = (sys.executable, "-m", "tests.support.no_userfaultfd")
    with DaemonProcess(root, name="without", within=within) as host:
        yield host


def test_auto_does_without_it_where_the_destination_cannot_have_it(
    host_a: DaemonProcess, without_userfaultfd: DaemonProcess, folder: Path
) -> None:
    """What only --auto wanted is no reason to refuse; what a person asks for is."""
    there = without_userfaultfd
    with running_tiny(host_a, folder) as guest:
        refused = virsh(*P2P, guest.name, there.tcp_uri, uri=host_a.uri)
        assert "userfaultfd" in refused.err
        guest.assert_runs_only_on(host_a, there)
        culvert("migrate", "--auto", guest.name, there.tcp_uri, uri=host_a.uri).expect()
        guest.assert_runs_only_on(there, host_a)
        newest = json.loads(culvert("history", "--limit", "1", "--json", uri=host_a.uri).expect())
        lines = json.loads(culvert("history", "show", str(newest["id"]), "--json", uri=host_a.uri).expect())["lines"]
        told = [line["text"] for line in lines if line["text"]]
        assert any(text.startswith("auto: without post-copy: ") and "userfaultfd" in text for text in told), told
        assert any(text.endswith("4 channels instead") for text in told), told
        assert '"culvert.channels": 5' in culvert("job", "--completed", "--json", guest.uuid, uri=there.uri).expect()
        assert any("the link carries" in text for text in told), told
        assert "held" not in steps(there)
        host_a.assert_no_leftovers()


def test_armed_and_never_used_it_is_no_hindrance_and_the_limit_stays_the_persons(
    host_a: DaemonProcess, host_b: DaemonProcess, folder: Path
) -> None:
    """QEMU has been told less than what the person allows; the person is told what he has said."""
    with running_tiny(host_a, folder) as guest:
        virsh("migrate-setmaxdowntime", guest.name, "234", uri=host_a.uri).expect()
        with Running(host_a.uri, *P2P, "--bandwidth", "4", guest.name, host_b.tcp_uri) as running:
            ask = ("qemu-monitor-command", guest.name, '{"execute": "query-migrate-parameters"}')
            wait_for(
                lambda: '"downtime-limit":20,' in virsh(*ask, uri=host_a.uri).out.replace(" ", ""), "a brief one"
            )
            assert virsh("migrate-getmaxdowntime", guest.name, uri=host_a.uri).out.strip() == "234"
            virsh("migrate-setmaxdowntime", guest.name, "345", uri=host_a.uri).expect()
            assert '"downtime-limit":345,' in virsh(*ask, uri=host_a.uri).out.replace(" ", "")
            assert virsh("migrate-getmaxdowntime", guest.name, uri=host_a.uri).out.strip() == "345"
            virsh("migrate-setspeed", guest.name, FASTER, uri=host_a.uri).expect()
            running.finish().expect()
        guest.assert_runs_only_on(host_b, host_a)


@pytest.mark.migration(bandwidth=2)
def test_the_host_s_budget_limits_post_copy_too(host_a: DaemonProcess, host_b: DaemonProcess, folder: Path) -> None:
    """QEMU is told, whatever a person says beside it; that is shown as it was said."""

    def told() -> int:
        command = '{"execute": "query-migrate-parameters"}'
        answer = json.loads(virsh("qemu-monitor-command", guest.name, command, uri=host_a.uri).expect())
        return int(answer["return"]["max-postcopy-bandwidth"]) >> 20

    def said() -> str:
        return virsh("migrate-getspeed", "--postcopy", guest.name, uri=host_a.uri).expect().strip()

    with running_tiny(host_a, folder) as guest:
        with Running(host_a.uri, *P2P, guest.name, host_b.tcp_uri) as moving:
            wait_for(lambda: phase(guest, host_a) == "perform", "it sends")
            wait_for(lambda: told() == 2, "QEMU knows before the switch")
            assert said() == "0"
            faster(guest, host_a)
            assert (told(), said()) == (2, FASTER)
            switch(guest, host_a)
            wait_for(lambda: "(post-copy)" in state(guest, host_b), "the guest runs at the destination")
            virsh("migrate-setspeed", "--postcopy", guest.name, "1", uri=host_a.uri).expect()
            assert (told(), said()) == (1, "1")
            faster(guest, host_a)
            assert (told(), said()) == (2, FASTER)
            moving.finish(120).expect()
        guest.assert_runs_only_on(host_b, host_a)


@pytest.mark.migration(bandwidth=2)
def test_what_a_person_has_said_is_there_after_a_migration_that_failed(
    host_a: DaemonProcess, host_b: DaemonProcess, folder: Path
) -> None:
    with running_tiny(host_a, folder) as guest:
        virsh("migrate-setspeed", "--postcopy", guest.name, "7", uri=host_a.uri).expect()
        for more in ((), ("--postcopy-bandwidth", "5")):
            with Running(host_a.uri, *P2P, *more, guest.name, host_b.tcp_uri) as moving:
                wait_for(lambda: phase(guest, host_a) == "perform", "it sends")
                virsh("domjobabort", guest.name, uri=host_a.uri).expect()
                assert not moving.finish().ok
            told = virsh("migrate-getspeed", "--postcopy", guest.name, uri=host_a.uri).expect()
            assert told.strip() == "7"
        guest.assert_runs_only_on(host_a, host_b)
