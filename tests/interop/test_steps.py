"""A destination that answers late, with an error, or dies, at each of its steps; and one that is not what it says."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support import generation
from tests.support.culvert import culvert
from tests.support.daemon import DaemonProcess
from tests.support.guest import RunningGuest
from tests.support.interop import DIRTYING, IDLE, P2P, running
from tests.support.scripted import STEPS, Scripted
from tests.support.virsh import Result, Running, virsh


@pytest.fixture
def there() -> Iterator[Scripted]:
    """A libvirtd that does as it is told."""
    with Scripted() as scripted:
        yield scripted


def migrate(guest: RunningGuest, host: DaemonProcess, there: Scripted) -> Result:
    return virsh("migrate", *P2P, "--unsafe", guest.name, there.uri, uri=host.uri)


def state(guest: RunningGuest, host: DaemonProcess) -> str:
    return virsh("domstate", "--reason", guest.name, uri=host.uri).expect().strip()


def test_late_at_every_step(host_a: DaemonProcess, folder: Path, there: Scripted) -> None:
    with running(host_a, folder, "late", DIRTYING) as guest:
        for step in STEPS:
            there.fail(step, "late")
        assert migrate(guest, host_a, there).ok
        assert virsh("list", "--all", "--name", uri=host_a.uri).expect().split() == []
        host_a.assert_no_leftovers()
        assert there.largest <= 262_120, "the most that older peers take"


def test_an_error_at_each_step(host_a: DaemonProcess, folder: Path, there: Scripted) -> None:
    with running(host_a, folder, "error", IDLE) as guest:
        for step in STEPS:
            there.fail(step, "error")
            there.cancelled = False
            result = migrate(guest, host_a, there)
            assert not result.ok
            assert f"scripted error in {step}" in result.err
            guest.assert_runs_only_on(host_a)
            # Whoever has prepared is told to drop it; whoever has refused finish has dropped it.
            assert there.cancelled is (step in ("stream", "xml")), step
        assert migrate(guest, host_a, there).ok


def test_it_dies_at_each_step_before_finish(host_a: DaemonProcess, folder: Path, there: Scripted) -> None:
    with running(host_a, folder, "dies", IDLE) as guest:
        for step in STEPS[:-1]:
            there.fail(step, "dies")
            result = migrate(guest, host_a, there)
            assert not result.ok
            assert "connection" in result.err, step
            guest.assert_runs_only_on(host_a)
            there.kill()
            there.revive()
        assert migrate(guest, host_a, there).ok


FATES = [
    ((1, 3), "running there: it has arrived", ""),
    ((3, 1), "paused there by a person: it has arrived", ""),
    (None, "not there: it may have run and ended", "culvert resolve dies"),
    ((5, 1), "shut off there: it may have run and ended", "culvert resolve dies"),
]


@pytest.mark.parametrize(("fate", "words"), [(fate, words) for fate, _, words in FATES], ids=[f[1] for f in FATES])
def test_dies_in_finish(
    host_a: DaemonProcess, folder: Path, there: Scripted, fate: tuple[int, int] | None, words: str
) -> None:
    """The guest stays paused until the destination is back, and for good where that does not tell."""
    with running(host_a, folder, "dies", IDLE) as guest:
        there.fail("finish", "dies")
        with Running(host_a.uri, "migrate", *P2P, "--unsafe", guest.name, there.uri) as under_way:
            host_a.wait_logged("to say whether the guest runs there")
            assert state(guest, host_a) == "paused (migrating)"
            there.kill()
            there.state = fate
            there.revive()
            result = under_way.finish()
        if words:
            assert words in result.err
            assert state(guest, host_a) == "paused (migrating)"
            assert "resolve" in virsh("resume", guest.name, uri=host_a.uri).err
            culvert("resolve", guest.name, "--running-here", "--yes", uri=host_a.uri).expect()
            guest.assert_runs_only_on(host_a)
        else:
            assert result.ok, result.err
            assert virsh("list", "--all", "--name", uri=host_a.uri).expect().split() == []


def test_while_the_destination_works_on_finish_nothing_is_decided(
    host_a: DaemonProcess, folder: Path, there: Scripted
) -> None:
    with running(host_a, folder, "waits", IDLE) as guest:
        there.fail("finish", "dies")
        with Running(host_a.uri, "migrate", *P2P, "--unsafe", guest.name, there.uri) as under_way:
            host_a.wait_logged("to say whether the guest runs there")
            there.kill()
            there.state = (3, 2)  # paused, migration
            there.revive()
            assert under_way.process.poll() is None
            there.state = (1, 3)
            assert under_way.finish().ok


CHANGED = [
    (f"machine='{generation.own_machine('pc')}'", "machine='pc-i440fx-7.1'", "/domain/os/type/@machine"),
    (">qemu64<", ">kvm64<", "/domain/cpu/model"),
    ("<vcpu placement='static'>1<", "<vcpu placement='static'>2<", "/domain/vcpu"),
    ("slot='0x03'", "slot='0x13'", "/domain/devices/"),
    ("<acpi/>", "", "/domain/features"),
    ("</devices>", "<watchdog model='ib700' action='reset'/></devices>", "/domain/devices/watchdog count"),
    ("</devices>", "<tpm model='tpm-tis'/></devices>", "/domain/devices/tpm"),
]


def changing(before: str, after: str) -> Callable[[str], str]:
    return lambda xml: xml.replace(before, after)


def test_another_machine_waits_there(host_a: DaemonProcess, folder: Path, there: Scripted) -> None:
    """It is noticed before the first byte, and named."""
    with running(host_a, folder, "stable", IDLE, rich=True) as guest:
        xml = virsh("dumpxml", "--migratable", guest.name, uri=host_a.uri).expect()
        for before, after, path in CHANGED:
            assert before in xml
            there.rewrite = changing(before, after)
            there.cancelled = False
            result = migrate(guest, host_a, there)
            assert not result.ok, after
            assert path in result.err, result.err
            assert "would not be the same machine" in result.err
            assert there.cancelled
            assert there.largest == 0
        guest.assert_runs_only_on(host_a)
