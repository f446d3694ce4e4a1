"""Guests with UEFI on real daemons: found, started, moved there and back, saved, undefined; their variables kept."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from tests.support import generation, uefi
from tests.support.daemon import DaemonProcess
from tests.support.guest import RunningGuest, state_of
from tests.support.uefi import SECURE, running_uefi, uefi_guest, write
from tests.support.virsh import virsh
from tests.support.wait import wait_for
from tests.system.test_faults import slow_migration

pytestmark = uefi.needed

P2P = ("migrate", "--live", "--p2p")
TEMPLATE = Path("/usr/share/OVMF/OVMF_VARS_4M.fd")
CODE = Path("/usr/share/OVMF/OVMF_CODE_4M.fd")


def variables(host: DaemonProcess, name: str = "uefi") -> Path:
    return host.root / "lib" / "qemu" / "nvram" / f"{name}_VARS.fd"


def firmware(host: DaemonProcess, name: str = "uefi", *options: str) -> list[str]:
    """The lines of ``<os>`` that tell of it."""
    xml = virsh("dumpxml", *options, name, uri=host.uri).expect()
    return [
        line.strip()
        for line in xml.splitlines()
        if re.match(r" *<(os|firmware|feature enabled|loader|nvram)\b", line)
    ]


def by_hand(folder: Path, name: str = "uefi", *, own: Path | None = None) -> str:
    """XML of a guest that names an image and a template of its own, which are in ``folder``."""
    shutil.copy(CODE, folder / "code.fd")
    shutil.copy(TEMPLATE, folder / "template.fd")
    place = str(own) if own else ""
    guest = uefi_guest(
        folder,
        name,
        wish=f"<loader readonly='yes' type='pflash'>{folder / 'code.fd'}</loader>"
        f"<nvram template='{folder / 'template.fd'}'>{place}</nvram>",
    )
    path = guest.write_xml()
    return str(path)


def assert_moved(guest: RunningGuest, source: DaemonProcess, destination: DaemonProcess) -> None:
    """Whole, and its variables are there as they are here."""
    guest.assert_runs_only_on(destination, source)
    # QEMU writes them when the guest goes on.
    wait_for(
        lambda: variables(destination).read_bytes() == variables(source).read_bytes(), "the variables are the same"
    )
    assert variables(destination).read_bytes() != TEMPLATE.read_bytes(), "the firmware has written some"
    source.assert_no_leftovers()


@pytest.mark.parametrize("route", ["direct", "pump", "stream"])
def test_there_and_back(host_a: DaemonProcess, host_b: DaemonProcess, folder: Path, route: str) -> None:
    with running_uefi(host_a, folder) as guest:
        assert firmware(host_a)[0] == "<os>"
        assert firmware(host_a)[-2:] == [
            f"<loader readonly='yes' type='pflash'>{CODE}</loader>",
            f"<nvram template='{TEMPLATE}'>{variables(host_a)}</nvram>",
        ]
        virsh(*P2P, "--persistent", guest.name, host_b.tcp_uri, uri=host_a.uri).expect()
        assert_moved(guest, host_a, host_b)
        assert firmware(host_b)[-1] == f"<nvram template='{TEMPLATE}'>{variables(host_b)}</nvram>"
        assert firmware(host_b, "uefi", "--inactive")[0] == "<os firmware='efi'>", "found anew at each start"
        virsh(*P2P, guest.name, host_a.tcp_uri, uri=host_b.uri).expect()
        assert_moved(guest, host_b, host_a)


@generation.needs_postcopy
def test_by_the_client_in_postcopy(host_a: DaemonProcess, host_b: DaemonProcess, folder: Path) -> None:
    with running_uefi(host_a, folder, persistent=False) as guest:
        virsh(
            "migrate", "--live", "--postcopy", "--postcopy-after-precopy", guest.name, host_b.tcp_uri, uri=host_a.uri
        )
        assert_moved(guest, host_a, host_b)


def test_secure_boot_has_smm(host_a: DaemonProcess, host_b: DaemonProcess, folder: Path) -> None:
    """A firmware that looks at signatures; what it makes of a kernel without one is its own business."""
    guest = uefi_guest(folder, wish=SECURE)
    virsh("create", write(guest), uri=host_a.uri).expect()
    xml = virsh("dumpxml", guest.name, uri=host_a.uri).expect()
    assert "<loader readonly='yes' secure='yes' type='pflash'>/usr/share/OVMF/OVMF_CODE_4M.secboot.fd</loader>" in xml
    assert "<smm state='on'/>" in xml
    wait_for(lambda: variables(host_a).read_bytes() != TEMPLATE.read_bytes(), "the firmware has written", 60)
    for source, destination in ((host_a, host_b), (host_b, host_a)):
        virsh(*P2P, guest.name, destination.tcp_uri, uri=source.uri).expect()
        assert state_of(guest.name, destination) == "running"
        assert variables(destination).read_bytes() != TEMPLATE.read_bytes()
        source.assert_no_leftovers()


def test_a_guest_saved_and_restored(host_a: DaemonProcess, folder: Path) -> None:
    with running_uefi(host_a, folder) as guest:
        virsh("managedsave", guest.name, uri=host_a.uri).expect()
        before = variables(host_a).read_bytes()
        variables(host_a).unlink()
        virsh("start", guest.name, uri=host_a.uri).expect()
        guest.assert_runs_only_on(host_a)
        wait_for(lambda: variables(host_a).read_bytes() == before, "they were in the image, too")
        image = folder / "saved"
        virsh("save", guest.name, str(image), uri=host_a.uri).expect()
        virsh("restore", str(image), "--reset-nvram", uri=host_a.uri).expect()
        guest.assert_runs_only_on(host_a)


def test_undefine_asks_what_becomes_of_the_variables(host_a: DaemonProcess, folder: Path) -> None:
    guest = uefi_guest(folder)
    virsh("define", write(guest), uri=host_a.uri).expect()
    virsh("start", guest.name, uri=host_a.uri).expect()
    virsh("destroy", guest.name, uri=host_a.uri).expect()
    refused = virsh("undefine", guest.name, uri=host_a.uri)
    assert "cannot undefine domain with nvram" in refused.err
    variables(host_a).write_bytes(b"mine")
    virsh("domrename", guest.name, "other", uri=host_a.uri).expect()
    assert variables(host_a, "other").read_bytes() == b"mine"
    virsh("domrename", "other", guest.name, uri=host_a.uri).expect()
    virsh("start", guest.name, "--reset-nvram", uri=host_a.uri).expect()
    virsh("destroy", guest.name, uri=host_a.uri).expect()
    assert variables(host_a).stat().st_size == TEMPLATE.stat().st_size
    virsh("undefine", guest.name, "--keep-nvram", uri=host_a.uri).expect()
    assert variables(host_a).exists()
    virsh("define", write(guest), uri=host_a.uri).expect()
    virsh("undefine", guest.name, "--nvram", uri=host_a.uri).expect()
    assert not variables(host_a).exists()
    host_a.assert_no_leftovers()


def test_firmware_that_the_destination_lacks_is_told_by_its_name(
    host_a: DaemonProcess, host_b: DaemonProcess, folder: Path
) -> None:
    virsh("create", by_hand(folder), uri=host_a.uri).expect()
    for missing, words in (("code.fd", "there is no firmware"), ("template.fd", "Failed to open file")):
        (folder / missing).rename(folder / "away")
        refused = virsh(*P2P, "uefi", host_b.tcp_uri, uri=host_a.uri)
        (folder / "away").rename(folder / missing)
        assert words in refused.err
        assert missing in refused.err
        assert virsh("domstate", "uefi", uri=host_a.uri).out.strip() == "running"
        assert not variables(host_b).exists()
        host_b.assert_no_leftovers()
    virsh(*P2P, "uefi", host_b.tcp_uri, uri=host_a.uri).expect()


@pytest.mark.parametrize("killed", [False, True], ids=["aborted", "killed"])
def test_a_guest_that_does_not_arrive_leaves_no_variables(
    host_a: DaemonProcess, host_b: DaemonProcess, folder: Path, killed: bool
) -> None:
    with running_uefi(host_a, folder) as guest:
        with slow_migration(guest, host_a, host_b.tcp_uri) as running:
            assert variables(host_b).exists()
            if killed:
                host_b.kill()
                host_b.start()
            else:
                virsh("domjobabort", guest.name, uri=host_a.uri).expect()
            assert not running.finish().ok
        wait_for(lambda: not variables(host_b).exists(), "nothing is left of them")
        guest.assert_runs_only_on(host_a, host_b)
        host_b.assert_no_leftovers()
        assert variables(host_a).exists()


def test_a_daemon_that_is_killed_finds_the_guest_and_keeps_its_variables(
    host_a: DaemonProcess, host_b: DaemonProcess, folder: Path
) -> None:
    with running_uefi(host_a, folder, persistent=False) as guest:
        virsh(*P2P, guest.name, host_b.tcp_uri, uri=host_a.uri).expect()
        host_b.kill()
        host_b.start()
        assert_moved(guest, host_a, host_b)
        virsh("destroy", guest.name, uri=host_b.uri).expect()
        assert variables(host_b).exists()


def test_a_start_that_fails_leaves_no_variables(host_a: DaemonProcess, folder: Path) -> None:
    xml = by_hand(folder)
    (folder / "code.fd").write_bytes(b"no firmware")
    refused = virsh("create", xml, uri=host_a.uri)
    assert "size" in refused.err, refused
    assert not variables(host_a).exists()
    assert (folder / "template.fd").exists()
    host_a.assert_no_leftovers()


def test_a_place_that_somebody_has_chosen_is_kept_to(
    host_a: DaemonProcess, host_b: DaemonProcess, folder: Path
) -> None:
    own = folder / "chosen" / "own.fd"
    virsh("create", by_hand(folder, own=own), uri=host_a.uri).expect()
    assert own.exists()
    virsh(*P2P, "uefi", host_b.tcp_uri, uri=host_a.uri).expect()
    assert firmware(host_b)[-1] == f"<nvram template='{folder / 'template.fd'}'>{own}</nvram>"
    assert not variables(host_b).exists()


def test_what_is_there_is_told_in_domcapabilities(host_a: DaemonProcess) -> None:
    told = virsh("domcapabilities", "--virttype", "qemu", "--machine", "q35", uri=host_a.uri).expect()
    assert "<value>efi</value>" in told
    assert f"<value>{CODE}</value>" in told
    assert re.search(r"<enum name=.secure.>\s*<value>yes</value>\s*<value>no</value>", told)
