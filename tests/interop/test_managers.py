"""A guest as managers write it: its threads where they are wanted, at both daemons, and moved both ways."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.interop import Pair, guest, running
from tests.support.virsh import virsh

MEMBERS = {
    "os": "<smbios mode='sysinfo'/>",
    "features": "<vmcoreinfo state='on'/>",
    "cpu": "<cputune><shares>1024</shares><vcpupin vcpu='0' cpuset='0'/><emulatorpin cpuset='0'/></cputune>"
    "<sysinfo type='smbios'><system><entry name='product'>Cloud</entry></system></sysinfo>"
    "<cpu mode='custom' match='exact'><model>qemu64</model></cpu>",
}


def threads(pid: int) -> set[str]:
    found = Path(f"/proc/{pid}/task").glob("*/status")
    lines = [line for path in found for line in path.read_text().splitlines()]
    return {line.split()[1] for line in lines if line.startswith("Cpus_allowed_list:")}


@pytest.mark.parametrize("first", ["stock", "culvert"])
def test_moves_both_ways(hosts: Pair, folder: Path, first: str) -> None:
    here = hosts.stock if first == "stock" else hosts.culvert
    with running(here, folder, "managed", members=MEMBERS) as moving:
        (pid,) = here.qemu_pids()
        assert threads(pid) == {"0"}
        hosts.move(moving, here)
        (pid,) = hosts.other(here).qemu_pids()
        assert threads(pid) == {"0"}
        hosts.move(moving, hosts.other(here))


def test_a_processor_that_the_host_has_not(hosts: Pair, folder: Path) -> None:
    xml = guest(folder, "far", members={"cpu": "<cputune><vcpupin vcpu='0' cpuset='900'/></cputune>"}).write_xml()
    for host in (hosts.stock, hosts.culvert):
        refused = virsh("create", str(xml), uri=host.uri)
        assert "cannot set CPU affinity on process" in refused.err
        host.assert_no_leftovers()
