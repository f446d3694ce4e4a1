"""The tiny guest on real QEMU processes."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from guests import console, report, tiny, watch
from tests.guests.machines import Machine

SMALL = tiny.TinyParameters(mib=8, dirty_mib=4, dirty_mib_s=80, pass_s=0.1)


def serial(path: Path) -> list[str]:
    return ["-chardev", f"file,id=out,path={path},append=on", "-device", "isa-serial,chardev=out,index=0"]


def boot(image: Path, way: str) -> list[str]:
    if way == "kernel":
        return ["-kernel", str(image)]
    node = f"driver=file,filename={image},node-name=disk,read-only=on"
    return ["-blockdev", node, "-device", "virtio-blk-pci,drive=disk,bootindex=1"]


@pytest.mark.parametrize("machine", ["pc", "q35"])
@pytest.mark.parametrize("way", ["kernel", "disk"])
def test_boots_counts_and_verifies(tmp_path: Path, machine: str, way: str) -> None:
    image, out = tiny.write_image(tmp_path / "img", SMALL), tmp_path / "out"
    with Machine(tmp_path, "m", SMALL.memory_mib, machine, [*boot(image, way), *serial(out)]):
        with watch.SerialWatch(out) as follow:
            follow.wait_verified(2)
        first, last = follow.reports[0], follow.reports[-1]
        assert first.count == 1
        assert last.generation > first.generation
        assert "pages=2048 dirty_pages=1024" in follow.other_lines[0]


def test_a_spoiled_page_is_found(tmp_path: Path) -> None:
    parameters = tiny.TinyParameters(mib=4, dirty_mib=1, dirty_mib_s=1, pass_s=0.05, break_page=1000)
    image, out = tiny.write_image(tmp_path / "img", parameters), tmp_path / "out"
    with (
        Machine(tmp_path, "m", parameters.memory_mib, "pc", ["-kernel", image, *serial(out)]),
        watch.SerialWatch(out) as follow,
        pytest.raises(report.GuestFault, match="page=1000 word=7"),
    ):
        follow.wait_verified(2)


def test_commands_are_answered_where_they_came_from(tmp_path: Path) -> None:
    image, out, line = tiny.write_image(tmp_path / "img", SMALL), tmp_path / "out", tmp_path / "line"
    second = ["-chardev", f"socket,id=in,path={line},server=on,wait=off", "-device", "isa-serial,chardev=in,index=1"]
    with (
        Machine(tmp_path, "m", SMALL.memory_mib, "q35", ["-kernel", image, *serial(out), *second]) as machine,
        watch.SerialWatch(out) as follow,
    ):
        follow.wait_running()
        with console.Console(line) as talk:
            assert talk.verify().startswith("verify ok pages=2048 bad=0")
            talk.send(b"s")
            assert "hz=100" in talk.read_line("status")
            talk.send(b"?")
            assert "v verify" in talk.read_line("commands:")
            follow.check()
            talk.send(b"p")
        assert machine.process.wait(20) == 0
        assert not any(text.startswith("verify") for text in follow.other_lines)


def test_the_power_button_powers_off(tmp_path: Path) -> None:
    image, out = tiny.write_image(tmp_path / "img", SMALL), tmp_path / "out"
    for machine in ("pc", "q35"):
        with Machine(tmp_path, machine, SMALL.memory_mib, machine, ["-kernel", image, *serial(out)]) as running:
            with watch.SerialWatch(out) as follow:
                follow.wait_running()
            running.command("system_powerdown")
            assert running.process.wait(20) == 0


@pytest.mark.parametrize("machine", ["pc", "q35"])
def test_goes_on_across_a_live_migration(tmp_path: Path, machine: str) -> None:
    image, out, channel = tiny.write_image(tmp_path / "img", SMALL), tmp_path / "out", tmp_path / "channel"
    arguments = ["-kernel", str(image), *serial(out)]
    with (
        watch.SerialWatch(out) as follow,
        Machine(tmp_path, "a", SMALL.memory_mib, machine, arguments) as source,
    ):
        follow.wait_running()
        incoming = [*arguments, "-incoming", f"unix:{channel}"]
        with Machine(tmp_path, "b", SMALL.memory_mib, machine, incoming):
            source.migrate_to(channel)
            follow.wait_verified(2)
            assert source.command("query-status")["status"] == "postmigrate"
    follow.check()


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"mib": 0}, "mib=0: from 1"),
        ({"mib": 4000}, "mib=4000"),
        ({"mib": 8, "dirty_mib": 9}, "dirty_mib=9: from 0 to mib=8"),
        ({"hz": 5}, "hz=5"),
        ({"mib": 1, "dirty_mib": 1, "break_page": 256}, "not one of 256 pages"),
        ({"fill": "noise"}, "fill=noise: not one of sequence, zeros, text"),
    ],
)
def test_wrong_parameters_are_named(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        tiny.TinyParameters(**wrong)


@pytest.mark.parametrize("fill", tiny.FILLS)
def test_every_fill_is_verified_and_moves(tmp_path: Path, fill: str) -> None:
    parameters = tiny.TinyParameters(mib=8, dirty_mib=2, dirty_mib_s=40, pass_s=0.1, fill=fill)
    image, out, channel = tiny.write_image(tmp_path / "img", parameters), tmp_path / "out", tmp_path / "channel"
    arguments = ["-kernel", str(image), *serial(out)]
    with (
        watch.SerialWatch(out) as follow,
        Machine(tmp_path, "a", parameters.memory_mib, "pc", arguments) as source,
    ):
        follow.wait_verified()
        with Machine(tmp_path, "b", parameters.memory_mib, "pc", [*arguments, "-incoming", f"unix:{channel}"]):
            source.migrate_to(channel)
            follow.wait_verified()
            duplicates = source.command("query-migrate")["ram"]["duplicate"]
    # What holds zeros is told from what holds anything else by whoever sends it.
    assert (duplicates > 6 * tiny.PAGES_PER_MIB) is (fill == "zeros")


@pytest.mark.parametrize("rate", [40, math.inf])
def test_pages_that_are_touched_are_verified_and_move(tmp_path: Path, rate: float) -> None:
    parameters = tiny.TinyParameters(mib=8, dirty_mib=2, dirty_mib_s=rate, pass_s=0.1, touch=True)
    image, out, channel = tiny.write_image(tmp_path / "img", parameters), tmp_path / "out", tmp_path / "channel"
    arguments = ["-kernel", str(image), *serial(out)]
    with (
        watch.SerialWatch(out) as follow,
        Machine(tmp_path, "a", parameters.memory_mib, "pc", arguments) as source,
    ):
        follow.wait_verified()
        with Machine(tmp_path, "b", parameters.memory_mib, "pc", [*arguments, "-incoming", f"unix:{channel}"]):
            source.migrate_to(channel)
            before = follow.reports[-1]
            follow.wait_verified()
            assert follow.reports[-1].generation > before.generation
    assert all(each.index < parameters.dirty_mib * tiny.PAGES_PER_MIB for each in follow.reports)


def test_a_touched_page_that_is_spoiled_is_found(tmp_path: Path) -> None:
    parameters = tiny.TinyParameters(mib=4, dirty_mib=4, dirty_mib_s=10, pass_s=0.05, break_page=1000, touch=True)
    image, out = tiny.write_image(tmp_path / "img", parameters), tmp_path / "out"
    with (
        Machine(tmp_path, "m", parameters.memory_mib, "pc", ["-kernel", image, *serial(out)]),
        watch.SerialWatch(out) as follow,
        pytest.raises(report.GuestFault, match="page=1000 word=7"),
    ):
        follow.wait_verified(2)
