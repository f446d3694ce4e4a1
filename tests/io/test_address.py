from __future__ import annotations

import os
from pathlib import Path

import pytest

from culvert.ground import errors
from culvert.io import address


def test_short_path_is_used_as_it_is() -> None:
    with address.short("/run/x") as found:
        assert found == "/run/x"


def test_long_path_leads_to_the_same_place(tmp_path: Path) -> None:
    folder = tmp_path / ("ö" * 60)
    folder.mkdir()
    path = folder / "file"
    path.write_text("here")
    before = len(os.listdir("/proc/self/fd"))
    with address.short(str(path)) as found:
        assert len(found) <= address.SUN_PATH_MAX
        assert Path(found).read_text() == "here"
    assert len(os.listdir("/proc/self/fd")) == before


def test_long_name_is_refused() -> None:
    with pytest.raises(errors.InvalidArgument, match="too long"), address.short("/tmp/" + "x" * 108):
        pass


def test_folder_that_is_not_there() -> None:
    with pytest.raises(FileNotFoundError), address.short("/nowhere/" + "x" * 100 + "/sock"):
        pass
