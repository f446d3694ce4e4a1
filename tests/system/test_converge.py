"""What makes a busy guest converge, and what cannot be had together, asked for by the real virsh."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from culvert.protocol.constants_migrate import CULVERT_DOWNTIMES
from guests import tiny
from tests.support import generation
from tests.support.culvert import culvert
from tests.support.daemon import DaemonProcess
from tests.support.guest import running_tiny
from tests.support.virsh import Running, virsh
from tests.support.wait import wait_for

P2P = ("migrate", "--live", "--p2p", "--tunnelled")
BUSY = tiny.TinyParameters(mib=32, dirty_mib=4, dirty_mib_s=20, pass_s=0.5)


def asked(name: str, host: DaemonProcess, command: str) -> dict[str, Any]:
    """What the QEMU of a guest answers."""
    answer = json.loads(virsh("qemu-monitor-command", name, json.dumps({"execute": command}), uri=host.uri).expect())
    found: dict[str, Any] = answer["return"]
    return found


WAYS = [
    ("--auto-converge", "--auto-converge-initial", "40", "--auto-converge-increment", "30"),
    ("--compressed",),
    ("--compressed", "--comp-methods", "xbzrle", "--comp-xbzrle-cache", str(16 << 20)),
    ("--parallel-connections", "2", "--comp-methods", "zstd"),
    ("--parallel-connections", "2", "--comp-methods", "zlib"),
    pytest.param(("--postcopy",), marks=generation.needs_postcopy),
    pytest.param(("--postcopy", "--postcopy-bandwidth", "100", "--auto-converge"), marks=generation.needs_postcopy),
]


@pytest.mark.parametrize("options", WAYS, ids=" ".join)
def test_a_busy_guest_arrives(
    host_a: DaemonProcess, host_b: DaemonProcess, folder: Path, options: tuple[str, ...]
) -> None:
    with running_tiny(host_a, folder, parameters=BUSY) as guest:
        virsh(*P2P, *options, guest.name, host_b.tcp_uri, uri=host_a.uri).expect()
        guest.assert_runs_only_on(host_b, host_a)


REFUSED = [
    pytest.param(
        ("--postcopy", "--parallel-connections", "2"),
        "QEMU can do both at once only from 10.1 on",
        marks=generation.needs_postcopy,
    ),
    (("--postcopy", "--suspend"), "--postcopy and --suspend cannot be had together"),
    (("--parallel-connections", "2", "--compressed"), "by zlib or zstd"),
    (("--comp-methods", "zstd"), "only parallel connections"),
    (("--comp-methods", "mt"), "compression method 'mt' is not supported"),
    (("--auto-converge-initial", "40"), "Turn auto convergence on to tune it"),
    (("--comp-xbzrle-cache", "4096"), "Turn xbzrle compression on to tune it"),
    (("--zerocopy", "--parallel-connections", "2"), "cannot send without copying"),
    (("--tls",), "qemu+tls"),
    (("--parallel-connections", "2", "--comp-methods", "mt"), "compression method 'mt' is not supported"),
    (("--postcopy", "--postcopy-resume"), "no post-copy migration that could be resumed"),
]


@pytest.mark.parametrize(("options", "words"), REFUSED, ids=lambda value: " ".join(value)[:40])
def test_what_cannot_be_had_is_refused_before_anything_starts(
    host_a: DaemonProcess, host_b: DaemonProcess, folder: Path, options: tuple[str, ...], words: str
) -> None:
    with running_tiny(host_a, folder) as guest:
        result = virsh(*P2P, *options, guest.name, host_b.tcp_uri, uri=host_a.uri)
        assert words in result.err, result
        guest.assert_runs_only_on(host_a, host_b)


@generation.needs_postcopy
def test_what_is_asked_of_one_migration_is_not_asked_of_the_next(
    host_a: DaemonProcess, host_b: DaemonProcess, folder: Path
) -> None:
    """Neither where it was given up nor where the guest has arrived; what a person has set holds again."""
    asks = ("--postcopy", "--postcopy-bandwidth", "3", "--compressed", "--comp-xbzrle-cache", str(1 << 20))
    with running_tiny(host_a, folder) as guest:
        virsh("migrate-setspeed", guest.name, "7", "--postcopy", uri=host_a.uri).expect()
        before = virsh("migrate-compcache", guest.name, uri=host_a.uri).expect()
        with Running(host_a.uri, *P2P, *asks, "--bandwidth", "1", guest.name, host_b.tcp_uri) as migrating:
            wait_for(lambda: asked(guest.name, host_a, "query-migrate").get("status") == "active", "it sends")
            assert virsh("migrate-getspeed", guest.name, "--postcopy", uri=host_a.uri).expect().strip() == "3"
            virsh("domjobabort", guest.name, uri=host_a.uri).expect()
            assert not migrating.finish().ok
        assert virsh("migrate-getspeed", guest.name, "--postcopy", uri=host_a.uri).expect().strip() == "7"
        assert virsh("migrate-compcache", guest.name, uri=host_a.uri).expect() == before
        virsh(*P2P, *asks, guest.name, host_b.tcp_uri, uri=host_a.uri).expect()
        guest.assert_runs_only_on(host_b, host_a)
        assert virsh("migrate-getspeed", guest.name, "--postcopy", uri=host_b.uri).expect().strip() == "0"
        assert virsh("migrate-compcache", guest.name, uri=host_b.uri).expect() == before


@generation.needs_postcopy
def test_post_copy_is_not_for_a_way_that_goes_one_way(
    host_a: DaemonProcess, host_b: DaemonProcess, folder: Path
) -> None:
    with running_tiny(host_a, folder) as guest:
        result = virsh(*P2P, "--postcopy", guest.name, f"{host_b.tcp_uri}?route=stream", uri=host_a.uri)
        assert "could not ask for pages" in result.err, result
        guest.assert_runs_only_on(host_a, host_b)


@generation.needs_postcopy
def test_urgent_pages_have_a_channel_of_their_own(host_a: DaemonProcess, host_b: DaemonProcess, folder: Path) -> None:
    with running_tiny(host_a, folder) as guest:
        virsh(*P2P, "--postcopy", guest.name, host_b.tcp_uri, uri=host_a.uri).expect()
        guest.assert_runs_only_on(host_b, host_a)
        told = culvert("job", "--completed", guest.name, uri=host_b.uri).expect()
        assert re.search(r"culvert\.route +pump\n", told), told
        assert re.search(r"culvert\.channels +2\n", told), told


def test_what_virsh_changes_of_a_guest_that_is_not_migrating(host_a: DaemonProcess, folder: Path) -> None:
    with running_tiny(host_a, folder) as guest:
        virsh("migrate-setspeed", guest.name, "7", "--postcopy", uri=host_a.uri).expect()
        assert virsh("migrate-getspeed", guest.name, "--postcopy", uri=host_a.uri).expect().strip() == "7"
        assert virsh("migrate-getspeed", guest.name, uri=host_a.uri).expect().strip() != "7"
        virsh("migrate-compcache", guest.name, "--size", str(32 << 20), uri=host_a.uri).expect()
        assert "32.000 MiB" in virsh("migrate-compcache", guest.name, uri=host_a.uri).expect()
        virsh("migrate-setmaxdowntime", guest.name, "450", uri=host_a.uri).expect()
        assert virsh("migrate-getmaxdowntime", guest.name, uri=host_a.uri).expect().strip() == "450"
        result = virsh("migrate-postcopy", guest.name, uri=host_a.uri)
        assert "while outgoing migration is in progress" in result.err, result


POST_COPY = pytest.param(("--postcopy", "--postcopy-after-precopy"), marks=generation.needs_postcopy)


@pytest.mark.parametrize("more", [(), POST_COPY], ids=["pre-copy", "post-copy"])
def test_what_is_said_of_a_migration_under_way_and_afterwards(
    host_a: DaemonProcess, host_b: DaemonProcess, folder: Path, more: tuple[str, ...]
) -> None:
    with running_tiny(host_a, folder, parameters=BUSY, persistent=True) as guest:
        command = ("migrate", guest.name, host_b.tcp_uri, "--bandwidth", "20", "--json", *more)
        lines = [json.loads(line) for line in culvert(*command, uri=host_a.uri).expect().splitlines()]
        guest.assert_runs_only_on(host_b, host_a)
        looks = [line for line in lines if line["event"] == "progress" and line["phase"] == "perform"]
        percents = [look["percent"] for look in looks]
        assert percents == sorted(percents)
        assert any(look["remaining_seconds"] for look in looks)
        told = culvert("job", "--completed", guest.name, uri=host_a.uri)
        result = lines[-1]["job"]
        assert result["percent"] == 100, told
        assert list(result["downtime_parts_ms"]) == list(CULVERT_DOWNTIMES)
        assert sum(result["downtime_parts_ms"].values()) == pytest.approx(result["downtime_ms"], abs=5)
        history = culvert("history", "--domain", guest.name, "--json", uri=host_a.uri)
        assert all(f'"{name}"' in history.out for name in CULVERT_DOWNTIMES.values()), history


@pytest.mark.migration(auto=True, auto_floor=90)
def test_a_guest_keeps_as_much_as_is_configured(host_a: DaemonProcess, host_b: DaemonProcess, folder: Path) -> None:
    parameters = tiny.TinyParameters(mib=32, dirty_mib=16, dirty_mib_s=40, pass_s=0.5)
    with running_tiny(host_a, folder, parameters=parameters, persistent=True) as guest:
        where = f"{host_b.tcp_uri}?route=stream"
        with Running(host_a.uri, *P2P, "--bandwidth", "20", guest.name, where) as migrating:
            shown = "auto: slow the guest down"
            wait_for(lambda: shown in culvert("history", "show", "1", uri=host_a.uri).out, "a decision")
            told = asked(guest.name, host_a, "query-migrate-parameters")
            assert told["max-cpu-throttle"] == told["cpu-throttle-initial"] == 10
            virsh("migrate-setspeed", guest.name, "2000", uri=host_a.uri).expect()
            migrating.finish(60).expect()
        guest.assert_runs_only_on(host_b, host_a)


DECIDED = [
    pytest.param(P2P, "post-copy", marks=generation.needs_postcopy),
    (("migrate", "--live"), "slow the guest down"),
    pytest.param(("migrate", "--live", "--postcopy"), "post-copy", marks=generation.needs_postcopy),
]


@pytest.mark.migration(auto=True)
@pytest.mark.parametrize(("command", "decision"), DECIDED, ids=lambda value: " ".join(value)[:40])
def test_every_client_gets_it_where_it_is_configured(
    host_a: DaemonProcess, host_b: DaemonProcess, folder: Path, command: tuple[str, ...], decision: str
) -> None:
    """Also one that drives the steps itself: then post-copy is what it has prepared."""
    parameters = tiny.TinyParameters(mib=32, dirty_mib=16, dirty_mib_s=200, pass_s=0.5)
    with running_tiny(host_a, folder, parameters=parameters, persistent=True) as guest:
        with Running(host_a.uri, *command, "--bandwidth", "12", guest.name, host_b.tcp_uri) as migrating:
            shown = f"auto: {decision}: "
            wait_for(lambda: shown in culvert("history", "show", "1", uri=host_a.uri).out, "a decision")
            virsh("migrate-setspeed", guest.name, "2000", uri=host_a.uri)  # it may have arrived
            migrating.finish(60).expect()
        guest.assert_runs_only_on(host_b, host_a)
        assert "culvert.auto" in culvert("job", "--completed", guest.name, uri=host_a.uri).expect()


def test_auto_slows_a_guest_down_that_does_not_converge_and_says_so(
    host_a: DaemonProcess, host_b: DaemonProcess, folder: Path
) -> None:
    """Asked for in the destination's URI, which an unmodified virsh passes on."""
    parameters = tiny.TinyParameters(mib=32, dirty_mib=16, dirty_mib_s=40, pass_s=0.5)
    with running_tiny(host_a, folder, parameters=parameters, persistent=True) as guest:
        where = f"{host_b.tcp_uri}?auto=on&route=stream"
        with Running(host_a.uri, *P2P, "--bandwidth", "20", guest.name, where) as migrating:
            wait_for(lambda: asked(guest.name, host_a, "query-migrate").get("status") == "active", "it sends")
            # QEMU's own limit of 99 would leave the guest less than the floor.
            assert asked(guest.name, host_a, "query-migrate-parameters")["max-cpu-throttle"] <= 70
            wait_for(lambda: "slow the guest down" in culvert("job", guest.name, uri=host_a.uri).out, "a decision")
            virsh("migrate-setspeed", guest.name, "2000", uri=host_a.uri).expect()
            migrating.finish(60).expect()
        guest.assert_runs_only_on(host_b, host_a)
        told = culvert("history", "show", "1", uri=host_a.uri).expect()
        assert re.search(r"auto: slow the guest down: the guest changes", told), told
        result = virsh(*P2P, guest.name, f"{host_a.tcp_uri}?auto=perhaps", uri=host_b.uri)
        assert "'perhaps' is not one of on, off" in result.err
