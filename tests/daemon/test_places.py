"""Where a daemon keeps its things, and the host UUID that is made once."""

from __future__ import annotations

from pathlib import Path

import pytest

from culvert.daemon.places import Places
from culvert.ground import errors


def test_everything_is_below_the_root(tmp_path: Path) -> None:
    places = Places.below(tmp_path)
    places.make()
    layout = places.layout
    for path in (layout.etc, layout.lib, layout.run, layout.log):
        assert path.is_dir()
        assert path.parent == tmp_path
    assert places.socket == tmp_path / "run" / "culvert-sock"
    assert places.config == tmp_path / "etc" / "culvertd.toml"


def test_a_relative_root_is_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert Places.below(Path("here")).socket == tmp_path / "here" / "run" / "culvert-sock"


def test_root_uses_the_system_and_others_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)
    assert Places.of_system().socket == Path("/run/culvert/culvert-sock")
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/1000")
    monkeypatch.setenv("XDG_CONFIG_HOME", "/conf")
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.setattr("pathlib.Path.home", lambda: Path("/home/u"))
    places = Places.of_system()
    assert places.socket == Path("/run/user/1000/culvert/culvert-sock")
    assert places.config == Path("/conf/culvert/culvertd.toml")
    assert places.layout.lib == Path("/home/u/.local/share/culvert")
    assert places.layout.log == Path("/home/u/.local/state/culvert/log")
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    assert Places.of_system().socket == Path("/home/u/.local/state/culvert/run/culvert/culvert-sock")


def test_the_host_uuid_is_made_once_and_each_root_has_its_own(tmp_path: Path) -> None:
    one, other = Places.below(tmp_path / "one"), Places.below(tmp_path / "other")
    for places in (one, other):
        places.make()
    assert one.host_uuid() == one.host_uuid() != other.host_uuid()


def test_a_host_uuid_that_cannot_be_read_is_not_overwritten(tmp_path: Path) -> None:
    places = Places.below(tmp_path)
    places.make()
    path = tmp_path / "lib" / "host-uuid"
    path.write_text("rubbish")
    with pytest.raises(errors.InvalidArgument, match="host-uuid"):
        places.host_uuid()
    assert path.read_text() == "rubbish"


def test_a_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "etc").write_text("in the way")
    with pytest.raises(errors.SystemCallError, match="etc"):
        Places.below(tmp_path).make()
