"""What became of an attempt outlives the daemon, and a name from outside never leaves its folder."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from culvert.ground import errors
from culvert.migration import outcomes
from culvert.migration.outcomes import Outcomes, Word

ATTEMPT = "0123456789abcdef"


@pytest.fixture
def kept(tmp_path: Path) -> Outcomes:
    made = Outcomes(tmp_path / "migrations")
    made.prepare()
    return made


async def test_the_last_word_counts_also_for_the_next_daemon(kept: Outcomes, tmp_path: Path) -> None:
    assert await kept.get(ATTEMPT) is None
    await kept.put(ATTEMPT, Word.FINISHING, "g")
    assert await kept.get(ATTEMPT) is Word.FINISHING
    await kept.put(ATTEMPT, Word.RUNNING, "g")
    later = Outcomes(tmp_path / "migrations")
    later.prepare()
    assert await later.get(ATTEMPT) is Word.RUNNING


async def test_a_source_without_attempts_leaves_nothing(kept: Outcomes, tmp_path: Path) -> None:
    await kept.put("", Word.RUNNING, "g")
    assert list((tmp_path / "migrations").iterdir()) == []


@pytest.mark.parametrize("name", ["../host-uuid", "..", "/etc/passwd", "", "a b", "x" * 65, "short"])
async def test_a_name_that_is_no_plain_word_is_of_no_attempt(kept: Outcomes, tmp_path: Path, name: str) -> None:
    (tmp_path / "host-uuid").write_text("running")
    assert await kept.get(name) is None


async def test_a_file_that_cannot_be_read_tells_nobody_anything(kept: Outcomes, tmp_path: Path) -> None:
    (tmp_path / "migrations" / ATTEMPT).write_text("rubbish")
    with pytest.raises(errors.InternalError, match=ATTEMPT):
        await kept.get(ATTEMPT)


def test_the_oldest_go_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outcomes, "KEPT", 2)
    for number in range(4):
        path = tmp_path / f"attempt{number}"
        path.write_text("running g\n")
        os.utime(path, (number, number))
    Outcomes(tmp_path).prepare()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["attempt2", "attempt3"]


def test_a_folder_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(errors.SystemCallError, match="file"):
        Outcomes(tmp_path / "file").prepare()
