"""The real virsh asks what a guest may use of its host, and pins it to CPUs."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from tests.support.daemon import DaemonProcess
from tests.support.guest import running_tiny
from tests.support.virsh import virsh

TUNED = (
    (("schedinfo",), r"cpu_shares +: 0$", "cgroup CPU controller is not mounted"),
    (("memtune",), r"hard_limit +: unlimited$", "cgroup memory controller is not mounted"),
    (("blkiotune",), r"weight +: 0$", "blkio cgroup isn't mounted"),
    (("numatune",), r"numa_mode +: strict$", ""),
    (("perf",), r"cpu_cycles +: disabled$", ""),
)
"""Command, what is told of a domain that does not run, why a running one's is not known."""


@pytest.mark.parametrize(("command", "told", "refused"), TUNED, ids=lambda value: value and value[0])
def test_shares_and_limits(
    host_a: DaemonProcess, folder: Path, command: tuple[str, ...], told: str, refused: str
) -> None:
    with running_tiny(host_a, folder, persistent=True) as guest:
        live = virsh(*command, guest.name, uri=host_a.uri)
        if refused:
            assert f"Requested operation is not valid: {refused}" in live.err
        else:
            assert re.search(told, live.expect(), re.MULTILINE)
        virsh("destroy", guest.name, uri=host_a.uri).expect()
        assert re.search(told, virsh(*command, guest.name, uri=host_a.uri).expect(), re.MULTILINE)


def test_the_guest_and_its_emulator_are_pinned(uri: str, host_a: DaemonProcess, folder: Path) -> None:
    with running_tiny(host_a, folder, persistent=True) as guest:
        (pid,) = host_a.qemu_pids()
        last = max(os.sched_getaffinity(0))
        virsh("vcpupin", guest.name, "0", str(last), uri=uri).expect()
        assert re.search(rf"^ 0 +{last}$", virsh("vcpupin", guest.name, uri=uri).expect(), re.MULTILINE)
        first = min(os.sched_getaffinity(0))
        virsh("emulatorpin", guest.name, str(first), uri=uri).expect()
        assert re.search(rf"\*: {first}$", virsh("emulatorpin", guest.name, uri=uri).expect(), re.MULTILINE)
        where = [os.sched_getaffinity(int(entry.name)) for entry in Path(f"/proc/{pid}/task").iterdir()]
        assert where.count({last}) == (1 if first != last else len(where))
        assert all(cpus in ({first}, {last}) for cpus in where)
        host_a.restart()
        assert re.search(rf"^ 0 +{last}$", virsh("vcpupin", guest.name, uri=uri).expect(), re.MULTILINE)
        for wrong, why in (
            (("vcpupin", guest.name, "7", "0"), "vcpu 7 is out of range of live cpu count 1"),
            (("vcpupin", guest.name, "0", "0", "--config"), "CPUs are not pinned in the definition"),
            (("emulatorpin", guest.name, "0", "--config"), "CPUs are not pinned in the definition"),
        ):
            assert why in virsh(*wrong, uri=uri).err
        guest.watch.wait_verified()


def test_disks_cards_and_encryption(uri: str, host_a: DaemonProcess, folder: Path) -> None:
    with running_tiny(host_a, folder) as guest:
        assert "disk 'vdz' not found in domain" in virsh("blkdeviotune", guest.name, "vdz", uri=uri).err
        assert "'nosuch' is not a known interface" in virsh("domiftune", guest.name, "nosuch", uri=uri).err
        assert virsh("domlaunchsecinfo", guest.name, uri=uri).expect().strip() == ""
