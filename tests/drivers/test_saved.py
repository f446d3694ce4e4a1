"""The header of a saved guest's file."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import NoReturn

import pytest
from hypothesis import given
from hypothesis import strategies as st

from culvert.drivers.qemu import saved
from culvert.ground import errors
from culvert.io import files

STREAM = b"QEVM and what follows"


def write(path: Path, xml: str, *, running: bool = True, whole: bool = True) -> None:
    saving = saved.create(path, xml, running=running)
    os.write(saving.fd, STREAM)
    if whole:
        saved.complete(saving)
    else:
        saving.beside.rename(path)
    os.close(saving.fd)


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


def _begun(path: Path) -> saved.Saving:
    saving = saved.create(path, "<domain>new</domain>", running=False)
    os.write(saving.fd, STREAM)
    return saving


def test_what_stands_there_stays_until_the_new_one_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write(path, "<domain>old</domain>")
    before = path.read_bytes()
    saving = _begun(path)
    assert path.read_bytes() == before
    saved.discard(saving)
    os.close(saving.fd)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["file"]
    saving = _begun(path)
    saved.complete(saving)
    saved.discard(saving)
    os.close(saving.fd)
    assert saved.read(path).xml == "<domain>new</domain>"
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize("stood", [False, True])
@pytest.mark.parametrize("fails", ["fsync", "pwrite", "rename", "flush"])
def test_a_save_that_fails_at_its_end_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: str, stood: bool
) -> None:
    path = tmp_path / "file"
    if stood:
        write(path, "<domain>old</domain>")
    before = path.read_bytes() if stood else b""
    saving = _begun(path)

    def full(*args: object) -> NoReturn:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as broken:
        if fails == "rename":
            broken.setattr(Path, "rename", full)
        elif fails == "flush":
            broken.setattr(files, "flush_directory", full)
        else:
            broken.setattr(os, fails, full)
        with pytest.raises(errors.SystemCallError, match="Input/output error"):
            saved.complete(saving)
    saved.discard(saving)
    os.close(saving.fd)
    assert os.listdir(tmp_path) == (["file"] if stood else [])
    assert (path.read_bytes() if stood else b"") == before


def test_a_link_leads_to_the_place(tmp_path: Path) -> None:
    there = tmp_path / "there"
    there.mkdir()
    (tmp_path / "link").symlink_to(there / "file")
    write(tmp_path / "link", "<domain/>")
    assert (tmp_path / "link").is_symlink()
    assert saved.read(there / "file").xml == "<domain/>"


def test_a_description_without_room_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    write(path, "<domain>old</domain>")
    before = path.read_bytes()
    pwrite, room = os.pwrite, [10]

    def full(fd: int, data: bytes, offset: int) -> int:
        if room:
            return pwrite(fd, data[: room.pop()], offset)
        room.append(len(before))
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(errors.SystemCallError, match="No space left"):
        saved.rewrite(path, "<domain>another</domain>", running=False)
    assert path.read_bytes() == before


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(errors.SystemCallError, match="No such file"):
        saved.read(tmp_path / "gone")
    with pytest.raises(errors.SystemCallError, match="cannot write"):
        saved.create(tmp_path / "no" / "folder", "", running=True)
