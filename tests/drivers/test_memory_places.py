"""Where a guest's memory may come from, and what QEMU is told of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from culvert.drivers.qemu import memory_places
from culvert.drivers.qemu.command import command_memory
from culvert.drivers.qemu.command.command_memory import MemoryPlaces
from culvert.drivers.qemu.state.layout import Layout
from culvert.ground import errors
from tests.domain import elements, golden

XML = """<domain type='qemu'><name>g</name><memory unit='MiB'>64</memory>{}<os><type>hvm</type></os></domain>"""
HUGE = "<memoryBacking><hugepages>{}</hugepages></memoryBacking>"


def looked(folder: Path, text: str, mounts: str = "") -> MemoryPlaces:
    for name, content in (("mounts", mounts), ("meminfo", "Hugepagesize:       2048 kB\n"), ("online", "0-1\n")):
        (folder / name).write_text(content, encoding="ascii")
    layout = Layout.below(folder)
    layout.make()
    files = {name: folder / name for name in ("mounts", "meminfo", "online")}
    return memory_places.look(elements.completed(XML.format(text)), layout, **files)


def ram(text: str, places: MemoryPlaces) -> dict[str, object]:
    argv = command_memory.size(golden.running(elements.completed(XML.format(text))), places)
    told: dict[str, object] = json.loads(argv[argv.index("-object") + 1])
    return told


def test_huge_pages_are_of_a_mount_of_their_size(tmp_path: Path) -> None:
    mounts = "h /dev/hugepages hugetlbfs rw,pagesize=2M 0 0\ng /big\\040one hugetlbfs rw,pagesize=1024M 0 0\n"
    places = looked(tmp_path, HUGE.format(""), mounts)
    assert places.hugepages == {2048: "/dev/hugepages", 1048576: "/big one"}
    told = ram(HUGE.format(""), places)
    assert (told["qom-type"], told["mem-path"], told["prealloc"]) == ("memory-backend-file", "/dev/hugepages", True)
    assert ram(HUGE.format("<page size='1' unit='GiB'/>"), places)["mem-path"] == "/big one"
    assert "mem-path" not in ram(HUGE.format("<page size='4'/>"), places)


@pytest.mark.parametrize("mounts", ["", "h /dev/hugepages hugetlbfs rw,pagesize=1024M 0 0\n"])
def test_where_there_are_none(tmp_path: Path, mounts: str) -> None:
    places = looked(tmp_path, HUGE.format(""), mounts)
    with pytest.raises(errors.InternalError, match="hugetlbfs"):
        ram(HUGE.format(""), places)


def test_a_node_that_the_host_does_not_have(tmp_path: Path) -> None:
    looked(tmp_path, "<numatune><memory nodeset='0-1'/></numatune>")
    with pytest.raises(errors.ConfigUnsupported, match="NUMA node 2 is unavailable"):
        looked(tmp_path, "<numatune><memory nodeset='0-2'/></numatune>")


def test_a_file_is_made_in_a_folder_of_the_daemons(tmp_path: Path) -> None:
    places = looked(tmp_path, "<memoryBacking><source type='file'/></memoryBacking>")
    assert places.files == str(tmp_path / "lib" / "qemu" / "ram")
    assert Path(places.files).is_dir()
