"""A guest that has everything is the same after every kind of move: its XML, running and not, and QEMU's view."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from guests import domain_xml, tiny, watch
from tests.support import generation
from tests.support.daemon import DaemonProcess
from tests.support.everything import PASSWORD, View, changed, with_everything
from tests.support.guest import RunningGuest
from tests.support.virsh import virsh

NAME = "all"
SMALL = tiny.TinyParameters(mib=16, dirty_mib=4, dirty_mib_s=10, pass_s=0.2)
MIGRATE = ("migrate", "--live", "--unsafe", "--persistent")
P2P = (*MIGRATE, "--p2p", "--tunnelled")


@contextmanager
def the_guest(host: DaemonProcess, folder: Path, machine: str = "pc") -> Iterator[RunningGuest]:
    """It runs, and has been changed in every way."""
    made = domain_xml.tiny_guest(folder, NAME, SMALL, machine=machine)
    xml = made.serial.with_suffix(".xml")
    xml.write_text(with_everything(made.xml))
    virsh("define", str(xml), uri=host.uri).expect()
    with watch.SerialWatch(made.serial) as follow:
        virsh("start", NAME, uri=host.uri).expect()
        follow.wait_running()
        changed(host, NAME, folder)
        yield RunningGuest(made, follow)


# The road, by the configuration of both daemons, the guest's machine, and what virsh is asked for.
MOVES = {
    "tunnelled": ("stream", ("pc", P2P)),
    "tunnelled-q35": ("stream", ("q35", P2P)),
    "pump": ("pump", ("pc", P2P)),
    "direct": ("direct", ("pc", P2P)),
    "parallel": ("pump", ("pc", (*MIGRATE, "--p2p", "--parallel", "--parallel-connections", "2"))),
    "post-copy": ("pump", ("q35", (*P2P, "--postcopy", "--postcopy-after-precopy"))),
    "client": ("auto", ("pc", MIGRATE)),
}


@pytest.mark.parametrize(
    ("route", "move"),
    [pytest.param(*move, id=name, marks=generation.needs(name)) for name, move in MOVES.items()],
)
def test_a_migration(
    host_a: DaemonProcess, host_b: DaemonProcess, folder: Path, route: str, move: tuple[str, tuple[str, ...]]
) -> None:
    machine, options = move
    with the_guest(host_a, folder, machine) as guest:
        before = View.of(host_a, NAME)
        virsh(*options, NAME, host_b.tcp_uri, uri=host_a.uri).expect()
        guest.assert_runs_only_on(host_b, host_a)
        View.of(host_b, NAME).assert_same(before)
        virsh(*options, NAME, host_a.tcp_uri, uri=host_b.uri).expect()
        guest.assert_runs_only_on(host_a, host_b)
        View.of(host_a, NAME).assert_same(before)


@pytest.mark.parametrize("how", ["save", "managed-save", "restart", "kill"])
def test_on_one_host(host_a: DaemonProcess, folder: Path, how: str) -> None:
    with the_guest(host_a, folder) as guest:
        before = View.of(host_a, NAME)
        file = str(folder / "all.save")
        match how:
            case "save":
                virsh("save", NAME, file, uri=host_a.uri).expect()
                virsh("restore", file, uri=host_a.uri).expect()
            case "managed-save":
                virsh("managedsave", NAME, uri=host_a.uri).expect()
                host_a.lose_power()
                host_a.start()
                virsh("start", NAME, uri=host_a.uri).expect()
            case _:
                host_a.restart(kill=how == "kill")
        guest.assert_runs_only_on(host_a)
        View.of(host_a, NAME).assert_same(before)


@pytest.mark.parametrize("options", [("--p2p",), ()], ids=["p2p", "client"])
def test_a_definition(host_a: DaemonProcess, host_b: DaemonProcess, folder: Path, options: tuple[str, ...]) -> None:
    with the_guest(host_a, folder):
        virsh("destroy", NAME, uri=host_a.uri).expect()
        before = View.of(host_a, NAME, running=False)
        virsh("migrate", "--offline", "--persistent", *options, NAME, host_b.tcp_uri, uri=host_a.uri).expect()
        View.of(host_b, NAME, running=False).assert_same(before)
        host_b.lose_power()
        host_b.start()
        View.of(host_b, NAME, running=False).assert_same(before)


def test_a_password_given_to_qemu_goes_along(host_a: DaemonProcess, host_b: DaemonProcess, folder: Path) -> None:
    with the_guest(host_a, folder):
        assert PASSWORD in View.of(host_a, NAME).live
        virsh("qemu-monitor-command", NAME, "--hmp", "set_password vnc third-01-of-them", uri=host_a.uri).expect()
        virsh(*P2P, NAME, host_b.tcp_uri, uri=host_a.uri).expect()
        assert "passwd='third-01'" in View.of(host_b, NAME).live
        file = folder / "screen.xml"
        for old, new, said in (
            ("127.0.0.1", "127.0.0.2", "cannot change listen address setting"),
            ("autoport='yes'", "autoport='no'", "cannot change port settings"),
            (" passwd='later-01'", " keymap='de' passwd='later-01'", "cannot change keymap setting"),
            (" passwd='later-01'", "", "cannot take the password"),
            ("later-01", "later-001", "the VNC password is longer than 8 characters"),
        ):
            asked = folder / "asked.xml"
            asked.write_text(file.read_text().replace(old, new))
            assert said in virsh("update-device", NAME, str(asked), "--live", uri=host_b.uri).err
        assert "passwd='third-01'" in View.of(host_b, NAME).live
        virsh("update-device", NAME, str(file), "--config", uri=host_b.uri).expect()
        assert f"passwd='{PASSWORD}'" in View.of(host_b, NAME).inactive
