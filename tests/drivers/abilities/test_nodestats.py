"""The kernel's files about the host, as libvirt tells them."""

from __future__ import annotations

from pathlib import Path

import pytest

from culvert.drivers.qemu import threads, vcpus
from culvert.drivers.qemu.abilities import nodestats
from culvert.drivers.qemu.process import NS_PER_TICK
from culvert.ground import errors

STAT = "cpu  10 2 3 40 5 6 7 0 0 0\ncpu1 1 0 0 4 0 0 0 0 0 0\nintr 1\n"


def test_times_of_all_cpus_and_of_one(tmp_path: Path) -> None:
    path = tmp_path / "stat"
    path.write_text(STAT)
    whole = dict(nodestats.cpu_times(-1, path))
    assert whole == {
        name: ticks * NS_PER_TICK for name, ticks in (("kernel", 16), ("user", 12), ("idle", 40), ("iowait", 5))
    }
    assert dict(nodestats.cpu_times(1, path))["user"] == NS_PER_TICK
    with pytest.raises(errors.InvalidArgument, match="Invalid cpuNum"):
        nodestats.cpu_times(0, path)


def test_memory_of_a_node(tmp_path: Path) -> None:
    node = tmp_path / "node0"
    node.mkdir()
    (node / "meminfo").write_text("Node 0 MemTotal:       1000 kB\nNode 0 MemFree:  400 kB\n")
    assert nodestats.memory(0, tmp_path) == [("total", 1000), ("free", 400)]
    with pytest.raises(errors.InvalidArgument, match="no NUMA node 1"):
        nodestats.memory(1, tmp_path)
    assert nodestats.cells(tmp_path) == [0]
    assert nodestats.free_pages(4, 0, tmp_path) == 100


def test_firmware_tables(tmp_path: Path) -> None:
    with pytest.raises(errors.ConfigUnsupported, match="SMBIOS"):
        nodestats.sysinfo(tmp_path)
    (tmp_path / "sys_vendor").write_text("ACME\n")
    (tmp_path / "product_serial").write_text("\n")
    assert nodestats.sysinfo(tmp_path) == {"system": {"manufacturer": "ACME"}}


def test_a_process_that_is_gone() -> None:
    assert threads.of_process(2**22 + 1) == threads.Times()
    assert threads.affinity(2**22 + 1) == frozenset()
    assert threads.resident_kib(2**22 + 1) == 0


@pytest.mark.parametrize(
    ("cpus", "length", "packed"), [({0, 9}, 2, b"\x01\x02"), ({0, 9}, 1, b"\x01"), (set(), 0, b"")]
)
def test_cpu_maps(cpus: set[int], length: int, packed: bytes) -> None:
    assert vcpus.packed(frozenset(cpus), length) == packed
