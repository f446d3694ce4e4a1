"""Two hosts on this machine: what runs on them is found and ended, the road counts, breaks and comes back."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import hosts, tree
from tests.support import processes
from tests.support.wait import wait_for

POSSIBLE = os.geteuid() == 0 and all(shutil.which(program) for program in hosts.NEEDED)
needs_root = pytest.mark.skipif(not POSSIBLE, reason="network namespaces need root; and tini, iptables")

SERVER = "import socket; s = socket.create_server(('{}', 7000)); [s.accept()[0].close() for _ in iter(int, 1)]"
CLIENT = "import socket; socket.create_connection(('{}', 7000), 20).recv(1)"


@needs_root
def test_a_road_that_breaks_and_comes_back(folder: Path) -> None:
    with hosts.pair(folder) as pair:
        log = folder / "log"
        pair.b.start([sys.executable, "-c", SERVER.format(pair.b.address)], log)
        client = pair.a.within([sys.executable, "-c", CLIENT.format(pair.b.address)])

        def reached() -> bool:
            return subprocess.run(client, capture_output=True, check=False).returncode == 0

        wait_for(reached, "the server on b answers")
        before = pair.wire()
        assert reached()
        assert pair.wire() > before
        with pair.broken("reset"):
            assert not reached()
        assert reached()
        with pair.broken("drop"):
            rules = [hosts.command(*host.within(["iptables", "-S", "INPUT"])) for host in pair]
            assert all("-j DROP" in text for text in rules)
        assert reached()


@needs_root
def test_a_road_is_as_narrow_as_is_wanted(folder: Path) -> None:
    with hosts.pair(folder) as pair:

        def shapers() -> list[str]:
            return [hosts.command("tc", "-n", host.namespace, "qdisc", "show", "dev", hosts.DEVICE) for host in pair]

        with pair.limited(100):
            assert all("tbf" in text and "rate 100Mbit" in text for text in shapers())
        assert not any("tbf" in text for text in shapers())


@needs_root
def test_nothing_is_left(folder: Path) -> None:
    with hosts.pair(folder) as pair:
        # The shell in between goes at once: what it has started are orphans, and still ours.
        reaper = pair.a.start(["bash", "-c", "(sleep 1000 & sleep 1001 &); exec sleep 1002"], folder / "log")
        wait_for(lambda: len(tree.descendants([reaper.pid])) == 3, "three that sleep")
        pids = tree.descendants([reaper.pid])
        namespaces = [host.namespace for host in pair]
    assert {processes.state(pid) for pid in pids} <= {"Z", "X"}  # process 1 may take its time to reap
    assert not any(name in hosts.command("ip", "netns", "list") for name in namespaces)


@needs_root
def test_what_its_reaper_has_left_behind_is_ended_too(folder: Path) -> None:
    with hosts.pair(folder) as pair:
        reaper = pair.a.start(["bash", "-c", "(setsid sleep 1000 &); exec sleep 1001"], folder / "log")

        def apart() -> list[int]:
            return [pid for pid in tree.descendants([reaper.pid]) if os.getsid(pid) == pid]

        wait_for(lambda: bool(apart()), "one in a session of its own")
        (left,) = apart()
        pair.a.end(reaper, ask=10)  # with what it was asked to end the reaper goes, and the orphan stays
    wait_for(lambda: processes.state(left) in ("Z", "X"), "the orphan has ended")


@needs_root
def test_what_a_killed_run_left_is_swept_away(folder: Path) -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    name = f"{hosts.PREFIX}{ended.pid}-a"
    hosts.command("ip", "netns", "add", name)
    left = subprocess.Popen(["nsenter", f"--net=/run/netns/{name}", "sleep", "1000"])
    wait_for(lambda: str(left.pid) in hosts.command("ip", "netns", "pids", name).split(), "it is in there")
    hosts.sweep()
    assert left.wait(20) != 0
    assert name not in hosts.command("ip", "netns", "list")


def test_without_root_it_says_so(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(hosts.LabError, match="only root"), hosts.pair(folder):
        pass


def test_a_process_has_a_clock_and_a_peak() -> None:
    pid = os.getpid()
    first = tree.cpu_ns(pid)
    assert first is not None
    assert sum(range(10000))
    assert (tree.cpu_ns(pid) or 0) > first
    assert tree.peak_bytes(pid) > 1 << 20


def test_a_process_that_is_gone_has_neither() -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    assert tree.cpu_ns(ended.pid) is None
    assert tree.peak_bytes(ended.pid) == 0
    tree.reset_peak(ended.pid)
    assert tree.descendants([ended.pid]) == []


def test_a_command_that_fails_is_quoted() -> None:
    with pytest.raises(hosts.LabError, match=r"ip netns exec no-such.*exit code"):
        hosts.command("ip", "netns", "exec", "no-such-namespace", "true")
