"""A guest that was started with --autodestroy ends with the connection that has started it, however that ends."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.drivers.support import domain_xml
from tests.support.daemon import DaemonProcess
from tests.support.terminal import Terminal
from tests.support.virsh import virsh
from tests.support.wait import wait_for

START = {"start": "started", "create": "created from"}


def names(host: DaemonProcess) -> list[str]:
    return sorted(virsh("list", "--name", uri=host.uri).expect().split())


def describe(folder: Path, name: str) -> str:
    path = folder / f"{name}.xml"
    path.write_text(domain_xml(name))
    return str(path)


def say(terminal: Terminal, words: str, answer: str) -> None:
    before = terminal.wait(lambda shown: True, "anything").count(answer)
    terminal.press(words + "\n")
    terminal.wait_for(answer, before + 1)


def test_it_ends_with_its_connection(uri: str, host_a: DaemonProcess, host_b: DaemonProcess, folder: Path) -> None:
    for name in ("kept", "saved", "anew"):
        virsh("define", describe(folder, name), uri=uri).expect()
    virsh("start", "saved", uri=uri).expect()
    virsh("managedsave", "saved", uri=uri).expect()
    with Terminal(uri) as other, Terminal(uri) as terminal:
        say(terminal, f"create {describe(folder, 'fleeting')} --autodestroy", "created from")
        for name in ("kept", "saved", "anew"):
            say(terminal, f"start {name} --autodestroy", "started")
        say(terminal, f"create {describe(folder, 'free')}", "created from")
        say(other, f"create {describe(folder, 'of-other')} --autodestroy", "created from")
        # Another run is nobody's but its own.
        virsh("destroy", "anew", uri=uri).expect()
        virsh("start", "anew", uri=uri).expect()
        assert names(host_a) == ["anew", "fleeting", "free", "kept", "of-other", "saved"]

        moved = virsh("migrate", "--live", "--unsafe", "kept", host_b.tcp_uri, uri=uri)
        assert "domain is marked for auto destroy" in moved.err, moved
        assert names(host_b) == []

        terminal.process.kill()  # as a client that crashes
        wait_for(lambda: names(host_a) == ["anew", "free", "of-other"], "those of that connection have ended")
        assert virsh("domstate", "--reason", "kept", uri=uri).expect().strip() == "shut off (destroyed)"
        assert not virsh("domstate", "fleeting", uri=uri).ok
        say(other, "quit", "\n")
        wait_for(lambda: names(host_a) == ["anew", "free"], "the other's has ended too")


@pytest.mark.parametrize("kill", [False, True], ids=["stop", "kill"])
def test_it_ends_with_the_daemon(host_a: DaemonProcess, folder: Path, kill: bool) -> None:
    virsh("define", describe(folder, "free"), uri=host_a.uri).expect()
    virsh("start", "free", uri=host_a.uri).expect()
    virsh("define", describe(folder, "bound"), uri=host_a.uri).expect()
    with Terminal(host_a.uri) as terminal:
        say(terminal, "start bound --autodestroy", "started")
        host_a.restart(kill=kill)
    wait_for(lambda: names(host_a) == ["free"], "that with a connection has ended with the daemon")
    reason = "destroyed" if kill else "unknown"  # who was stopped in order has told it, and nobody was left to hear
    assert virsh("domstate", "--reason", "bound", uri=host_a.uri).expect().strip() == f"shut off ({reason})"
