"""Files are replaced as a whole."""

from __future__ import annotations

import os
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
