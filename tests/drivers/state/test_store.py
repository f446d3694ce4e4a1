"""Files that are replaced as a whole, and set aside when they cannot be read."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from culvert.drivers.qemu.process import ProcessIdentity
from culvert.drivers.qemu.state import store
from culvert.drivers.qemu.state.layout import Layout
from culvert.drivers.qemu.state.status import Status
from culvert.ground import errors

STATUS = Status(
    name="g",
    uuid="11111111-2222-4333-8444-000000000001",
    id=3,
    xml="<domain type='qemu'/>",
    state=1,
    reason=1,
    process=ProcessIdentity(4711, 99, "boot"),
    log_offset=12,
    runtime="/run/x",
    annotations={"migration": "out"},
)


@pytest.fixture
def files(tmp_path: Path) -> store.Store:
    layout = Layout.below(tmp_path)
    layout.make()
    return store.Store(layout)


def test_a_definition_comes_back(files: store.Store) -> None:
    files.save_definition("b", "second")
    files.save_definition("a", "first")
    files.save_definition("a", "first again")
    assert list(files.definitions(str)) == [("a", "first again"), ("b", "second")]
    files.remove_definition("a")
    files.remove_definition("a")
    assert list(files.definitions(str)) == [("b", "second")]
    assert sorted(path.name for path in files.layout.definitions.iterdir()) == ["b.xml"]


def test_a_status_comes_back(files: store.Store) -> None:
    files.save_status(STATUS)
    assert list(files.statuses()) == [("g", STATUS)]
    files.remove_status("g")
    assert list(files.statuses()) == []


@given(annotations=st.dictionaries(st.text(), st.text()), name=st.text(), xml=st.text())
def test_any_status_survives_its_text(annotations: dict[str, str], name: str, xml: str) -> None:
    status = Status(name, "u", 1, xml, 1, 1, None, 0, "r", False, annotations)
    assert Status.from_text(status.to_text()) == status


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", '{"format": 99}', '{"format": 1}', '{"format": 1, "name": "x", "process": 3}', "\0"],
)
def test_what_is_no_status_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        Status.from_text(text)


def test_members_of_wrong_type_are_refused() -> None:
    with pytest.raises(ValueError, match="id"):
        Status.from_text(STATUS.to_text().replace('"id": 3', '"id": "3"'))


def test_an_unreadable_file_is_set_aside_and_kept(files: store.Store, caplog: pytest.LogCaptureFixture) -> None:
    files.save_status(STATUS)
    for _ in range(2):
        (files.layout.statuses / "broken.json").write_text("half a")
        with caplog.at_level(logging.ERROR):
            assert [name for name, _ in files.statuses()] == ["g"]
    assert "broken.json" in caplog.text
    kept = sorted(path.name for path in files.layout.statuses.glob("broken*"))
    assert kept == ["broken.json.unreadable", "broken.json.unreadable.1"]
    assert (files.layout.statuses / kept[0]).read_text() == "half a"


def test_a_definition_that_its_parser_refuses_is_set_aside(files: store.Store) -> None:
    files.save_definition("g", "<nonsense/>")

    def refuse(text: str) -> str:
        raise errors.XMLError("no domain")

    assert list(files.definitions(refuse)) == []
    assert (files.layout.definitions / "g.xml.unreadable").read_text() == "<nonsense/>"


def test_what_a_cut_short_write_has_left_is_swept_away_and_nothing_else(files: store.Store) -> None:
    files.save_definition(".x", "kept")
    files.save_status(STATUS)
    for path in (files.layout.definitions / ".g.xml.tmp", files.layout.statuses / ".g.json.tmp"):
        path.write_text("hal")
    files.sweep()
    assert [path.name for path in files.layout.definitions.iterdir()] == [".x.xml"]
    assert [path.name for path in files.layout.statuses.iterdir()] == ["g.json"]


def test_a_directory_is_no_status(files: store.Store) -> None:
    (files.layout.statuses / "x.json").mkdir()
    assert list(files.statuses()) == []
    assert (files.layout.statuses / "x.json").is_dir()


def test_the_markers_of_an_earlier_version_are_read_and_go(files: store.Store) -> None:
    assert files.markers() == {}
    folder = files.layout.marker("x").parent
    folder.mkdir()
    (folder / "a").write_text("qemu+tcp://b:1/system\n")
    (folder / "b").mkdir()
    assert files.markers() == {"a": "qemu+tcp://b:1/system", "b": ""}, "what cannot be read has gone, too"
    files.remove_marker("a")
    with pytest.raises(errors.SystemCallError):
        files.remove_marker("b")
    (folder / "b").rmdir()
    files.remove_marker("b")
    assert not folder.exists()
    folder.write_text("")
    with pytest.raises(errors.SystemCallError, match="cannot list"):
        files.markers()
