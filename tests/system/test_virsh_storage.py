"""The real virsh keeps folders of disk images as storage pools."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.support.daemon import DaemonProcess
from tests.support.libvirt_python import libvirt_python
from tests.support.virsh import ENVIRONMENT, virsh

MIB = 1024 * 1024


def images(folder: Path) -> Path:
    place = folder / "images"
    place.mkdir()
    (place / "a.raw").write_bytes(bytes(MIB))
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", place / "b.qcow2", "3M"], check=True)
    (place / "folder").mkdir()
    (place / ".hidden").write_text("x")
    return place


def test_a_pool_from_its_definition_to_its_end(uri: str, host_a: DaemonProcess, folder: Path) -> None:
    place = images(folder)
    virsh("pool-define-as", "p", "dir", "--target", str(place), uri=uri).expect()
    assert re.search(r"^ p +inactive +no", virsh("pool-list", "--all", uri=uri).expect(), re.MULTILINE)
    assert "is not active" in virsh("vol-list", "p", uri=uri).err
    virsh("pool-start", "p", uri=uri).expect()
    virsh("pool-autostart", "p", uri=uri).expect()
    assert f"<path>{place}</path>" in virsh("pool-dumpxml", "p", uri=uri).expect()
    volumes = virsh("vol-list", "p", "--details", uri=uri).expect()
    assert re.findall(r"^ (\S+) +(\S+) +file +(\S+ MiB)", volumes, re.MULTILINE) == [
        ("a.raw", str(place / "a.raw"), "1.00 MiB"),
        ("b.qcow2", str(place / "b.qcow2"), "3.00 MiB"),
    ]
    info = virsh("vol-info", str(place / "b.qcow2"), uri=uri).expect()
    assert re.search(r"Capacity: +3.00 MiB", info)
    assert "<format type='qcow2'/>" in virsh("vol-dumpxml", "b.qcow2", "--pool", "p", uri=uri).expect()
    assert virsh("vol-pool", str(place / "a.raw"), uri=uri).expect().strip() == "p"
    assert virsh("vol-path", "a.raw", "p", uri=uri).expect().strip() == str(place / "a.raw")
    (place / "c").write_text("new")
    virsh("pool-refresh", "p", uri=uri).expect()
    assert str(place / "c") in virsh("vol-list", "p", uri=uri).expect()
    host_a.restart()
    info = virsh("pool-info", "p", uri=uri).expect()
    for name, value in (("State", "running"), ("Persistent", "yes"), ("Autostart", "yes")):
        assert re.search(rf"{name}: +{value}", info)
    assert "is still active" in virsh("pool-undefine", "p", uri=uri).err
    virsh("pool-destroy", "p", uri=uri).expect()
    virsh("pool-undefine", "p", uri=uri).expect()
    assert "no storage pool with matching name 'p'" in virsh("pool-info", "p", uri=uri).err
    assert (place / "a.raw").exists()


def test_what_is_refused(uri: str, host_a: DaemonProcess, folder: Path) -> None:
    place = images(folder)
    assert "type" in virsh("pool-define-as", "p", "iscsi", "--target", "/x", "--source-host", "h", uri=uri).err
    virsh("pool-define-as", "p", "dir", "--target", f"{folder}/gone", uri=uri).expect()
    assert "No such file or directory" in virsh("pool-start", "p", uri=uri).err
    virsh("pool-create-as", "q", "dir", "--target", str(place), uri=uri).expect()
    assert "already exists" in virsh("pool-create-as", "q", "dir", "--target", str(place), uri=uri).err
    assert "pool has no config file" in virsh("pool-autostart", "q", uri=uri).err
    assert "no storage vol with matching path" in virsh("vol-info", f"{place}/gone", uri=uri).err
    virsh("pool-destroy", "q", uri=uri).expect()
    assert "q" not in virsh("pool-list", "--all", "--name", uri=uri).expect().split()
    # A definition that cannot be read is kept for a person to look at, and is in nobody's way.
    (host_a.root / "etc" / "storage" / "p.json").write_text("{")
    host_a.restart()
    assert virsh("pool-list", "--all", "--name", uri=uri).expect().split() == []
    assert (host_a.root / "etc" / "storage" / "p.json.unreadable").exists()


def test_a_folder_is_made_and_nothing_in_it(uri: str, folder: Path) -> None:
    place = folder / "new" / "images"
    virsh("pool-define-as", "p", "dir", "--target", str(place), uri=uri).expect()
    assert "cannot open path" in virsh("pool-start", "p", uri=uri).err
    virsh("pool-build", "p", uri=uri).expect()
    assert place.stat().st_mode & 0o777 == 0o711
    virsh("pool-build", "p", uri=uri).expect()
    assert "unsupported flags" in virsh("pool-build", "p", "--overwrite", uri=uri).err
    virsh("pool-start", "p", uri=uri).expect()
    assert "is already active" in virsh("pool-build", "p", uri=uri).err
    (folder / "file").write_text("")
    virsh("pool-define-as", "q", "dir", "--target", str(folder / "file"), uri=uri).expect()
    assert "cannot create path" in virsh("pool-build", "q", uri=uri).err


def test_a_description_goes_back_in_and_a_definition_can_be_edited(
    uri: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = images(folder)
    virsh("pool-define-as", "p", "dir", "--target", str(place), uri=uri).expect()
    (folder / "p.xml").write_text(virsh("pool-dumpxml", "p", uri=uri).expect())
    virsh("pool-define", str(folder / "p.xml"), uri=uri).expect()
    other = folder / "other"
    other.mkdir(mode=0o750)
    editor = folder / "editor"
    editor.write_text(f"#!/bin/sh\nsed -i s,{place},{other}, $1\n")
    editor.chmod(0o755)
    monkeypatch.setitem(ENVIRONMENT, "EDITOR", str(editor))
    virsh("pool-start", "p", uri=uri).expect()
    virsh("pool-edit", "p", uri=uri).expect()
    # It goes on with the folder it was started with; the next start is with the other one.
    assert f"<path>{place}</path>" in virsh("pool-dumpxml", "p", uri=uri).expect()
    assert f"<path>{other}</path>" in virsh("pool-dumpxml", "p", "--inactive", uri=uri).expect()
    virsh("pool-destroy", "p", uri=uri).expect()
    virsh("pool-start", "p", uri=uri).expect()
    shown = virsh("pool-dumpxml", "p", uri=uri).expect()
    assert f"<path>{other}</path>" in shown
    assert "<mode>0750</mode>" in shown
    assert re.search(r"<capacity unit='bytes'>[1-9]", shown)


def test_created_over_its_definition_it_has_that_again_afterwards(uri: str, folder: Path) -> None:
    place = images(folder)
    virsh("pool-define-as", "p", "dir", "--target", str(place), uri=uri).expect()
    (folder / "p.xml").write_text(virsh("pool-dumpxml", "p", uri=uri).expect().replace(str(place), str(folder)))
    virsh("pool-create", str(folder / "p.xml"), uri=uri).expect()
    assert f"<path>{folder}</path>" in virsh("pool-dumpxml", "p", uri=uri).expect()
    assert "pool is already active as 'p'" in virsh("pool-create", str(folder / "p.xml"), uri=uri).err
    virsh("pool-destroy", "p", uri=uri).expect()
    assert f"<path>{place}</path>" in virsh("pool-dumpxml", "p", uri=uri).expect()
    conflict = virsh("pool-define-as", "q", "dir", "--target", str(place), uri=uri).err
    assert "Storage source conflict with pool: 'p'" in conflict
    assert "pool 'p' already exists with uuid" in virsh("pool-define-as", "p", "dir", "--target", "/x", uri=uri).err


def test_a_transient_pool_does_not_start_with_the_host(uri: str, folder: Path) -> None:
    virsh("pool-create-as", "t", "dir", "--target", str(folder), uri=uri).expect()
    told = libvirt_python(
        """
        pool = connection.storagePoolLookupByName("t")
        try:
            pool.setAutostart(1)
        except libvirt.libvirtError as err:
            print(err.get_error_code(), err)
        """,
        uri,
    )
    assert told.strip() == "1 internal error: pool has no config file"


def test_which_pools_there_are(uri: str) -> None:
    told = virsh("pool-capabilities", uri=uri).expect()
    assert re.findall(r"type='([a-z-]+)' supported='yes'", told) == ["dir"]
    assert "<value>qcow2</value>" in told
    refused = virsh("find-storage-pool-sources", "dir", uri=uri).err
    assert "pool type 'dir' does not support source discovery" in refused
    assert "unknown storage pool type" in virsh("find-storage-pool-sources", "nonsense", uri=uri).err
