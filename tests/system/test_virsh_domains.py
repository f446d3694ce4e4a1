"""The real virsh starts, stops and steers domains; what it shows of them follows."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

import pytest

from guests import domain_xml
from tests.support.daemon import DaemonProcess
from tests.support.guest import RunningGuest, running_tiny, state_of
from tests.support.virsh import Result, virsh
from tests.support.wait import wait_for


def reason_of(guest: str, uri: str) -> str:
    """``virsh domstate --reason``."""
    return virsh("domstate", "--reason", guest, uri=uri).expect().strip()


def names(uri: str, *filters: str) -> list[str]:
    """What ``virsh list --name`` shows."""
    return virsh("list", "--name", *filters, uri=uri).expect().split()


def wait_state(guest: str, uri: str, state: str) -> None:
    """Wait for a state and its reason."""
    wait_for(lambda: reason_of(guest, uri) == state, f"{guest} is {state}")


def wait_booted(guest: RunningGuest, times: int) -> None:
    """Wait until it has booted so often and listens to its power button: then it prints its lines."""
    wait_for(lambda: sum("boot" in line for line in guest.watch.other_lines) == times, "it boots again")
    guest.watch.wait_running()


FILTERS = {
    (): "paused running",
    ("--all",): "idle paused running",
    ("--inactive",): "idle",
    ("--transient",): "paused",
    ("--persistent",): "running",
    ("--persistent", "--all"): "idle running",
    ("--transient", "--all"): "paused",
    ("--state-running",): "running",
    ("--state-paused",): "paused",
    ("--state-shutoff",): "idle",
    ("--state-running", "--state-shutoff", "--all"): "idle running",
    ("--state-other",): "",
    ("--state-paused", "--persistent"): "",
    ("--autostart", "--all"): "",
    ("--no-autostart", "--all"): "idle paused running",
    ("--with-snapshot", "--all"): "",
    ("--without-snapshot", "--all"): "idle paused running",
    ("--with-checkpoint", "--all"): "",
    ("--without-checkpoint", "--all"): "idle paused running",
    ("--with-managed-save", "--all"): "",
    ("--without-managed-save", "--all"): "idle paused running",
}


def test_list_and_all_its_filters(uri: str, host_a: DaemonProcess, folder: Path) -> None:
    xml = {name: str(domain_xml.tiny_guest(folder, name).write_xml()) for name in ("running", "paused", "idle")}
    virsh("define", xml["idle"], uri=uri).expect()
    virsh("define", xml["running"], uri=uri).expect()
    virsh("start", "running", uri=uri).expect()
    virsh("create", "--paused", xml["paused"], uri=uri).expect()
    for filters, expected in FILTERS.items():
        assert sorted(names(uri, *filters)) == expected.split(), filters
    rows = [line.split(maxsplit=2) for line in virsh("list", "--all", uri=uri).expect().splitlines()[2:] if line]
    assert rows == [["1", "running", "running"], ["2", "paused", "paused"], ["-", "idle", "shut off"]]
    assert virsh("list", "--id", uri=uri).expect().split() == ["1", "2"]
    uuids = virsh("list", "--all", "--uuid", uri=uri).expect().split()
    assert sorted(uuids) == sorted(virsh("domuuid", name, uri=uri).expect().strip() for name in xml)
    assert "Title" in virsh("list", "--all", "--title", uri=uri).expect()
    assert virsh("list", "--all", "--managed-save", uri=uri).ok


def test_by_name_id_and_uuid(uri: str, host_a: DaemonProcess, folder: Path) -> None:
    with running_tiny(host_a, folder) as guest:
        number = virsh("domid", guest.name, uri=uri).expect().strip()
        assert virsh("domuuid", guest.name, uri=uri).expect().strip() == guest.uuid
        for key in (guest.name, number, guest.uuid):
            assert virsh("domstate", key, uri=uri).expect().strip() == "running"
        for key in (guest.name, guest.uuid):
            assert virsh("domid", key, uri=uri).expect().strip() == number
        for key in (guest.name, number):
            assert virsh("domuuid", key, uri=uri).expect().strip() == guest.uuid
        for key in (number, guest.uuid):
            assert virsh("domname", key, uri=uri).expect().strip() == guest.name
        for missing in ("nobody", "4711", "00000000-0000-4000-8000-000000000000", "", "täst"):
            assert not virsh("domid", missing, uri=uri).ok


def test_suspend_resume_and_their_reasons(uri: str, host_a: DaemonProcess, folder: Path) -> None:
    with running_tiny(host_a, folder) as guest:
        assert reason_of(guest.name, uri) == "running (booted)"
        assert "suspended" in virsh("suspend", guest.name, uri=uri).expect()
        assert reason_of(guest.name, uri) == "paused (user)"
        guest.watch.assert_stopped()
        virsh("suspend", guest.name, uri=uri).expect()  # once more does nothing
        assert "resumed" in virsh("resume", guest.name, uri=uri).expect()
        assert reason_of(guest.name, uri) == "running (unpaused)"
        guest.watch.wait_verified()
        assert "domain is already running" in virsh("resume", guest.name, uri=uri).err
        assert reason_of(guest.name, uri) == "running (unpaused)"


def test_start_paused_then_run(uri: str, host_a: DaemonProcess, folder: Path) -> None:
    guest = domain_xml.tiny_guest(folder, "t")
    virsh("define", str(guest.write_xml()), uri=uri).expect()
    assert reason_of("t", uri) == "shut off (unknown)"
    virsh("start", "--paused", "t", uri=uri).expect()
    assert reason_of("t", uri) == "paused (user)"
    assert not guest.serial.exists() or guest.serial.read_bytes() == b""
    assert "already active" in virsh("start", "t", uri=uri).err
    virsh("resume", "t", uri=uri).expect()
    wait_for(lambda: b"count=" in guest.serial.read_bytes(), "it prints")
    virsh("destroy", "t", uri=uri).expect()
    assert reason_of("t", uri) == "shut off (destroyed)"
    virsh("start", "t", uri=uri).expect()
    assert reason_of("t", uri) == "running (booted)"
    assert virsh("domid", "t", uri=uri).expect().strip() == "2"
    # Unlike real ACPI of a guest without it, SIGTERM is always obeyed by QEMU.
    virsh("destroy", "--graceful", "t", uri=uri).expect()
    assert reason_of("t", uri) == "shut off (destroyed)"
    host_a.assert_no_leftovers()


@pytest.mark.parametrize("machine", ["pc", "q35"])
def test_shutdown_reboot_and_reset(host_a: DaemonProcess, folder: Path, machine: str) -> None:
    uri = host_a.uri
    with running_tiny(host_a, folder, machine=machine, persistent=True) as guest:
        assert "is being rebooted" in virsh("reboot", guest.name, uri=uri).expect()
        wait_booted(guest, 2)
        wait_state(guest.name, uri, "running (unpaused)")
        assert "was reset" in virsh("reset", guest.name, uri=uri).expect()
        wait_booted(guest, 3)
        assert len(host_a.qemu_pids()) == 1
        assert "is being shutdown" in virsh("shutdown", guest.name, uri=uri).expect()
        wait_state(guest.name, uri, "shut off (shutdown)")
        host_a.assert_no_leftovers()
        virsh("start", guest.name, uri=uri).expect()
        wait_booted(guest, 4)
        virsh("shutdown", "--mode", "acpi", guest.name, uri=uri).expect()
        wait_state(guest.name, uri, "shut off (shutdown)")
        virsh("start", "--paused", guest.name, uri=uri).expect()
        for mode in ("initctl", "signal", "paravirt"):
            result = virsh("shutdown", "--mode", mode, guest.name, uri=uri)
            assert not result.ok, mode
            assert "only ACPI" in result.err, (mode, result)


def test_a_guest_without_acpi_does_not_hear_the_button(host_a: DaemonProcess, folder: Path) -> None:
    guest = domain_xml.tiny_guest(folder, "deaf")
    path = folder / "deaf.xml"
    path.write_text(guest.xml.replace("<acpi/>", ""))
    virsh("create", str(path), uri=host_a.uri).expect()
    wait_for(lambda: guest.serial.exists() and b"count=" in guest.serial.read_bytes(), "it prints")
    assert virsh("shutdown", "deaf", uri=host_a.uri).ok
    before = guest.serial.stat().st_size
    wait_for(lambda: guest.serial.stat().st_size > before + 1000, "it goes on")
    assert reason_of("deaf", host_a.uri) == "running (booted)"
    # It can still be reset and destroyed.
    virsh("reset", "deaf", uri=host_a.uri).expect()
    virsh("destroy", "deaf", uri=host_a.uri).expect()
    assert names(host_a.uri, "--all") == []


def test_what_a_domain_that_does_not_run_refuses(uri: str, host_a: DaemonProcess, folder: Path) -> None:
    virsh("define", str(domain_xml.tiny_guest(folder, "t").write_xml()), uri=uri).expect()
    for command in (
        ("suspend",),
        ("resume",),
        ("shutdown",),
        ("reboot",),
        ("reset",),
        ("destroy",),
        ("destroy", "--graceful"),
        ("screenshot",),
        ("domjobabort",),
        ("domjobinfo",),
        ("domcontrol",),
        ("migrate-getmaxdowntime",),
    ):
        result = virsh(*command, "t", uri=uri)
        assert not result.ok, command
        assert "not running" in result.err or "no job" in result.err, (command, result)
    result = virsh("qemu-monitor-command", "t", "query-status", uri=uri)
    assert "not running" in result.err, result
    assert reason_of("t", uri) == "shut off (unknown)"


def test_qemu_dies_and_is_a_crash(uri: str, host_a: DaemonProcess, folder: Path) -> None:
    with running_tiny(host_a, folder, persistent=True) as guest:
        (pid,) = host_a.qemu_pids()
        os.kill(pid, signal.SIGKILL)
        wait_state(guest.name, uri, "shut off (crashed)")
        host_a.assert_no_leftovers()
        virsh("start", guest.name, uri=uri).expect()
        assert state_of(guest.uuid, host_a) == "running"
        # Told to end by somebody else, QEMU says that it will: no crash.
        (pid,) = host_a.qemu_pids()
        os.kill(pid, signal.SIGTERM)
        wait_state(guest.name, uri, "shut off (shutdown)")


def test_dominfo(uri: str, host_a: DaemonProcess, folder: Path) -> None:
    with running_tiny(host_a, folder, persistent=True) as guest:
        told = _fields(virsh("dominfo", guest.name, uri=uri))
        assert told["Id"] == virsh("domid", guest.name, uri=uri).expect().strip()
        assert told["Name"] == guest.name
        assert told["UUID"] == guest.uuid
        assert told["OS Type"] == "hvm"
        assert told["State"] == "running"
        assert told["CPU(s)"] == "1"
        assert re.fullmatch(r"\d+\.\d+s", told["CPU time"])
        xml = virsh("dumpxml", guest.name, uri=uri).expect()
        assert f">{told['Max memory'].removesuffix(' KiB')}</memory>" in xml
        assert told["Used memory"] == told["Max memory"]
        assert told["Persistent"] == "yes"
        assert told["Autostart"] == "disable"
        assert told["Managed save"] == "no"
        virsh("destroy", guest.name, uri=uri).expect()
        told = _fields(virsh("dominfo", guest.name, uri=uri))
        assert told["Id"] == "-"
        assert told["State"] == "shut off"
        assert "CPU time" not in told
        assert not virsh("domid", guest.name, uri=uri).expect().strip().isdigit()


def _fields(result: Result) -> dict[str, str]:
    lines = [line for line in result.expect().splitlines() if line.strip()]
    return {name.strip(): value.strip() for name, value in (line.split(":", 1) for line in lines)}


def test_what_virsh_reads_from_the_xml(uri: str, host_a: DaemonProcess, folder: Path) -> None:
    disk = folder / "disk.raw"
    disk.write_bytes(bytes(1 << 20))
    devices = (
        f"<disk type='file' device='disk'><source file='{disk}'/><target dev='vda' bus='virtio'/></disk>"
        "<disk type='file' device='cdrom'><target dev='sda' bus='sata'/></disk>"
        "<interface type='user'><mac address='52:54:00:01:02:03'/><model type='virtio'/></interface>"
        "<graphics type='vnc' port='-1' listen='127.0.0.1'/>"
    )
    guest = domain_xml.DomainXML("shown", 16, serials=(domain_xml.Serial(),), machine="q35", devices=devices)
    path = folder / "shown.xml"
    path.write_text(guest.text())
    virsh("create", "--paused", str(path), uri=uri).expect()
    assert Path(virsh("ttyconsole", "shown", uri=uri).expect().strip()).is_char_device()
    assert re.search(rf"vda +{disk}\n", virsh("domblklist", "shown", uri=uri).expect())
    assert re.search(rf"file +disk +vda +{disk}\n", virsh("domblklist", "--details", "shown", uri=uri).expect())
    assert re.search(r"file +cdrom +sda +-\n", virsh("domblklist", "--details", "shown", uri=uri).expect())
    assert re.search(r"user +- +virtio +52:54:00:01:02:03\n", virsh("domiflist", "shown", uri=uri).expect())
    display = re.fullmatch(r"127\.0\.0\.1:(\d+)", virsh("vncdisplay", "shown", uri=uri).expect().strip())
    assert display is not None
    port = 5900 + int(display.group(1))
    assert f"port='{port}'" in virsh("dumpxml", "shown", uri=uri).expect()
    assert virsh("domdisplay", "shown", uri=uri).expect().strip() == f"vnc://127.0.0.1:{display.group(1)}"
