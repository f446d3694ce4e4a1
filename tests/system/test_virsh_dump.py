"""The real virsh puts a guest's memory into files, and libvirt-python looks at pieces of it."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.support.daemon import DaemonProcess
from tests.support.guest import running_tiny
from tests.support.libvirt_python import libvirt_python
from tests.support.virsh import virsh
from tests.support.wait import wait_for

ELF = b"\x7fELF"
KDUMP = b"makedumpfile"
QEMU = b"QEVM"


def reason_of(name: str, uri: str) -> str:
    return virsh("domstate", "--reason", name, uri=uri).expect().strip()


def test_dumps_of_every_kind(uri: str, host_a: DaemonProcess, folder: Path) -> None:
    path = folder / "core"
    with running_tiny(host_a, folder, persistent=True) as guest:
        for options, begin in (
            (("--memory-only",), ELF),
            (("--memory-only", "--live"), ELF),
            (("--memory-only", "--format", "kdump-zlib"), KDUMP),
            ((), QEMU),
            (("--live",), QEMU),
        ):
            virsh("dump", guest.name, str(path), *options, uri=uri).expect()
            assert path.read_bytes().startswith(begin), options
            assert reason_of(guest.name, uri) == "running (unpaused)", options
            guest.watch.wait_verified()
        whole = path.read_bytes()
        refused = virsh("dump", guest.name, str(path), "--memory-only", "--format", "kdump-lzo", uri=uri).err
        assert "unsupported dumpformat 'kdump-lzo' for this QEMU binary" in refused
        refused = virsh("dump", guest.name, str(path), "--memory-only", "--format", "win-dmp", uri=uri).err
        # QEMU 11.1 does not name the format to who has no Windows guest; one before tries, and says no.
        assert "memory-only dump failed" in refused or "unsupported dumpformat 'win-dmp'" in refused
        # What fails leaves what was there before, and nothing beside it.
        assert path.read_bytes() == whole
        assert not list(folder.glob(".*.tmp"))
        assert "No such file or directory" in virsh("dump", guest.name, "/nonexistent/core", uri=uri).err
        assert "Is a directory" in virsh("dump", guest.name, str(folder), uri=uri).err
        virsh("suspend", guest.name, uri=uri).expect()
        virsh("dump", guest.name, str(path), uri=uri).expect()
        assert reason_of(guest.name, uri) == "paused (user)"
        virsh("resume", guest.name, uri=uri).expect()
        guest.watch.wait_verified()
        virsh("dump", guest.name, str(path), "--memory-only", "--crash", uri=uri).expect()
        assert reason_of(guest.name, uri) == "shut off (crashed)"


def test_a_dump_then_a_new_boot(uri: str, host_a: DaemonProcess, folder: Path) -> None:
    with running_tiny(host_a, folder) as guest:
        virsh("dump", guest.name, str(folder / "core"), "--reset", uri=uri).expect()
        assert reason_of(guest.name, uri) == "running (unpaused)"
        serial = guest.guest.serial
        wait_for(lambda: serial.read_bytes().count(b"culvert-guest boot") == 2, "it boots again")


def test_pieces_of_memory_and_of_a_disk(host_a: DaemonProcess, folder: Path) -> None:
    with running_tiny(host_a, folder, boot="disk") as guest:
        told = libvirt_python(
            """
            domain = connection.lookupByName(sys.argv[2])
            for ask in (
                lambda: domain.memoryPeek(0xFFFF0, 1, libvirt.VIR_MEMORY_PHYSICAL),
                lambda: len(domain.memoryPeek(0x100000, 4096, libvirt.VIR_MEMORY_VIRTUAL)),
                lambda: domain.memoryPeek(0, 4, 0),
                lambda: domain.blockPeek("vda", 510, 2),
                lambda: domain.blockPeek("vda", 1 << 40, 2),
                lambda: domain.blockPeek("hdx", 0, 2),
            ):
                try:
                    print(ask())
                except libvirt.libvirtError as err:
                    print(err.get_error_code(), err)
            """,
            host_a.uri,
            guest.name,
        )
        assert told.splitlines() == [
            r"b'\xea'",  # a jump: where a processor begins
            "4096",
            "8 invalid argument: flags parameter must be VIR_MEMORY_VIRTUAL or VIR_MEMORY_PHYSICAL",
            r"b'U\xaa'",
            "8 invalid argument: 'vda' starting from 1099511627776 has only 0 bytes available",
            "8 invalid argument: disk 'hdx' not found in domain",
        ]
        assert not list((host_a.root / "run" / "qemu").rglob("peek-*"))


def test_another_format_is_not_peeked_at(host_a: DaemonProcess, folder: Path) -> None:
    image = folder / "d.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", image, "1M"], check=True)
    disk = f"<disk type='file'><driver name='qemu' type='qcow2'/><source file='{image}'/><target dev='vdb'/></disk>"
    with running_tiny(host_a, folder, devices=disk) as guest:
        told = libvirt_python(
            """
            try:
                connection.lookupByName(sys.argv[2]).blockPeek("vdb", 0, 2)
            except libvirt.libvirtError as err:
                print(err.get_error_code(), err)
            """,
            host_a.uri,
            guest.name,
        )
    assert "peeking is only supported for disk with 'raw' format not 'qcow2'" in told
