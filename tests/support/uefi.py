"""A Linux guest with UEFI, which writes variables of its own when it boots; its memory is verified from inside."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from culvert.drivers.qemu.abilities import firmware
from guests import domain_xml, linux, watch
from tests.support.guest import Host, RunningGuest
from tests.support.virsh import virsh

IDLE = linux.LinuxParameters(mib=16, dirty_mib=0, pass_s=0.5)
SMALL = linux.LinuxParameters(mib=16, dirty_mib=4, dirty_mib_s=5, pass_s=0.5)
PLAIN = "<firmware><feature name='secure-boot' enabled='no'/></firmware>"
# A firmware that looks at signatures, with nobody's keys; its SMM is the machine's.
SECURE = (
    "<firmware><feature name='secure-boot' enabled='yes'/><feature name='enrolled-keys' enabled='no'/></firmware>"
)

needed = pytest.mark.skipif(not firmware.present(), reason="no firmware: the package ovmf is not installed")
"""Of tests with a guest of this kind."""


def uefi_guest(folder: Path, name: str = "uefi", *, wish: str = PLAIN, devices: str = "") -> domain_xml.Guest:
    """The guest, whose files are in ``folder``."""
    guest = domain_xml.linux_guest(folder, name, SMALL, devices=devices)
    # The firmware of Debian 13 (2025.02) loads no kernel where less than this is free.
    memory = guest.domain.memory_kib + 256 * 1024
    return domain_xml.Guest(replace(guest.domain, os=wish, memory_kib=memory), guest.serial)


def write(guest: domain_xml.Guest) -> str:
    """Its XML in a file, whose name is returned."""
    path = guest.serial.with_suffix(".xml")
    path.write_text(guest.xml.replace("<os>", "<os firmware='efi'>", 1), encoding="utf-8")
    return str(path)


@contextmanager
def running_uefi(
    host: Host, folder: Path, name: str = "uefi", *, wish: str = PLAIN, persistent: bool = True, devices: str = ""
) -> Iterator[RunningGuest]:
    """A guest that runs on ``host`` and has printed lines, by ``virsh define`` and ``start``, or by ``create``."""
    guest = uefi_guest(folder, name, wish=wish, devices=devices)
    with watch.SerialWatch(guest.serial) as follow:
        if persistent:
            virsh("define", write(guest), uri=host.uri).expect()
            virsh("start", name, uri=host.uri).expect()
        else:
            virsh("create", write(guest), uri=host.uri).expect()
        follow.wait_running()
        yield RunningGuest(guest, follow)
