"""Directories and the names that may become file names."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from culvert.drivers.qemu.state.layout import DIRECTORY_MODE, NAME_LIMIT, Layout, check_name
from culvert.ground import errors


@pytest.mark.parametrize("name", ["g", "two words", "ümläut", ".hidden", "a.xml", "x" * NAME_LIMIT, "-S", "a,b=c"])
def test_names_that_work(name: str, tmp_path: Path) -> None:
    check_name(name)
    layout = Layout.below(tmp_path)
    layout.make()
    for path in (layout.definition(name), layout.status(name), layout.log_file(name)):
        path.with_name(f".{path.name}.tmp").write_text("fits")
        assert path.parent in (layout.definitions, layout.statuses, layout.logs)
    layout.runtime(2**31, name).mkdir()


@pytest.mark.parametrize("name", ["x.json", ".json", "a.b.json", "x" * 15 + ".json"])
def test_the_directory_of_a_run_is_never_taken_for_a_status(name: str, tmp_path: Path) -> None:
    layout = Layout.below(tmp_path)
    assert layout.runtime(9, name).suffix != layout.status(name).suffix


@pytest.mark.parametrize(
    "name",
    ["", " ", "a/b", "/", "..", ".", "line\nbreak", "nul\0", "\x7f", "x" * (NAME_LIMIT + 1), "ü" * 200, "\ud800"],
)
def test_names_that_are_refused(name: str) -> None:
    with pytest.raises(errors.XMLError, match="name"):
        check_name(name)


def test_make_says_what_it_cannot_make(tmp_path: Path) -> None:
    (tmp_path / "etc").write_text("a file")
    with pytest.raises(errors.SystemCallError, match="cannot create directory"):
        Layout.below(tmp_path).make()


def test_make_again_makes_what_is_missing_and_touches_nothing_else(tmp_path: Path) -> None:
    layout = Layout.below(tmp_path)
    layout.make()
    made = (layout.definitions, layout.statuses, layout.logs, layout.state)
    assert [stat.S_IMODE(path.stat().st_mode) for path in made] == [DIRECTORY_MODE] * 4
    layout.definition("g").write_text("kept")
    layout.definitions.chmod(0o750)
    layout.logs.rmdir()
    layout.make()
    assert all(path.is_dir() for path in made)
    assert layout.definition("g").read_text() == "kept"
    assert stat.S_IMODE(layout.definitions.stat().st_mode) == 0o750
