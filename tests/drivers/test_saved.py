"""The header of a saved guest's file."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from culvert.drivers.qemu import saved
from culvert.ground import errors

STREAM = b"QEVM and what follows"


def write(path: Path, xml: str, *, running: bool = True, whole: bool = True) -> None:
    fd = saved.create(path, xml, running=running)
    os.write(fd, STREAM)
    if whole:
        saved.complete(fd, path)
    os.close(fd)


@given(st.text(st.characters(codec="utf-8"), max_size=300), st.booleans())
def test_what_is_written_is_read(tmp_path_factory: pytest.TempPathFactory, xml: str, running: bool) -> None:
    path = tmp_path_factory.mktemp("saved") / "file"
    write(path, xml, running=running)
    fd, found = saved.open_saved(path)
    assert (found.xml, found.running) == (xml, running)
    assert found.offset % saved.ALIGNMENT == 0
    assert os.read(fd, 100) == STREAM
    os.close(fd)
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_large_description_has_room_for_a_larger_one(tmp_path: Path) -> None:
    path, xml = tmp_path / "file", "x" * 100_000
    write(path, xml)
    saved.rewrite(path, xml * 2, running=False)
    found = saved.read(path)
    assert (found.xml, found.running) == (xml * 2, False)
    assert path.read_bytes().endswith(STREAM)
    before = path.read_bytes()
    with pytest.raises(errors.OperationFailed, match="too large to fit"):
        saved.rewrite(path, xml * 3, running=False)
    assert path.read_bytes() == before


def test_a_save_that_was_not_finished(tmp_path: Path) -> None:
    write(tmp_path / "file", "<domain/>", whole=False)
    with pytest.raises(errors.OperationFailed, match="was not finished"):
        saved.read(tmp_path / "file")


@pytest.mark.parametrize("damage", [0, 15, 20, 31])
def test_rubbish(tmp_path: Path, damage: int) -> None:
    path = tmp_path / "file"
    write(path, "<domain/>")
    data = bytearray(path.read_bytes())
    data[damage] ^= 0x81
    path.write_bytes(data if damage != 31 else data[:30])
    with pytest.raises(errors.OperationFailed, match="no file that culvert has saved"):
        saved.read(path)


def test_what_is_no_file_holds_nobody_up(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path / "fifo", Path("/dev/full")):
        with pytest.raises(errors.OperationFailed, match="no regular file"):
            saved.read(path)
        with pytest.raises(errors.OperationFailed, match="no regular file"):
            saved.create(path, "", running=True)
        assert path.exists()


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(errors.SystemCallError, match="No such file"):
        saved.read(tmp_path / "gone")
    with pytest.raises(errors.SystemCallError, match="cannot write"):
        saved.create(tmp_path / "no" / "folder", "", running=True)
