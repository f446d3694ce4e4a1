"""Guests with a TPM on real daemons: their emulators begin, move, are found again and end with them."""

from __future__ import annotations

import os
import re
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from culvert.drivers.qemu.startup import SIDE, StartStep
from culvert.io import fault_points
from guests import domain_xml
from tests.support.daemon import DaemonProcess
from tests.support.guest import SMALL, RunningGuest, running_tiny
from tests.support.virsh import Running, virsh
from tests.support.wait import wait_for
from tests.system.test_faults import slow_migration
from tests.system.test_startup import running_bench

pytestmark = pytest.mark.skipif(not shutil.which("swtpm_setup"), reason="no swtpm, or no swtpm-tools")

P2P = ("migrate", "--live", "--p2p")
CRB = "<tpm model='tpm-crb'><backend type='emulator' version='2.0'/></tpm>"
TIS = "<tpm model='tpm-tis'><backend type='emulator' version='1.2'/></tpm>"
KEPT = "<tpm model='tpm-crb'><backend type='emulator' version='2.0' persistent_state='yes'/></tpm>"


@contextmanager
def running(
    host: DaemonProcess, folder: Path, tpm: str = CRB, *, machine: str = "q35", persistent: bool = False
) -> Iterator[RunningGuest]:
    with running_tiny(host, folder, machine=machine, persistent=persistent, devices=tpm) as guest:
        yield guest


def emulators(*hosts: DaemonProcess) -> list[int]:
    """The process ids of those of ``hosts``."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if words[0].endswith(b"swtpm") and any(str(host.root).encode() in word for word in words for host in hosts):
            found.append(int(path.parent.name))
    return found


def state(host: DaemonProcess) -> list[Path]:
    """The files with what TPMs keep."""
    return sorted((host.root / "lib" / "qemu" / "swtpm").rglob("*.permall"))


def assert_answers(guest: RunningGuest, host: DaemonProcess) -> None:
    asked = virsh("qemu-monitor-command", guest.name, '{"execute":"query-tpm"}', uri=host.uri).expect()
    assert '"id":"tpm-tpm0"' in asked.replace(" ", "")
    assert len(emulators(host)) == 1


@pytest.mark.parametrize("made", [(CRB, "q35"), (TIS, "pc")], ids=["2.0", "1.2"])
@pytest.mark.parametrize("route", ["direct", "pump", "stream"])
def test_there_and_back(
    host_a: DaemonProcess, host_b: DaemonProcess, folder: Path, made: tuple[str, str], route: str
) -> None:
    with running(host_a, folder, made[0], machine=made[1]) as guest:
        assert_answers(guest, host_a)
        [before] = [path.read_bytes() for path in state(host_a)]
        for source, destination in ((host_a, host_b), (host_b, host_a)):
            virsh(*P2P, guest.name, destination.tcp_uri, uri=source.uri).expect()
            guest.assert_runs_only_on(destination, source)
            assert_answers(guest, destination)
            assert [path.read_bytes() for path in state(destination)] == [before], "the same keys"
            assert state(source) == [], "they are where the guest is"
            wait_for(lambda source=source: emulators(source) == [], "its emulator has ended")  # type: ignore[misc]
            source.assert_no_leftovers()


def test_an_emulator_is_found_by_the_next_daemon(host_a: DaemonProcess, folder: Path) -> None:
    with running(host_a, folder, persistent=True) as guest:
        before = emulators(host_a)
        host_a.kill()
        host_a.start()
        assert emulators(host_a) == before
        assert_answers(guest, host_a)
        host_a.stop()
        assert emulators(host_a) == before
        host_a.start()
        virsh("destroy", guest.name, uri=host_a.uri).expect()
        wait_for(lambda: emulators(host_a) == [], "its emulator has ended")
        assert state(host_a) != [], "a domain that stays keeps its keys"
        host_a.assert_no_leftovers()


def test_an_emulator_that_dies_takes_nothing_with_it(host_a: DaemonProcess, folder: Path) -> None:
    with running(host_a, folder) as guest:
        for pid in emulators(host_a):
            os.kill(pid, signal.SIGKILL)
        wait_for(lambda: "its TPM's emulator, swtpm, has ended" in host_a.log, "the log tells of it")
        guest.assert_runs_only_on(host_a)
        virsh("destroy", guest.name, uri=host_a.uri).expect()
        host_a.assert_no_leftovers()


def test_saved_and_restored(host_a: DaemonProcess, folder: Path) -> None:
    with running(host_a, folder, persistent=True) as guest:
        [before] = [path.read_bytes() for path in state(host_a)]
        virsh("managedsave", guest.name, uri=host_a.uri).expect()
        assert emulators(host_a) == []
        shutil.rmtree(host_a.root / "lib" / "qemu" / "swtpm")
        virsh("start", guest.name, uri=host_a.uri).expect()
        guest.assert_runs_only_on(host_a)
        assert_answers(guest, host_a)
        assert [path.read_bytes() for path in state(host_a)] == [before], "they were in the image, too"


def test_a_guest_that_does_not_arrive_leaves_nothing(
    host_a: DaemonProcess, host_b: DaemonProcess, folder: Path
) -> None:
    with running(host_a, folder, KEPT) as guest:
        with slow_migration(guest, host_a, host_b.tcp_uri) as moving:
            assert len(emulators(host_b)) == 1
            virsh("domjobabort", guest.name, uri=host_a.uri).expect()
            assert not moving.finish().ok
        guest.assert_runs_only_on(host_a, host_b)
        wait_for(lambda: emulators(host_b) == [], "its emulator has ended")
        wait_for(lambda: not list((host_b.root / "lib" / "qemu" / "swtpm").glob("*")), "nothing is kept")
        host_b.assert_no_leftovers()
        assert_answers(guest, host_a)


@pytest.mark.parametrize(
    ("tpm", "options", "stays"),
    [(CRB, (), False), (CRB, ("--keep-tpm",), True), (KEPT, (), True), (KEPT, ("--tpm",), False)],
)
def test_undefine_says_what_becomes_of_the_keys(
    host_a: DaemonProcess, folder: Path, tpm: str, options: tuple[str, ...], stays: bool
) -> None:
    guest = domain_xml.tiny_guest(folder, "t", SMALL, devices=tpm)
    virsh("define", str(guest.write_xml()), uri=host_a.uri).expect()
    virsh("start", "t", "--paused", uri=host_a.uri).expect()
    virsh("destroy", "t", uri=host_a.uri).expect()
    assert len(state(host_a)) == 1
    virsh("undefine", "t", *options, uri=host_a.uri).expect()
    assert bool(state(host_a)) is stays


def test_a_transient_guest_takes_its_keys_with_it(host_a: DaemonProcess, folder: Path) -> None:
    with running(host_a, folder, CRB) as guest:
        virsh("destroy", guest.name, uri=host_a.uri).expect()
        assert state(host_a) == []


def test_what_cannot_be_is_told_before_anything_starts(host_a: DaemonProcess, folder: Path) -> None:
    secret = "11111111-2222-4333-8444-000000000001"
    locked = f"<tpm><backend type='emulator' version='2.0'><encryption secret='{secret}'/></backend></tpm>"
    guest = domain_xml.tiny_guest(folder, "t", SMALL, devices=locked)
    refused = virsh("create", str(guest.write_xml()), uri=host_a.uri)
    assert f"no secret with matching uuid '{secret}'" in refused.err
    assert emulators(host_a) == []
    host_a.assert_no_leftovers()


def test_banks_are_chosen_and_it_is_told_what_there_is(host_a: DaemonProcess, folder: Path) -> None:
    banks = "<active_pcr_banks><sha1/><sha384/></active_pcr_banks>"
    with running(host_a, folder, CRB.replace("'2.0'/>", f"'2.0'>{banks}</backend>")) as guest:
        assert_answers(guest, host_a)
        said = (host_a.root / "log" / "swtpm" / f"{guest.name}-swtpm.log").read_text()
        assert "sha1,sha384" in said
    told = virsh("domcapabilities", "--virttype", "qemu", "--machine", "q35", uri=host_a.uri).expect()
    [tpm] = re.findall(r"<tpm supported=.yes.>.*?</tpm>", told, re.DOTALL)
    assert re.findall(r"<value>(.*?)</value>", tpm) == ["tpm-tis", "tpm-crb", "emulator", "1.2", "2.0"]


@pytest.mark.parametrize("point", ["tpm", StartStep.SPAWNED.value, StartStep.NOTED.value])
def test_the_daemon_is_killed_while_it_starts_one(folder: Path, point: str) -> None:
    """Between the emulator and QEMU, too; nothing of either is left when the next daemon is there."""
    guest = domain_xml.tiny_guest(folder, "t", SMALL, devices=CRB)
    with running_bench(folder, "a") as bench:
        host, armed = bench.host, bench.points / f"{SIDE}.{point}"
        virsh("define", str(guest.write_xml()), uri=host.uri).expect()
        with Running(host.uri, "start", "t") as start:
            armed.touch()
            reached = armed.with_name(armed.name + fault_points.REACHED)
            wait_for(reached.exists, f"a start that stands at {armed.name}")
            assert len(emulators(host)) == 1
            host.kill()
            assert not start.finish().ok
        armed.unlink()
        host.start()
        wait_for(lambda: emulators(host) == [], "its emulator has ended")
        host.assert_no_leftovers()
        virsh("start", "t", uri=host.uri).expect()
        assert len(emulators(host)) == 1
