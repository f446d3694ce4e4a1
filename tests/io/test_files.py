"""Files are replaced as a whole."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from culvert.ground import errors
from culvert.io import files


def test_a_failed_write_leaves_the_old_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "g.xml"
    files.write_atomically(path, "old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(errors.SystemCallError, match="No space left") as caught:
        files.write_atomically(path, "new")
    assert caught.value.errno == 28
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["g.xml"]


def test_two_writers_of_one_file_leave_one_whole_text_and_nothing_else(tmp_path: Path) -> None:
    path, texts = tmp_path / "f", [letter * 100_000 for letter in "ab"]
    with ThreadPoolExecutor(2) as threads:
        for _ in range(20):
            for done in [threads.submit(files.write_atomically, path, text) for text in texts]:
                done.result()
            assert path.read_text() in texts
    assert [left.name for left in tmp_path.iterdir()] == ["f"]
