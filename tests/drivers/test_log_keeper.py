"""The logs of QEMUs are bounded, whatever a guest makes them say."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from culvert.drivers.qemu import log_keeper
from culvert.drivers.qemu.process import Output


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_is_short_or_not_there_stays(tmp_path: Path) -> None:
    path = tmp_path / "g.log"
    assert not log_keeper.trim(path, most=5)
    path.write_text("short")
    assert not log_keeper.trim(path, most=5)
    assert path.read_text() == "short"
    assert names(tmp_path) == ["g.log"]


def test_the_newest_parts_are_kept_and_the_writer_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "g.log"
    writer = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for number in range(5):
        os.write(writer, b"%d" % number * 30)
        assert log_keeper.trim(path, most=10, backups=3)
        os.write(writer, b"next")
    os.close(writer)
    assert names(tmp_path) == ["g.log", "g.log.0", "g.log.1", "g.log.2"]
    assert path.read_text() == "next"
    assert [(tmp_path / f"g.log.{number}").read_text() for number in range(3)] == ["4" * 10, "3" * 10, "2" * 10]


def test_what_is_no_file_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "g.log"
    os.symlink("/dev/zero", path)
    assert not log_keeper.trim(path, most=10)
    folder = tmp_path / "h.log"
    folder.mkdir()
    with pytest.raises(OSError, match="not a regular file"):
        log_keeper.trim(folder, most=0)


async def test_the_tail_of_a_run_whose_log_was_cut(tmp_path: Path) -> None:
    path = tmp_path / "g.log"
    path.write_text("of an earlier run\n" * 10)
    output = Output(path, path.stat().st_size)
    with path.open("a") as file:
        file.write("of this run\n")
    assert await output.tail() == "of this run\n"
    assert log_keeper.trim(path, most=10)
    with path.open("a") as file:
        file.write("and after\n")
    assert await output.tail() == "and after\n"
