"""The real virsh puts guests into files and takes them out again; they go on where they were."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import page_cache
from tests.support.daemon import DaemonProcess
from tests.support.guest import RunningGuest, running_tiny, state_of
from tests.support.libvirt_python import libvirt_python
from tests.support.terminal import Terminal
from tests.support.virsh import Running, virsh
from tests.support.wait import wait_for


@contextlib.contextmanager
def small_disk(place: Path) -> Iterator[None]:
    """``place`` is a file system with less room than a guest needs; takes root."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m,mode=700", "save", str(place)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def reason_of(name: str, uri: str) -> str:
    return virsh("domstate", "--reason", name, uri=uri).expect().strip()


def boots(guest: RunningGuest) -> int:
    return guest.guest.serial.read_bytes().count(b"culvert-guest boot")


@pytest.mark.parametrize("machine", ["pc", "q35"])
def test_save_and_restore(uri: str, host_a: DaemonProcess, folder: Path, machine: str) -> None:
    file = folder / "tiny.save"
    with running_tiny(host_a, folder, machine=machine) as guest:
        before = host_a.log.count(" registered")
        with Terminal(uri, "event", "--loop", "--event", "lifecycle") as told:
            wait_for(lambda: host_a.log.count(" registered") > before, "the registration")
            virsh("save", guest.name, str(file), uri=uri).expect()
            assert guest.name not in virsh("list", "--all", "--name", uri=uri).expect().split()
            host_a.assert_no_leftovers()
            assert file.stat().st_mode & 0o777 == 0o600
            virsh("restore", str(file), uri=uri).expect()
            assert reason_of(guest.name, uri) == "running (restored)"
            told.wait_for("Resumed Snapshot")
            assert re.findall(r"domain 'tiny': (.*)", told.shown) == [
                *("Suspended Paused", "Stopped Saved", "Started Restored", "Resumed Snapshot")
            ]
        guest.watch.wait_verified()
        assert boots(guest) == 1
        assert "already active" in virsh("restore", str(file), uri=uri).err
        virsh("destroy", guest.name, uri=uri).expect()
        virsh("restore", str(file), "--paused", uri=uri).expect()
        assert reason_of(guest.name, uri) == "paused (user)"
        virsh("resume", guest.name, uri=uri).expect()


def test_managed_save(uri: str, host_a: DaemonProcess, folder: Path) -> None:
    with running_tiny(host_a, folder, persistent=True) as guest:
        name = guest.name
        virsh("managedsave", name, uri=uri).expect()
        assert reason_of(name, uri) == "shut off (saved)"
        assert re.search(r"Managed save: +yes", virsh("dominfo", name, uri=uri).expect())
        assert virsh("list", "--all", "--with-managed-save", "--name", uri=uri).expect().split() == [name]
        assert "saved" in virsh("list", "--all", "--managed-save", uri=uri).expect()
        host_a.restart()
        assert re.search(r"Managed save: +yes", virsh("dominfo", name, uri=uri).expect())
        assert "managed save image exists" in virsh("undefine", name, uri=uri).err
        virsh("start", name, uri=uri).expect()
        assert reason_of(name, uri) == "running (restored)"
        guest.watch.wait_verified()
        assert boots(guest) == 1
        assert re.search(r"Managed save: +no", virsh("dominfo", name, uri=uri).expect())
        # A guest that stood still is restored standing still, unless somebody says otherwise.
        virsh("suspend", name, uri=uri).expect()
        virsh("managedsave", name, uri=uri).expect()
        virsh("start", name, uri=uri).expect()
        assert reason_of(name, uri) == "paused (user)"
        virsh("managedsave", name, "--running", uri=uri).expect()
        virsh("start", name, uri=uri).expect()
        guest.watch.wait_verified()
        virsh("managedsave", name, uri=uri).expect()
        virsh("start", "--force-boot", name, uri=uri).expect()
        wait_for(lambda: boots(guest) == 2, "it has booted anew")
        virsh("managedsave", name, uri=uri).expect()
        virsh("managedsave-remove", name, uri=uri).expect()
        assert re.search(r"Managed save: +no", virsh("dominfo", name, uri=uri).expect())
        virsh("start", name, uri=uri).expect()
        wait_for(lambda: boots(guest) == 3, "it has booted anew")
        virsh("managedsave", name, uri=uri).expect()
        virsh("undefine", "--managed-save", name, uri=uri).expect()
        assert list((host_a.root / "lib" / "qemu" / "save").iterdir()) == []


def test_the_description_in_a_file(uri: str, host_a: DaemonProcess, folder: Path) -> None:
    file = folder / "tiny.save"
    with running_tiny(host_a, folder) as guest:
        virsh("save", guest.name, str(file), uri=uri).expect()
        xml = virsh("save-image-dumpxml", str(file), uri=uri).expect()
        assert guest.uuid in xml
        changed = folder / "changed.xml"
        changed.write_text(xml.replace("<memory ", "<title>from a file</title>\n  <memory "))
        virsh("save-image-define", str(file), str(changed), "--paused", uri=uri).expect()
        assert "from a file" in virsh("save-image-dumpxml", str(file), uri=uri).expect()
        other = folder / "other.xml"
        other.write_text(re.sub(r"(<memory unit='KiB'>)\d+", r"\g<1>99999", xml))
        result = virsh("save-image-define", str(file), str(other), uri=uri)
        assert "does not match source" in result.err
        assert "does not match source" in virsh("restore", str(file), "--xml", str(other), uri=uri).err
        # Nor what could not be defined.
        other.write_text(xml.replace("<memory ", "<title>two\nlines</title>\n  <memory ", 1))
        result = virsh("save-image-define", str(file), str(other), uri=uri)
        assert "the title of a domain is one line" in result.err
        result = virsh("restore", str(file), "--xml", str(other), uri=uri)
        assert "the title of a domain is one line" in result.err
        virsh("restore", str(file), uri=uri).expect()
        assert reason_of(guest.name, uri) == "paused (user)"
        assert "from a file" in virsh("desc", "--title", guest.name, uri=uri).expect()
        result = virsh("save", guest.name, str(folder / "again"), "--xml", str(other), uri=uri)
        assert "the title of a domain is one line" in result.err
        assert reason_of(guest.name, uri) == "paused (user)"


def test_a_save_that_fails_leaves_the_guest_as_it_was(uri: str, host_a: DaemonProcess, folder: Path) -> None:
    with running_tiny(host_a, folder, persistent=True) as guest:
        result = virsh("save", guest.name, str(folder / "no" / "folder"), uri=uri)
        assert "No such file or directory" in result.err
        assert reason_of(guest.name, uri) == "running (save canceled)"
        result = virsh("save", guest.name, "/dev/full", uri=uri)
        assert not result.ok
        assert reason_of(guest.name, uri) == "running (save canceled)"
        guest.watch.wait_verified()
        assert boots(guest) == 1
        assert os.path.exists("/dev/full")


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting takes root")
@pytest.mark.parametrize("kind", ["save", "managedsave"])
def test_a_save_that_fails_leaves_the_older_image(host_a: DaemonProcess, folder: Path, kind: str) -> None:
    """The disk is full, or QEMU is killed half-way: what was saved before can still be restored."""
    place = folder / "place" if kind == "save" else host_a.root / "lib" / "qemu" / "save"
    place.mkdir(exist_ok=True)
    image = place / "tiny.save"
    words = ("save", "tiny", str(image)) if kind == "save" else ("managedsave", "tiny")
    older = b"what was saved before"
    with small_disk(place), running_tiny(host_a, folder, persistent=True) as guest:
        image.write_bytes(older)
        result = virsh(*words, uri=host_a.uri)
        assert not result.ok
        assert reason_of(guest.name, host_a.uri) == "running (save canceled)"
        guest.watch.wait_verified()
        assert boots(guest) == 1
        assert {path.name: path.read_bytes() for path in place.iterdir()} == {image.name: older}
        assert virsh("dominfo", guest.name, uri=host_a.uri).out.partition("Managed save:")[2].split()[:1] == ["no"]


def test_a_save_that_a_daemon_has_left_is_swept(host_a: DaemonProcess, folder: Path) -> None:
    with running_tiny(host_a, folder, persistent=True) as guest:
        virsh("managedsave", guest.name, uri=host_a.uri).expect()
        place = host_a.root / "lib" / "qemu" / "save"
        (place / ".culvert-saving-x.tmp").write_bytes(b"half of it")
        host_a.restart()
        assert [path.name for path in place.iterdir()] == ["tiny.save"]
        virsh("start", guest.name, uri=host_a.uri).expect()
        guest.watch.wait_verified()


def test_files_that_hold_no_guest(uri: str, host_a: DaemonProcess, folder: Path) -> None:
    rubbish = folder / "rubbish"
    rubbish.write_bytes(os.urandom(9999))
    assert "no file that culvert has saved a guest in" in virsh("restore", str(rubbish), uri=uri).err
    assert "No such file" in virsh("restore", str(folder / "gone"), uri=uri).err
    with running_tiny(host_a, folder, persistent=True) as guest:
        virsh("managedsave", guest.name, uri=uri).expect()
        (image,) = (host_a.root / "lib" / "qemu" / "save").iterdir()
        whole = image.read_bytes()
        # The stream is cut short: the guest cannot go on, the image stays, and a person decides.
        image.write_bytes(whole[: len(whole) // 2])
        result = virsh("start", guest.name, uri=uri)
        assert "force-boot" in result.err, result
        host_a.assert_no_leftovers()
        image.write_bytes(whole)
        virsh("start", guest.name, uri=uri).expect()
        guest.watch.wait_verified()
        assert boots(guest) == 1
        # What was never finished is set aside, and the guest boots anew.
        virsh("managedsave", guest.name, uri=uri).expect()
        image.write_bytes(b"culvert part. 1\0" + whole[16:])
        virsh("start", guest.name, uri=uri).expect()
        wait_for(lambda: boots(guest) == 2, "it has booted anew")
        assert image.with_name(image.name + ".unreadable").exists()


def test_who_hears_of_the_end_finds_the_image(host_a: DaemonProcess, folder: Path) -> None:
    """Clients ask once, when the event comes, and remember the answer."""
    with running_tiny(host_a, folder, boot="disk", persistent=True):
        libvirt_python(
            """
            import threading
            libvirt.virEventRegisterDefaultImpl()
            def loop():
                while True:
                    libvirt.virEventRunDefaultImpl()
            threading.Thread(target=loop, daemon=True).start()
            watched = libvirt.open(sys.argv[1])
            found = []
            told = threading.Event()
            def heard(connection, domain, event, detail, opaque):
                if event == libvirt.VIR_DOMAIN_EVENT_STOPPED:
                    found.append((detail, domain.hasManagedSaveImage()))
                    told.set()
            watched.domainEventRegisterAny(None, libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE, heard, None)
            connection.lookupByName("tiny").managedSave()
            assert told.wait(20)
            assert found == [(libvirt.VIR_DOMAIN_EVENT_STOPPED_SAVED, 1)], found
            """,
            host_a.uri,
        )


def test_an_image_of_a_guest_that_runs_is_set_aside(host_a: DaemonProcess, folder: Path) -> None:
    """The daemon was killed when the image was whole and the guest not yet ended: it goes on, the image does not."""
    with running_tiny(host_a, folder, boot="disk", persistent=True) as guest:
        virsh("managedsave", "tiny", uri=host_a.uri).expect()
        image = next((host_a.root / "lib").rglob("tiny.save"))
        kept = image.read_bytes()
        virsh("start", "tiny", uri=host_a.uri).expect()
        host_a.kill()
        image.write_bytes(kept)
        host_a.restart()
        assert virsh("list", "--with-managed-save", "--all", "--name", uri=host_a.uri).expect().split() == []
        assert not image.exists()
        guest.watch.wait_verified()


def test_a_file_cut_short(host_a: DaemonProcess, folder: Path) -> None:
    """The header is whole, the stream is not: QEMU says so, and nothing runs or stays."""
    file = folder / "tiny.save"
    with running_tiny(host_a, folder) as guest:
        virsh("save", guest.name, str(file), uri=host_a.uri).expect()
        os.truncate(file, file.stat().st_size // 2)
        assert "operation failed" in virsh("restore", str(file), uri=host_a.uri, timeout=100).err
        assert virsh("list", "--all", "--name", uri=host_a.uri).expect().split() == []
        host_a.assert_no_leftovers()


def test_during_a_migration(host_a: DaemonProcess, host_b: DaemonProcess, folder: Path) -> None:
    """What would change the guest or end it is refused meanwhile, by the job's name; the migration goes on."""
    card = folder / "card.xml"
    card.write_text("<interface type='user'><mac address='52:54:00:00:01:01'/></interface>")
    refused = (
        *(
            ("save", "tiny", str(folder / "s")),
            ("managedsave", "tiny"),
            ("attach-device", "tiny", str(card), "--live"),
        ),
        *(("setmem", "tiny", "8M", "--live"), ("detach-interface", "tiny", "user", "--live")),
    )
    with running_tiny(host_a, folder, persistent=True) as guest:
        there = ("--live", "--p2p", "--bandwidth", "1", guest.name, host_b.tcp_uri)
        with Running(host_a.uri, "migrate", *there) as moving:
            wait_for(lambda: "Unbounded" in virsh("domjobinfo", guest.name, uri=host_a.uri).out, "the migration")
            for command in refused:
                said = virsh(*command, uri=host_a.uri).err
                assert "while job" in said or "No interface" in said, (command, said)
            virsh("domjobabort", guest.name, uri=host_a.uri).expect()
            assert not moving.finish().ok
        assert not (folder / "s").exists()
        # Called off while it was being prepared, it ends there when the connection does.
        wait_for(lambda: state_of(guest.uuid, host_b) == "", "nothing is left of it there")
        guest.assert_runs_only_on(host_a, host_b)


def test_bypass_cache(uri: str, host_a: DaemonProcess, folder: Path) -> None:
    """What is written and read with the flag is not in the page cache afterwards; without it, it is."""
    with page_cache.place() as place, running_tiny(host_a, folder, persistent=True) as guest:
        file, core = place / "tiny.save", place / "core"
        for flags, clear in (((), False), (("--bypass-cache",), True)):
            for kind in ((), ("--memory-only",)):
                virsh("dump", guest.name, str(core), *kind, *flags, uri=uri).expect()
                assert (page_cache.cached(core) == 0) is clear, (flags, kind)
            virsh("save", guest.name, str(file), *flags, uri=uri).expect()
            assert (page_cache.cached(file) == 0) is clear, flags
            virsh("restore", str(file), *flags, uri=uri).expect()
            assert (page_cache.cached(file) == 0) is clear, flags
            assert reason_of(guest.name, uri) == "running (restored)"
        virsh("managedsave", guest.name, "--bypass-cache", uri=uri).expect()
        virsh("start", guest.name, "--bypass-cache", uri=uri).expect()
        assert reason_of(guest.name, uri) == "running (restored)"
        guest.watch.wait_verified()
        assert boots(guest) == 1


IMAGE_FORMATS = """
domain, file = connection.lookupByName(sys.argv[2]), sys.argv[3]
for params, words in (
    ({"image_format": "sparse"}, "save image format 'sparse' is not supported by culvert: 'raw' is"),
    ({"image_format": "zstd"}, "save image format 'zstd' is not supported"),
    ({"image_format": "png"}, "Invalid image_format 'png'"),
    ({"parallel.channels": 2}, "Parallel save is only supported with the 'sparse' save image format"),
    ({"else": 1}, "parameter 'else' not supported"),
):
    for call in (domain.saveParams, connection.restoreParams):
        try:
            call({"file": file, **params})
        except libvirt.libvirtError as error:
            assert words in str(error), error
        else:
            raise AssertionError(params)
assert domain.isActive()
domain.saveParams({"file": file, "image_format": "raw"})
connection.restoreParams({"file": file})
"""


def test_formats_of_an_image(uri: str, host_a: DaemonProcess, folder: Path) -> None:
    """Those that libvirt has since 11.2; ``virsh save --image-format`` sends them."""
    with running_tiny(host_a, folder) as guest:
        libvirt_python(IMAGE_FORMATS, uri, guest.name, str(folder / "image"))
        guest.watch.wait_verified()
        assert boots(guest) == 1
