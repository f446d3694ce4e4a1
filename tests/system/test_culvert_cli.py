"""The ``culvert`` command line against real daemons and real guests: every command, every display, every exit code.

Whatever happens to a migration, the last words say where the guest is now, and they are true.
"""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from culvert.cli.exits import MEANINGS, Exit
from guests import domain_xml
from tests.support.culvert import Running, culvert, json_lines
from tests.support.daemon import DaemonProcess
from tests.support.guest import SMALL, RunningGuest, running_tiny, state_of
from tests.support.proxy import Proxy
from tests.support.virsh import Result, virsh
from tests.support.wait import wait_for

# The phase, percent, rate, dirty rate, what is left and the expected downtime, as people read them.
FIGURES = (
    r"perform,? +\S*? *\d+ %,? +[\d.]+ \w*B/s,? +dirty [\d.]+ \w*B/s,? +remaining [\d.]+ \w*B( \([^)]*\))?,? +"
    r"expected downtime \d+ ms"
)
SOON = "4"  # MiB/s: the first round, which shows the dirty rate, is over in seconds
NOWHERE = "qemu+tcp://127.0.0.1:1/system"


@contextmanager
def under_way(
    guest: RunningGuest, source: str, destination: str, *options: str, terminal: bool = False, speed: str = "1"
) -> Iterator[Running]:
    """``culvert migrate`` of ``guest``, too slow to end by itself; bytes flow when the block begins."""
    arguments = ("migrate", guest.name, destination, "--bandwidth", speed, *options)
    with Running(source, *arguments, terminal=terminal) as running:
        running.wait_for(r'"phase": "perform"' if "--json" in options else "perform.*%")
        yield running


def hurry(guest: RunningGuest, source: DaemonProcess) -> None:
    """Take the brake off."""
    virsh("migrate-setspeed", guest.name, "0", uri=source.uri).expect()


def assert_ended(result: Result, code: Exit, words: str) -> None:
    """The exit code, and what the last line must say."""
    assert result.rc == code, result
    assert re.search(words, result.out.splitlines()[-1]), (words, result)


# ---- one daemon ---------------------------------------------------------------------------------------------------


def test_a_domain_from_its_definition_to_its_end(host_a: DaemonProcess, folder: Path) -> None:
    guest = domain_xml.tiny_guest(folder, "tiny", SMALL)
    xml, uuid, uri = str(guest.write_xml()), str(guest.domain.uuid), host_a.uri

    assert culvert("list", "--all", uri=uri).expect().split() == ["Id", "Name", "State", "UUID"]
    assert culvert("list", "--all", "--json", uri=uri).expect() == ""
    assert culvert("define", xml, uri=uri).expect() == f"domain 'tiny' is defined at {uri}, shut off\n"
    assert (
        culvert("define", "-", uri=uri, given=guest.xml).expect() == f"domain 'tiny' is defined at {uri}, shut off\n"
    )
    assert culvert("list", "--json", uri=uri).expect() == ""
    assert culvert("list", "--all", uri=uri).expect().splitlines()[1].split() == ["-", "tiny", "shut", "off", uuid]

    assert culvert("start", "tiny", uri=uri).expect() == f"guest 'tiny' is running (booted) at {uri}\n"
    (line,) = json_lines(culvert("list", "--json", uri=uri).expect())
    assert line == {"id": line["id"], "name": "tiny", "uuid": uuid, "state": "running (booted)", "waits_for": ""}
    assert culvert("list", uri=host_a.tcp_uri).expect().splitlines()[1].split() == [
        *(str(line["id"]), "tiny", "running", "(booted)", uuid)
    ]
    refused = culvert("start", "tiny", uri=uri)
    assert (refused.rc, refused.out) == (Exit.FAILED, "")
    assert "already" in refused.err

    assert culvert("job", "tiny", uri=uri).expect() == "job of domain 'tiny': none\n"
    assert json.loads(culvert("job", "--json", uuid, uri=uri).expect()) == {"type": "none"}
    refused = culvert("abort", "tiny", uri=uri)
    assert refused.rc == Exit.FAILED
    assert "no job is active" in refused.err

    assert culvert("destroy", str(line["id"]), uri=uri).expect().startswith("domain 'tiny' is shut off")
    assert culvert("destroy", uuid, uri=uri).rc == Exit.FAILED
    refused = culvert("start", "nobody", uri=uri)
    assert refused.rc == Exit.FAILED
    assert "nobody" in refused.err


def test_refusals_before_anything_is_asked(host_a: DaemonProcess, folder: Path) -> None:
    xml = folder / "bad.xml"
    xml.write_text("<domain type='qemu'><name>bad</name><bogus/></domain>")
    refused = culvert("define", str(xml), uri=host_a.uri)
    assert refused.rc == Exit.FAILED
    assert "/domain/bogus" in refused.err
    for arguments in (
        ("define", str(folder / "missing.xml")),
        ("migrate", "g"),
        ("migrate", "g", "rubbish"),
        ("migrate", "g", NOWHERE, "--offline"),
        ("migrate", "g", NOWHERE, "--timeout-suspend"),
        ("migrate", "g", NOWHERE, "--bandwidth", "0"),
        ("bogus",),
    ):
        assert culvert(*arguments, uri=host_a.uri).rc == Exit.USAGE, arguments
    assert culvert("list", uri="rubbish").rc == Exit.USAGE
    missing = f"qemu+unix:///system?socket={folder}/nobody"
    for arguments in (("list",), ("start", "g"), ("abort", "g")):
        unreachable = culvert(*arguments, uri=missing)
        assert unreachable.rc == Exit.UNREACHABLE
        assert unreachable.err.endswith("nothing was done\n")
    unreachable = culvert("migrate", "g", NOWHERE, uri=missing)
    assert_ended(unreachable, Exit.UNREACHABLE, "nothing was done: the guest is where and as it was$")
    refused = culvert("migrate", "g", NOWHERE, uri=host_a.uri)
    assert_ended(refused, Exit.FAILED, "'g'.*nothing was done: the guest is where and as it was$")


@pytest.mark.parametrize("command", [(), ("migrate",)])
def test_help_lists_every_exit_code(command: tuple[str, ...]) -> None:
    told = " ".join(culvert(*command, "--help").expect().split())
    for code, meaning in MEANINGS.items():
        assert f"{code.value} {meaning}" in told


# ---- a migration that goes well, on every display -----------------------------------------------------------------


def test_plain_lines(host_a: DaemonProcess, host_b: DaemonProcess, folder: Path) -> None:
    with running_tiny(host_a, folder) as guest:
        with under_way(guest, host_a.uri, host_b.tcp_uri, speed=SOON) as running:
            running.wait_for(FIGURES)
            told = culvert("job", guest.name, uri=host_a.uri).expect()
            assert re.search(FIGURES, told), told
            asked = json.loads(culvert("job", "--json", guest.uuid, uri=host_a.uri).expect())
            assert (asked["type"], asked["culvert.phase"]) == ("unbounded", "perform")
            assert asked["memory_processed"] > 0
            hurry(guest, host_a)
            result = running.finish()
        assert_ended(result, Exit.OK, rf"^guest 'tiny' is running \(migrated\) at {re.escape(host_b.tcp_uri)}$")
        lines = result.out.splitlines()
        assert lines[0] == f"migrating 'tiny' from {host_a.uri} to {host_b.tcp_uri}"
        assert re.match(
            r"total time .*, downtime \d+ ms, transferred [\d.]+ MiB, \d+ iterations?, route direct$", lines[-2]
        )
        assert not result.err
        guest.assert_runs_only_on(host_b, host_a)
        told = culvert("job", "--completed", guest.name, uri=host_b.uri).expect()
        assert "completed" in told.splitlines()[0]


def test_json_lines(host_a: DaemonProcess, host_b: DaemonProcess, folder: Path) -> None:
    with running_tiny(host_a, folder, persistent=True) as guest:
        options = ("--json", "--persistent", "--undefinesource", "--dname", "new")
        with under_way(guest, host_a.uri, host_b.tcp_uri, *options, speed=SOON) as running:
            running.wait_for(r'"dirty_rate": \d')  # known after the first round
            hurry(guest, host_a)
            result = running.finish()
        first, *middle, last = json_lines(result.out)
        assert first == {"event": "begin", "domain": "tiny", "source": host_a.uri, "destination": host_b.tcp_uri}
        assert middle
        assert {each["event"] for each in middle} == {"progress"}
        assert {each["phase"] for each in middle} <= {"begin", "prepare", "perform", "finish", "confirm"}
        for name in ("percent", "rate", "dirty_rate", "remaining", "expected_downtime_ms"):
            assert any(each[name] is not None for each in middle), name
        assert (last["event"], last["result"], last["location"], last["exit"]) == (
            "result",
            "completed",
            "destination",
            0,
        )
        assert last["words"] == f"guest 'new' (was 'tiny') is running (migrated) at {host_b.tcp_uri}"
        assert last["job"]["percent"] == 100.0
        assert last["job"]["downtime_ms"] is not None
        assert (result.rc, result.err) == (Exit.OK, "")
        guest.assert_runs_only_on(host_b, host_a)
        assert virsh("list", "--all", "--name", uri=host_a.uri).expect().split() == []
        assert virsh("list", "--persistent", "--name", uri=host_b.uri).expect().split() == ["new"]


def test_on_a_terminal(host_a: DaemonProcess, host_b: DaemonProcess, folder: Path) -> None:
    with running_tiny(host_a, folder) as guest:
        with under_way(guest, host_a.uri, host_b.tcp_uri, terminal=True, speed=SOON) as running:
            running.wait_for(r"perform +\S+ +\d+ %")  # the bar
            figures = (
                r"[\d.]+ \w*B/s +dirty [\d.]+ \w*B/s +remaining [\d.]+ \w*B( \([^)]*\))? +expected downtime \d+ ms"
            )
            running.wait_for(figures)
            assert b"\x1b[" in running.raw, "redrawn in place"
            hurry(guest, host_a)
            result = running.finish()
        assert_ended(result, Exit.OK, rf"guest 'tiny' is running \(migrated\) at {re.escape(host_b.tcp_uri)}$")
        assert running.raw.rstrip().endswith(host_b.tcp_uri.encode()), "the picture is gone, the words stay"
        guest.assert_runs_only_on(host_b, host_a)


def test_not_live_suspended_and_offline(host_a: DaemonProcess, host_b: DaemonProcess, folder: Path) -> None:
    with running_tiny(host_a, folder, persistent=True) as guest:
        result = culvert("migrate", "tiny", host_b.tcp_uri, "--no-live", "--suspend", uri=host_a.uri)
        assert_ended(result, Exit.OK, r"^guest 'tiny' is paused \(user\) at ")
        assert state_of("tiny", host_b) == "paused"
        culvert("destroy", "tiny", uri=host_b.uri).expect()
        result = culvert("migrate", "tiny", host_b.tcp_uri, "--offline", "--persistent", uri=host_a.uri)
        assert_ended(result, Exit.OK, f"^domain 'tiny' is defined at {re.escape(host_b.tcp_uri)}$")
        assert state_of(guest.uuid, host_b) == "shut off"


# ---- one that does not --------------------------------------------------------------------------------------------


def test_destination_unreachable(host_a: DaemonProcess, folder: Path) -> None:
    with running_tiny(host_a, folder) as guest:
        result = culvert("migrate", guest.name, NOWHERE, uri=host_a.uri)
        assert_ended(result, Exit.FAILED, rf"^guest 'tiny' is running \([a-z ]+\) at {re.escape(host_a.uri)}$")
        assert "127.0.0.1:1" in result.out
        last = json_lines(culvert("migrate", guest.name, NOWHERE, "--json", uri=host_a.uri).out)[-1]
        assert (last["result"], last["location"], last["exit"]) == ("failed", "source", Exit.FAILED)
        guest.assert_runs_only_on(host_a)


@pytest.mark.parametrize("terminal", [False, True], ids=["pipe", "terminal"])
def test_ctrl_c_cancels_and_waits(host_a: DaemonProcess, host_b: DaemonProcess, folder: Path, terminal: bool) -> None:
    with running_tiny(host_a, folder) as guest:
        with under_way(guest, host_a.uri, host_b.tcp_uri, terminal=terminal) as running:
            running.interrupt()
            result = running.finish()
        assert_ended(result, Exit.CANCELLED, rf"guest 'tiny' is running \([a-z ]+\) at {re.escape(host_a.uri)}$")
        assert "cancelling the migration of 'tiny'" in (result.out if terminal else result.err)
        assert "canceled by client" in result.out
        host_b.assert_no_leftovers()
        guest.assert_runs_only_on(host_a, host_b)


def test_a_second_ctrl_c_leaves_it_to_itself(host_a: DaemonProcess, host_b: DaemonProcess, folder: Path) -> None:
    """A source that stands still answers no abort; it is asked where the guest is once it goes on."""
    with running_tiny(host_a, folder) as guest:
        with under_way(guest, host_a.uri, host_b.tcp_uri, terminal=True) as running:
            os.kill(host_a.pid, signal.SIGSTOP)
            try:
                running.interrupt()
                running.wait_for("cancelling the migration of 'tiny'")
                before = host_b.log.count("session open")
                running.interrupt()
                wait_for(lambda: host_b.log.count("session open") > before, "the destination is asked")
            finally:
                os.kill(host_a.pid, signal.SIGCONT)
            result = running.finish()
        assert_ended(result, Exit.UNKNOWN, "guest 'tiny' is running .* may be going on: see 'culvert job'")
        virsh("domjobabort", guest.name, uri=host_a.uri)  # unless the first Ctrl-C has done it
        host_b.assert_no_leftovers()
        guest.assert_runs_only_on(host_a, host_b)


def test_a_deadline_and_an_abort_from_elsewhere(host_a: DaemonProcess, host_b: DaemonProcess, folder: Path) -> None:
    with running_tiny(host_a, folder) as guest:
        result = culvert(
            *("migrate", guest.name, host_b.tcp_uri, "--json", "--bandwidth", "1", "--timeout", "2"), uri=host_a.uri
        )
        lines = json_lines(result.out)
        assert "not ended within 2 s" in " ".join(each["text"] for each in lines if each["event"] == "notice")
        assert (lines[-1]["result"], lines[-1]["exit"], result.rc) == ("cancelled", Exit.CANCELLED, Exit.CANCELLED)
        with under_way(guest, host_a.uri, host_b.tcp_uri) as running:
            told = culvert("abort", guest.name, uri=host_a.uri)
            assert told.expect() == f"guest 'tiny' is running (booted) at {host_a.uri}\n"
            result = running.finish()
        assert_ended(result, Exit.CANCELLED, rf"^guest 'tiny' is running \([a-z ]+\) at {re.escape(host_a.uri)}$")
        host_b.assert_no_leftovers()
        result = culvert(
            *("migrate", guest.name, host_b.tcp_uri, "--bandwidth", "6", "--timeout", "2", "--timeout-suspend"),
            uri=host_a.uri,
        )
        assert_ended(result, Exit.OK, rf"^guest 'tiny' is running \(migrated\) at {re.escape(host_b.tcp_uri)}$")
        guest.assert_runs_only_on(host_b, host_a)


def test_destination_daemon_killed(host_a: DaemonProcess, host_b: DaemonProcess, folder: Path) -> None:
    with running_tiny(host_a, folder) as guest:
        with under_way(guest, host_a.uri, host_b.tcp_uri) as running:
            host_b.kill()
            result = running.finish()
        assert_ended(result, Exit.FAILED, rf"^guest 'tiny' is running \([a-z ]+\) at {re.escape(host_a.uri)}$")
        guest.assert_runs_only_on(host_a)


def test_source_connection_lost(host_a: DaemonProcess, host_b: DaemonProcess, folder: Path) -> None:
    """The migration is the daemon's, so it goes on; that is what the last words say."""
    with running_tiny(host_a, folder) as guest, Proxy(host_a.port) as proxy:
        with under_way(guest, host_a.uri_by(proxy.port), host_b.tcp_uri) as running:
            proxy.cut()
            result = running.finish()
        assert_ended(
            result, Exit.UNKNOWN, r"guest 'tiny' is running \(booted\) at .* may be going on: see 'culvert job'"
        )
        hurry(guest, host_a)
        host_a.wait_no_qemu()
        host_a.assert_no_leftovers()
        guest.assert_runs_only_on(host_b, host_a)


def test_source_cannot_be_asked_any_more(host_a: DaemonProcess, host_b: DaemonProcess, folder: Path) -> None:
    with running_tiny(host_a, folder) as guest, Proxy(host_a.port) as proxy:
        with under_way(guest, host_a.uri_by(proxy.port), host_b.tcp_uri, "--json") as running:
            proxy.refuse()
            proxy.cut()
            result = running.finish()
        last = json_lines(result.out)[-1]
        assert (last["result"], last["location"], last["exit"]) == ("unknown", "unknown", Exit.UNKNOWN)
        assert "could not be asked" in last["words"]
        virsh("domjobabort", guest.name, uri=host_a.uri).expect()
        host_b.assert_no_leftovers()
        guest.assert_runs_only_on(host_a, host_b)


def test_guest_lost_at_the_source(host_a: DaemonProcess, host_b: DaemonProcess, folder: Path) -> None:
    with running_tiny(host_a, folder, persistent=True) as guest:
        with under_way(guest, host_a.uri, host_b.tcp_uri) as running:
            (pid,) = host_a.qemu_pids()
            os.kill(pid, signal.SIGKILL)
            result = running.finish()
        assert_ended(result, Exit.NOT_RUNNING, r"^guest 'tiny' is running nowhere: .* it is shut off \(crashed\)")
        host_b.assert_no_leftovers()
