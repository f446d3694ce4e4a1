"""The real virsh is told what happens, in the order in which libvirt tells it."""

from __future__ import annotations

import contextlib
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

from guests import domain_xml
from tests.support.daemon import DaemonProcess
from tests.support.guest import SMALL
from tests.support.terminal import CTRL_C, Terminal
from tests.support.virsh import virsh
from tests.support.wait import wait_for

LINE = re.compile(r"event 'lifecycle' for domain '([^']*)': (.*)")
STARTED = ["Resumed Unpaused", "Started Booted"]
DESTROYED = ["Shutdown Finished after host request", "Stopped Destroyed"]
POWERED_OFF = ["Shutdown Finished after guest request", "Stopped Shutdown"]


class Listener(Terminal):
    """``virsh event --loop``, registered; ``expect`` waits for exactly the events that come next."""

    def __init__(self, uri: str, *options: str) -> None:
        super().__init__(uri, "event", "--loop", *options)
        self._seen = 0

    def told(self) -> list[tuple[str, str]]:
        """(domain, event) of what was shown."""
        whole = self.shown[: self.shown.rfind("\n") + 1]
        return LINE.findall(whole)

    def expect(self, *events: str, domain: str | None = None) -> None:
        """Wait for as many events and compare them."""
        self.wait(lambda shown: len(self.told()) >= self._seen + len(events), f"events {events}")
        new = self.told()[self._seen :]
        assert [event for _, event in new] == list(events)
        assert domain is None or {name for name, _ in new} == {domain}
        self._seen += len(events)

    def over(self) -> None:
        """Ctrl-C, and see that nothing more was told."""
        self.press(CTRL_C)
        self.finish()
        assert len(self.told()) == self._seen, self.told()[self._seen :]
        assert f"events received: {self._seen}" in self.shown


@contextlib.contextmanager
def listening(host: DaemonProcess, uri: str, *options: str) -> Iterator[Listener]:
    """A listener whose registration has reached the daemon."""
    before = host.log.count("event=LIFECYCLE registered")
    with Listener(uri, *(options or ("--event", "lifecycle"))) as listener:
        wait_for(lambda: host.log.count("event=LIFECYCLE registered") > before, "the registration")
        yield listener


def defined(uri: str, folder: Path, name: str) -> str:
    """The path of the XML of a defined tiny guest."""
    path = str(domain_xml.tiny_guest(folder, name, SMALL).write_xml())
    virsh("define", path, uri=uri).expect()
    return path


def test_the_life_of_a_persistent_domain(uri: str, host_a: DaemonProcess, folder: Path) -> None:
    with listening(host_a, uri) as listener:
        path = defined(uri, folder, "g")
        listener.expect("Defined Added", domain="g")
        virsh("define", path, uri=uri).expect()
        listener.expect("Defined Updated")
        virsh("start", "g", uri=uri).expect()
        listener.expect(*STARTED)
        virsh("suspend", "g", uri=uri).expect()
        listener.expect("Suspended Paused")
        virsh("resume", "g", uri=uri).expect()
        listener.expect("Resumed Unpaused")
        wait_for(lambda: b"count=" in (folder / "g.serial").read_bytes(), "it prints")
        virsh("shutdown", "g", uri=uri).expect()
        listener.expect(*POWERED_OFF)
        virsh("start", "--paused", "g", uri=uri).expect()
        listener.expect("Started Booted", "Suspended Paused")
        virsh("destroy", "g", uri=uri).expect()
        listener.expect(*DESTROYED)
        virsh("undefine", "g", uri=uri).expect()
        listener.expect("Undefined Removed", domain="g")
        listener.over()


def test_the_life_of_a_transient_domain(uri: str, host_a: DaemonProcess, folder: Path) -> None:
    path = str(domain_xml.tiny_guest(folder, "t", SMALL).write_xml())
    with listening(host_a, uri, "--event", "lifecycle", "--timestamp") as listener:
        virsh("create", path, uri=uri).expect()
        listener.expect(*STARTED, domain="t")
        virsh("define", path, uri=uri).expect()
        listener.expect("Defined Added")
        virsh("undefine", "t", uri=uri).expect()
        listener.expect("Undefined Removed")
        virsh("define", path, uri=uri).expect()
        listener.expect("Defined Updated")  # libvirt knows what it was defined as until it ends
        virsh("undefine", "t", uri=uri).expect()
        listener.expect("Undefined Removed")
        virsh("destroy", "t", "--graceful", uri=uri).expect()
        listener.expect(*DESTROYED)
        virsh("create", str(folder / "t.xml"), uri=uri).expect()
        (pid,) = host_a.qemu_pids()
        os.kill(pid, signal.SIGKILL)
        listener.expect(*STARTED, "Stopped Failed")
        listener.over()
        assert re.search(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+\+0000: event", listener.shown, re.MULTILINE)


def test_events_of_one_domain(uri: str, host_a: DaemonProcess, folder: Path) -> None:
    for name in ("one", "other"):
        defined(uri, folder, name)
    with (
        listening(host_a, uri, "--event", "lifecycle", "--domain", "one") as of_one,
        listening(host_a, uri) as of_all,
    ):
        virsh("start", "--paused", "other", uri=uri).expect()
        of_all.expect("Started Booted", "Suspended Paused", domain="other")
        virsh("start", "--paused", "one", uri=uri).expect()
        of_one.expect("Started Booted", "Suspended Paused", domain="one")
        of_all.expect("Started Booted", "Suspended Paused", domain="one")
        virsh("destroy", "other", uri=uri).expect()
        virsh("destroy", "one", uri=uri).expect()
        of_one.expect(*DESTROYED, domain="one")
        of_all.expect(*DESTROYED, *DESTROYED)
        of_one.over()
        of_all.over()
    result = virsh("event", "--event", "lifecycle", "--domain", "nobody", uri=uri)
    assert "failed to get domain 'nobody'" in result.err


def test_all_kinds_of_events_can_be_asked_for(uri: str, host_a: DaemonProcess, folder: Path) -> None:
    with listening(host_a, uri, "--all") as listener:
        defined(uri, folder, "g")
        listener.expect("Defined Added")
        listener.over()


def test_a_listener_that_stands_still_harms_nobody(uri: str, host_a: DaemonProcess, folder: Path) -> None:
    with listening(host_a, uri) as slow, listening(host_a, uri) as other:
        slow.process.send_signal(signal.SIGSTOP)
        for number in range(20):
            defined(uri, folder, f"g{number}")
        other.expect(*["Defined Added"] * 20)
        slow.process.send_signal(signal.SIGCONT)
        slow.expect(*["Defined Added"] * 20)
        slow.over()
        other.over()


def test_no_events_without_a_listener_left(uri: str, host_a: DaemonProcess, folder: Path) -> None:
    with listening(host_a, uri) as gone:
        gone.process.kill()
        gone.finish()
    defined(uri, folder, "g")
    with listening(host_a, uri) as listener:
        virsh("undefine", "g", uri=uri).expect()
        listener.expect("Undefined Removed")
        listener.over()
    assert "ERROR" not in host_a.log


def test_another_name(uri: str, host_a: DaemonProcess, folder: Path) -> None:
    with listening(host_a, uri) as listener:
        defined(uri, folder, "g")
        defined(uri, folder, "taken")
        virsh("autostart", "g", uri=uri).expect()
        listener.expect("Defined Added", "Defined Added")
        for name, why in (
            ("g", "Can't rename domain to itself"),
            ("taken", "domain with name 'taken' already exists"),
            ("a/b", "must not contain '/'"),
        ):
            assert why in virsh("domrename", "g", name, uri=uri).err
        virsh("domrename", "g", "h", uri=uri).expect()
        listener.expect("Undefined Renamed", "Defined Renamed")
        assert [name for name, _ in listener.told()[-2:]] == ["g", "h"]
        listener.over()
    assert "<name>h</name>" in virsh("dumpxml", "h", uri=uri).expect()
    host_a.restart()
    assert sorted(virsh("list", "--all", "--name", uri=uri).expect().split()) == ["h", "taken"]
    assert virsh("list", "--autostart", "--all", "--name", uri=uri).expect().split() == ["h"]
    virsh("start", "h", uri=uri).expect()
    assert "cannot rename active domain" in virsh("domrename", "h", "i", uri=uri).err
    virsh("managedsave", "h", uri=uri).expect()
    assert "managed save image can't be renamed" in virsh("domrename", "h", "i", uri=uri).err
    assert virsh("list", "--all", "--name", "--with-managed-save", uri=uri).expect().split() == ["h"]
