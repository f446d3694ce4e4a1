"""Between two hosts there is an ssh and nothing else: a real sshd, real daemons, the real virsh."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import generation, processes
from tests.support.culvert import culvert
from tests.support.daemon import DaemonProcess
from tests.support.guest import running_tiny
from tests.support.sshd import Sshd, free_port, sshd
from tests.support.virsh import Running, virsh
from tests.support.wait import wait_for

P2P = ("migrate", "--live", "--p2p", "--tunnelled")


@pytest.fixture
def road(folder: Path) -> Iterator[Sshd]:
    """The sshd of every host there is."""
    with sshd(folder / "ssh") as running:
        yield running


def ssh_of(host: DaemonProcess) -> list[int]:
    """The ssh processes that the daemon has started."""
    return [pid for pid in processes.marked(host.root) if processes.program(pid) == "ssh"]


def wait_no_ssh(host: DaemonProcess) -> None:
    wait_for(lambda: not ssh_of(host), "the daemon's ssh processes end")


def test_peer_to_peer_there_and_back(host_a: DaemonProcess, host_b: DaemonProcess, folder: Path, road: Sshd) -> None:
    """Tunnelled or not said, the whole guest takes the one connection."""
    with running_tiny(host_a, folder) as guest:
        virsh(*P2P, guest.name, road.uri(host_b.socket), uri=host_a.uri).expect()
        guest.assert_runs_only_on(host_b, host_a)
        host_a.assert_no_leftovers()
        told = culvert("job", "--completed", guest.name, uri=host_b.uri).expect()
        assert re.search(r"culvert\.route +stream\n", told), told
        virsh("migrate", "--live", "--p2p", guest.name, road.uri(host_a.socket), uri=host_b.uri).expect()
        guest.assert_runs_only_on(host_a, host_b)
        assert "transport=tcp peer" not in host_a.log + host_b.log
        wait_no_ssh(host_a)
        wait_no_ssh(host_b)


@pytest.mark.parametrize(
    "options",
    [
        pytest.param(("--parallel", "--parallel-connections", "2"), id="many"),
        pytest.param(("--postcopy",), id="post", marks=generation.needs_postcopy),
    ],
)
def test_what_needs_more_connections_gets_more_of_them(
    host_a: DaemonProcess, host_b: DaemonProcess, folder: Path, road: Sshd, options: tuple[str, ...]
) -> None:
    with running_tiny(host_a, folder) as guest:
        virsh("migrate", "--live", "--p2p", *options, guest.name, road.uri(host_b.socket), uri=host_a.uri).expect()
        guest.assert_runs_only_on(host_b, host_a)
        assert "transport=tcp peer" not in host_b.log
        wait_no_ssh(host_a)


def test_offline(host_a: DaemonProcess, host_b: DaemonProcess, folder: Path, road: Sshd) -> None:
    with running_tiny(host_a, folder, persistent=True) as guest:
        virsh("destroy", guest.name, uri=host_a.uri).expect()
        options = ("migrate", "--offline", "--p2p", "--persistent", guest.name, road.uri(host_b.socket))
        virsh(*options, uri=host_a.uri).expect()
        assert virsh("list", "--inactive", "--name", uri=host_b.uri).expect().split() == [guest.name]


def test_a_client_by_ssh(host_a: DaemonProcess, host_b: DaemonProcess, folder: Path, road: Sshd) -> None:
    """libvirt's, and culvert's own, which asks the source by ssh to go to the destination by ssh."""
    with running_tiny(host_a, folder) as guest:
        listed = virsh("list", "--name", uri=road.uri(host_a.socket, no_verify="1", known_hosts="")).expect()
        assert listed.split() == [guest.name]
        culvert("migrate", guest.name, road.uri(host_b.socket), uri=road.uri(host_a.socket)).expect()
        guest.assert_runs_only_on(host_b, host_a)


def test_what_ssh_says_is_told(host_a: DaemonProcess, host_b: DaemonProcess, folder: Path, road: Sshd) -> None:
    nobody = free_port()
    (folder / "empty").touch()
    refused = [
        (road.uri(host_b.socket, port=nobody), "Connection refused"),
        (road.uri(host_b.socket, keyfile=str(road.folder / "stranger")), "Permission denied (publickey"),
        (road.uri(host_b.socket, known_hosts=str(folder / "empty")), "Host key verification failed"),
        (road.uri(folder / "no-such-sock"), "No such file or directory"),
        (road.uri(host_b.socket, netcat="/no/such/nc"), "not found"),
        (road.uri(host_b.socket, command="/no/such/ssh"), "cannot start '/no/such/ssh'"),
        (road.uri(host_b.socket).replace("127.0.0.1", "-oProxyCommand=id"), "cannot be used"),
    ]
    with running_tiny(host_a, folder) as guest:
        for where, words in refused:
            result = virsh(*P2P, guest.name, where, uri=host_a.uri)
            assert not result.ok
            assert words in result.err, result
            guest.assert_runs_only_on(host_a, host_b)
        wait_no_ssh(host_a)
        result = culvert("list", uri=refused[1][0])
        assert "Permission denied" in result.err, result


@pytest.mark.parametrize("frozen", [False, True], ids=["killed", "stopped"])
def test_ssh_is_lost_on_the_way(
    host_a: DaemonProcess, host_b: DaemonProcess, folder: Path, road: Sshd, frozen: bool
) -> None:
    """It ends, or it does nothing any more and the person aborts: the guest runs on, and no ssh stays."""
    with running_tiny(host_a, folder) as guest:
        virsh("migrate-setspeed", guest.name, "1", uri=host_a.uri).expect()
        with Running(host_a.uri, *P2P, guest.name, road.uri(host_b.socket)) as moving:
            host_a.wait_logged("state=perform3")
            [pid] = ssh_of(host_a)
            if frozen:
                os.kill(pid, signal.SIGSTOP)
                virsh("domjobabort", guest.name, uri=host_a.uri).expect()
            else:
                os.kill(pid, signal.SIGKILL)
            result = moving.finish()
        assert not result.ok
        assert ("canceled by client" if frozen else "lost") in result.err, result
        wait_no_ssh(host_a)
        host_b.assert_no_leftovers(60)
        guest.assert_runs_only_on(host_a, host_b)
