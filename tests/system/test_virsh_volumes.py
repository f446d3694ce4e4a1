"""The real virsh makes, copies, resizes, wipes, deletes volumes, and sends their bytes to and fro."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import libvirtd
from tests.support.daemon import DaemonProcess
from tests.support.guest import running_tiny
from tests.support.libvirtd import Libvirtd
from tests.support.virsh import Result, virsh

MIB = 1024 * 1024


class Pool:
    """The pool ``p`` of one daemon."""

    def __init__(self, uri: str, place: Path) -> None:
        self.uri, self.place = uri, place
        place.mkdir()
        virsh("pool-create-as", "p", "dir", "--target", str(place), uri=uri).expect()

    def __call__(self, command: str, *words: str) -> Result:
        return virsh(command, "--pool", "p", *words, uri=self.uri)

    def image(self, name: str) -> dict[str, object]:
        told = subprocess.run(
            ["qemu-img", "info", "--output=json", str(self.place / name)], capture_output=True, check=True, timeout=60
        )
        found = json.loads(told.stdout)
        assert isinstance(found, dict)
        return found


@pytest.fixture
def pool(host_a: DaemonProcess, folder: Path) -> Iterator[Pool]:
    made = Pool(host_a.uri, folder / "pool")
    yield made
    assert [path.name for path in made.place.iterdir() if path.name.startswith(".")] == []


BACKING = ("--backing-vol", "a.qcow2", "--backing-vol-format", "qcow2")
MADE = (
    ("vol-create-as", "plain", "10M"),
    ("vol-create-as", "sparse", "10M", "--allocation", "0"),
    ("vol-create-as", "odd", "1000001", "--allocation", "0"),
    ("vol-create-as", "a.qcow2", "1G", "--format", "qcow2"),
    ("vol-create-as", "meta.qcow2", "16M", "--format", "qcow2", "--prealloc-metadata", "--allocation", "0"),
    (
        "vol-create-as",
        "b.qcow2",
        "2G",
        "--format",
        "qcow2",
        "--backing-vol",
        "a.qcow2",
        "--backing-vol-format",
        "qcow2",
    ),
    ("vol-create-as", "g.vmdk", "1M", "--format", "vmdk"),
    ("vol-clone", "a.qcow2", "e.qcow2"),
    ("vol-clone", "plain", "f"),
    ("vol-resize", "sparse", "20M"),
    ("vol-resize", "sparse", "5M", "--shrink"),
    ("vol-resize", "plain", "5M", "--delta", "--allocate"),
    ("vol-resize", "a.qcow2", "2G"),
    ("vol-wipe", "plain"),
    ("vol-delete", "f"),
)
REFUSED = (
    ("vol-create-as", "a.qcow2", "1G"),
    ("vol-create-as", "x", "1M", "--format", "bad"),
    ("vol-create-as", "sub/x", "1M"),
    ("vol-create-as", "x", "1M", "--prealloc-metadata"),
    ("vol-create-as", "x", "1M", "--backing-vol", "plain"),
    ("vol-create-as", "x", "1M", "--format", "qcow2", "--backing-vol", "a.qcow2", "--prealloc-metadata"),
    ("vol-clone", "a.qcow2", "plain"),
    ("vol-resize", "sparse", "1M"),
    ("vol-resize", "plain", "1M", "--shrink"),
    ("vol-delete", "nope"),
    ("vol-wipe", "plain", "--algorithm", "17"),
)


@pytest.mark.skipif(not libvirtd.possible(), reason=libvirtd.NEEDS)
def test_all_as_libvirt_makes_them(pool: Pool, folder: Path) -> None:
    with Libvirtd(folder / "libvirt") as stock:
        theirs = Pool(stock.uri, folder / "theirs")
        for words in MADE:
            assert pool(*words).ok, words
            theirs(*words).expect()
        for words in REFUSED:
            ours, expected = pool(*words), theirs(*words)
            assert (ours.ok, expected.ok) == (False, False), words
            assert ours.err.replace(str(pool.place), "") == expected.err.replace(str(theirs.place), ""), words
        virsh("pool-refresh", "p", uri=stock.uri).expect()
        assert names(pool) == names(theirs)
        for name in names(pool):
            assert shown(pool, name) == shown(theirs, name)
            assert (
                virsh("vol-info", "--pool", "p", name, uri=pool.uri).expect()
                == virsh("vol-info", "--pool", "p", name, uri=stock.uri).expect()
            )
        for name in ("a.qcow2", "b.qcow2", "meta.qcow2", "e.qcow2"):
            made, expected_image = pool.image(name), theirs.image(name)
            for key in ("virtual-size", "format", "backing-filename-format", "format-specific"):
                assert made.get(key) == expected_image.get(key), (name, key)


def names(pool: Pool) -> list[str]:
    return sorted(line.split()[0] for line in pool("vol-list").expect().splitlines()[2:] if line.strip())


def shown(pool: Pool, name: str) -> str:
    """The XML without what is of the moment, or of the file system."""
    text = pool("vol-dumpxml", name).expect().replace(str(pool.place), "")
    text = re.sub(r"<([amc]time)>[0-9.]+", r"<\1>", text)
    return re.sub(r"<(allocation|physical) unit='bytes'>[0-9]+", r"<\1>", text)


def test_bytes_come_and_go(pool: Pool, folder: Path) -> None:
    content = os.urandom(3 * MIB + 17)
    source, back = folder / "source", folder / "back"
    source.write_bytes(content)
    pool("vol-create-as", "v", str(len(content))).expect()
    pool("vol-upload", "v", str(source)).expect()
    assert (pool.place / "v").read_bytes() == content
    pool("vol-download", "v", str(back)).expect()
    assert back.read_bytes() == content
    pool("vol-download", "v", str(back), "--offset", "100", "--length", "50").expect()
    assert back.read_bytes() == content[100:150]
    source.write_bytes(b"new")
    pool("vol-upload", "v", str(source), "--offset", "10", "--length", "3").expect()
    assert (pool.place / "v").read_bytes() == content[:10] + b"new" + content[13:]
    assert "--sparse" in pool("vol-download", "v", str(back), "--sparse").err
    pool("vol-wipe", "v").expect()
    assert (pool.place / "v").read_bytes() == bytes(len(content))


def test_whose_a_volume_is(pool: Pool, folder: Path) -> None:
    wanted = folder / "v.xml"
    wanted.write_text(
        "<volume><name>v</name><capacity unit='MiB'>1</capacity><allocation>0</allocation><target>"
        "<permissions><mode>0640</mode></permissions><format type='qcow2'/><compat>1.1</compat>"
        "<features><lazy_refcounts/></features></target></volume>"
    )
    virsh("vol-create", "p", str(wanted), uri=pool.uri).expect()
    assert (pool.place / "v").stat().st_mode & 0o7777 == 0o640
    assert pool.image("v")["format-specific"]["data"]["lazy-refcounts"] is True  # type: ignore[index]
    assert "<compat>1.1</compat>" in pool("vol-dumpxml", "v").expect()
    wanted.write_text("<volume><name>w</name><target><format type='qcow2'/></target></volume>")
    assert "missing capacity element" in virsh("vol-create", "p", str(wanted), uri=pool.uri).err


def test_what_a_killed_daemon_has_left_half_made_goes(pool: Pool, host_a: DaemonProcess) -> None:
    left = pool.place / ".culvert-part-999999999-0123"
    left.write_bytes(b"half")
    pool("vol-create-as", "v", "1M").expect()
    assert not left.exists()


def test_a_guest_has_a_volume_of_a_pool(pool: Pool, host_a: DaemonProcess, folder: Path) -> None:
    pool("vol-create-as", "v.qcow2", "1M", "--format", "qcow2").expect()
    disk = "<disk type='volume'><source pool='p' volume='v.qcow2'/><target dev='vda'/></disk>"
    with running_tiny(host_a, folder, devices=disk) as guest:
        live = virsh("dumpxml", guest.name, uri=host_a.uri).expect()
        assert "<driver name='qemu' type='qcow2'/>" in live
        assert "<source pool='p' volume='v.qcow2' index='1'/>" in live
        assert re.search("Capacity: +1048576", virsh("domblkinfo", guest.name, "vda", uri=host_a.uri).expect())
        wanted = folder / "w.xml"
        wanted.write_text(disk.replace("v.qcow2", "gone").replace("vda", "vdb"))
        assert (
            "no storage vol with matching name 'gone'"
            in virsh("attach-device", guest.name, str(wanted), "--live", uri=host_a.uri).err
        )
        host_a.restart()
        again = virsh("dumpxml", guest.name, uri=host_a.uri).expect()
        assert again == live
        guest.watch.wait_verified()
