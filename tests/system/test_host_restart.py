"""A host goes down in the middle of a hand-over, with its daemon and its QEMUs, and comes up again.

Its guests are to start with the host: that must not be the second copy of one.
"""

from __future__ import annotations

import json
import os
import re
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import UUID

import pytest

from culvert.protocol import remote_domain, shapes, types
from tests.support.culvert import culvert
from tests.support.daemon import DaemonFailed, DaemonProcess
from tests.support.guest import RunningGuest, running_tiny, state_of
from tests.support.proxy import Proxy
from tests.support.raw import Raw
from tests.support.virsh import Running, virsh
from tests.support.wait import wait_for
from tests.system.test_faults import P2P
from tests.system.test_handover import FINISH_CALL, FINISH_REPLY, waits_for_the_destination


@contextmanager
def starting_with_the_host(host: DaemonProcess, folder: Path) -> Iterator[RunningGuest]:
    with running_tiny(host, folder, persistent=True) as guest:
        virsh("autostart", guest.name, uri=host.uri).expect()
        yield guest


def last(host: DaemonProcess) -> dict[str, object]:
    """The newest migration in the host's history."""
    newest, *_ = culvert("history", "--json", uri=host.uri).expect().splitlines()
    found: dict[str, object] = json.loads(newest)
    return found


def told(host: DaemonProcess, text: str) -> None:
    host.wait_logged(text)


def test_a_guest_that_has_left_does_not_start_with_its_old_host(
    host_a: DaemonProcess, host_b: DaemonProcess, folder: Path
) -> None:
    with starting_with_the_host(host_a, folder) as guest:
        virsh(*P2P, guest.name, host_b.tcp_uri, uri=host_a.uri).expect()
        host_a.lose_power()
        host_a.start()
        told(host_a, "is not started with the host: it has gone to")
        guest.assert_runs_only_on(host_b, host_a)
        # What has come back starts here again.
        virsh(*P2P, guest.name, host_a.tcp_uri, uri=host_b.uri).expect()
        guest.assert_runs_only_on(host_a, host_b)
        host_a.lose_power()
        host_a.start()
        wait_for(lambda: state_of(guest.uuid, host_a) == "running", "it starts with the host")


@contextmanager
def small_disk(folder: Path, size: str = "24m") -> Iterator[None]:
    """A file system of its own in ``folder``."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=700", "tests", str(folder)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder: Path) -> Path:
    filler = folder / "filler"
    with open(filler, "ab", buffering=0) as file, suppress(OSError):
        while file.write(bytes(4096)):
            pass
    return filler


@pytest.mark.skipif(os.geteuid() != 0, reason="a disk that is full needs a file system of its own, and that root")
def test_a_disk_that_takes_no_word_of_its_leaving(folder: Path) -> None:
    """The source can write nothing from the moment on when the guest runs there; then its host loses its power."""
    a, b = (DaemonProcess(folder / name, name=f"host-{name}") for name in "ab")
    a.root.mkdir(exist_ok=True)
    with small_disk(a.root / "lib"), a, b, starting_with_the_host(a, folder) as guest, Proxy(b.port) as proxy:
        proxy.hold_on(FINISH_REPLY)
        with Running(a.uri, *P2P, guest.name, b.uri_by(proxy.port)) as running:
            wait_for(proxy.held.is_set, "the answer to finish is on its way")
            filler = fill(a.root / "lib")
            proxy.let_go()
            running.finish()
        told(a, "'left' is not on the disk")
        guest.assert_runs_only_on(b, a)
        a.lose_power()
        filler.unlink()
        a.start()
        told(a, "is not started with the host: it has gone to")
        guest.assert_runs_only_on(b, a)


@pytest.mark.parametrize("lost", ["rubbish", "folder"])
def test_a_journal_that_cannot_be_read_starts_nobody(
    host_a: DaemonProcess, host_b: DaemonProcess, folder: Path, lost: str
) -> None:
    with starting_with_the_host(host_a, folder) as guest:
        virsh(*P2P, guest.name, host_b.tcp_uri, uri=host_a.uri).expect()
        host_a.lose_power()
        journal = host_a.root / "lib" / "migrations.sqlite"
        for each in journal.parent.glob("migrations.sqlite*"):
            each.unlink()
        if lost == "rubbish":
            journal.write_bytes(b"this is no database" * 100)
            host_a.start()
            told(host_a, "is not started with the host: the migration journal was damaged")
        else:
            journal.mkdir()
            with pytest.raises(DaemonFailed, match="migration journal"):
                host_a.start()
        assert host_a.qemu_pids() == []
        assert state_of(guest.uuid, host_b) == "running"
        if lost == "rubbish":
            # An operator knows better, here: nothing else is between it and its start.
            virsh("destroy", guest.name, uri=host_b.uri).expect()
            journal.with_name("migrations.sqlite.unreadable").unlink()
            wait_for(lambda: state_of(guest.uuid, host_a) == "running", "it starts with the host")


@pytest.mark.parametrize("same", [True, False], ids=["this domain", "one of that name"])
def test_the_word_of_an_earlier_culvert_counts_once(host_a: DaemonProcess, folder: Path, same: bool) -> None:
    """A file named like the domain; where the journal knows of another domain of that name, that one has gone."""
    with starting_with_the_host(host_a, folder) as guest:
        host_a.lose_power()
        markers = host_a.root / "lib" / "qemu" / "left"
        markers.mkdir()
        (markers / guest.name).write_text("qemu+tcp://elsewhere/system\n")
        (markers / "transient").write_text("qemu+tcp://elsewhere/system\n")
        if not same:
            with sqlite3.connect(host_a.root / "lib" / "migrations.sqlite") as database:
                database.execute(
                    "INSERT INTO migration (attempt, direction, name, uuid, peer, was_running, stock, secret, flags,"
                    " step, began, ended) VALUES ('a', 'out', ?, 'another', '', 1, 0, '', 0, 'left', ?, ?)",
                    (guest.name, time.time(), time.time()),
                )
            database.close()
        host_a.start()
        if same:
            told(host_a, "it has gone to qemu+tcp://elsewhere/system")
            assert state_of(guest.uuid, host_a) == "shut off"
            virsh("start", guest.name, uri=host_a.uri).expect()
            host_a.lose_power()
            host_a.start()
        wait_for(lambda: state_of(guest.uuid, host_a) == "running", "it starts with the host")
        assert not markers.exists()


def test_a_transient_guest_that_has_left_is_in_nobodys_way(
    host_a: DaemonProcess, host_b: DaemonProcess, folder: Path
) -> None:
    with running_tiny(host_a, folder) as guest:
        virsh(*P2P, guest.name, host_b.tcp_uri, uri=host_a.uri).expect()
        xml = re.sub("<uuid>.*</uuid>", "", virsh("dumpxml", "--migratable", guest.name, uri=host_b.uri).expect())
        (folder / "new.xml").write_text(xml)
        virsh("define", str(folder / "new.xml"), uri=host_a.uri).expect()
        virsh("autostart", guest.name, uri=host_a.uri).expect()
        host_a.lose_power()
        host_a.start()
        told(host_a, f"domain={guest.name} is started with the host")
        assert not (host_a.root / "lib" / "qemu" / "left").exists()


@pytest.mark.parametrize(("lost", "arrived"), [(FINISH_REPLY, True), (FINISH_CALL, False)], ids=["reply", "call"])
def test_the_source_goes_down_while_it_waits(
    host_a: DaemonProcess, host_b: DaemonProcess, folder: Path, lost: bytes, arrived: bool
) -> None:
    """It starts the guest when it has heard that it is nowhere, and not before."""
    with starting_with_the_host(host_a, folder) as guest, Proxy(host_b.port) as proxy:
        proxy.cut_on(lost, then_refuse=True)
        with Running(host_a.uri, *P2P, guest.name, host_b.uri_by(proxy.port)) as running:
            wait_for(lambda: waits_for_the_destination(guest, host_a), "the source waits")
            host_a.lose_power()
            assert not running.finish().ok
        host_a.start()
        told(host_a, "is not started with the host yet")
        assert "waiting for" in virsh("start", guest.name, uri=host_a.uri).err
        assert state_of(guest.uuid, host_a) == "shut off"
        proxy.refuse(False)
        if arrived:
            told(host_a, "is not started with the host: it has gone to")
            guest.assert_runs_only_on(host_b, host_a)
            assert last(host_a)["step"] == "left"
        else:
            wait_for(lambda: state_of(guest.uuid, host_a) == "running", "it starts with the host")
            host_b.assert_no_leftovers()
            assert last(host_a)["step"] == "lost"


def test_the_destination_goes_down_with_the_answer_on_its_way(
    host_a: DaemonProcess, host_b: DaemonProcess, folder: Path
) -> None:
    """The guest ran there and went down with the host: the source does not start an older one, and says why."""
    with starting_with_the_host(host_a, folder) as guest, Proxy(host_b.port) as proxy:
        proxy.cut_on(FINISH_REPLY, then_refuse=True)
        with Running(host_a.uri, *P2P, guest.name, host_b.uri_by(proxy.port)) as running:
            wait_for(lambda: waits_for_the_destination(guest, host_a), "the source waits")
            host_b.lose_power()
            host_b.start()
            proxy.refuse(False)
            running.finish()
        assert last(host_b)["step"] == "arrived"
        assert state_of(guest.uuid, host_a) == "shut off"
        assert state_of(guest.uuid, host_b) == ""
        assert last(host_a)["step"] == "left"


def test_at_the_next_boot_alone(host_a: DaemonProcess, folder: Path) -> None:
    """By the calls of libvirt 11 (``virsh autostart --once``), which every virsh of it makes and a 9.0 has not."""
    with running_tiny(host_a, folder, persistent=True) as guest:
        dom = types.Domain(guest.name, UUID(guest.uuid).bytes, -1)

        def marked() -> int:
            with Raw(host_a) as raw:
                return raw.open().call(remote_domain.DOMAIN_GET_AUTOSTART_ONCE, shapes.DomainArgs(dom)).autostart

        def mark(wanted: int) -> None:
            with Raw(host_a) as raw:
                raw.open().call(
                    remote_domain.DOMAIN_SET_AUTOSTART_ONCE, remote_domain.DomainSetAutostartArgs(dom, wanted)
                )

        mark(1)
        assert marked() == 1
        mark(0)
        assert marked() == 0
        mark(1)
        host_a.lose_power()
        host_a.start()
        told(host_a, f"domain={guest.name} is started with the host")
        wait_for(lambda: state_of(guest.uuid, host_a) == "running", "it runs")
        wait_for(lambda: marked() == 0, "it was meant for this boot")
        started = host_a.log.count("is started with the host")
        host_a.lose_power()
        host_a.start()
        assert state_of(guest.uuid, host_a) == "shut off"
        assert host_a.log.count("is started with the host") == started
        assert not (host_a.root / "etc" / "qemu" / "autostart" / f"{guest.name}.xml.once").is_symlink()
