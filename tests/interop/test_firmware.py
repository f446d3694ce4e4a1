"""A guest with UEFI between culvert and a libvirtd: the variables go with it, each to a place of its own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from guests import domain_xml, watch
from tests.support import uefi
from tests.support.guest import RunningGuest
from tests.support.interop import Either, Pair
from tests.support.virsh import virsh
from tests.support.wait import wait_for

pytestmark = uefi.needed


def variables(host: Either) -> Path:
    return host.root / "lib" / "qemu" / "nvram" / "uefi_VARS.fd"


@pytest.mark.parametrize("begins", ["culvert", "stock"])
def test_there_and_back(hosts: Pair, folder: Path, begins: str) -> None:
    first: Either = getattr(hosts, begins)
    made = domain_xml.linux_guest(folder, "uefi", uefi.IDLE)
    domain = replace(made.domain, os=uefi.PLAIN, memory_kib=(uefi.IDLE.memory_mib + 256) * 1024)
    guest = replace(made, domain=domain)
    with watch.SerialWatch(guest.serial) as follow:
        virsh("define", uefi.write(guest), uri=first.uri).expect()
        virsh("start", guest.name, uri=first.uri).expect()
        follow.wait_running()
        running = RunningGuest(guest, follow)
        for source in (first, hosts.other(first)):
            there = hosts.other(source)
            hosts.move(running, source)
            xml = virsh("dumpxml", guest.name, uri=there.uri).expect()
            place = str(variables(there)) if there is hosts.culvert else "/var/lib/libvirt/qemu/nvram/uefi_VARS.fd"
            [told] = [line for line in xml.splitlines() if "<nvram" in line]
            assert told.endswith(f">{place}</nvram>")

            def same(source: Either = source, there: Either = there) -> bool:
                return variables(there).read_bytes() == variables(source).read_bytes()

            wait_for(same, "the variables are the same")
