"""The build cache: built once, complete or not at all."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from guests import cache


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CULVERT_CACHE", str(tmp_path / "cache"))


def test_built_once_however_many_ask() -> None:
    calls = []

    def build(folder: Path) -> None:
        calls.append(folder)
        (folder / "thing").write_text("made")

    with ThreadPoolExecutor(8) as pool:
        paths = set(pool.map(lambda _: cache.built("thing", "k1", build), range(16)))
    assert len(calls) == 1
    assert [path.joinpath("thing").read_text() for path in paths] == ["made"]


def test_a_failed_build_leaves_nothing_and_the_next_works(tmp_path: Path) -> None:
    def broken(folder: Path) -> None:
        (folder / "half").touch()
        cache.run(["false"])

    with pytest.raises(cache.BuildFailed, match="exit code 1"):
        cache.built("thing", "k", broken)
    assert [path.name for path in cache.directory().iterdir()] == ["thing.lock"]
    assert cache.built("thing", "k", lambda folder: (folder / "whole").touch()).joinpath("whole").exists()


def test_a_missing_program_is_named() -> None:
    with pytest.raises(cache.BuildFailed, match="no-such-compiler"):
        cache.run(["no-such-compiler", "--version"])


def test_the_key_follows_contents_not_boundaries(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_text("ab")
    two.write_text("c")
    assert cache.key_of([one, two]) != cache.key_of([two, one])
    assert cache.key_of([one], "c") != cache.key_of([one, two], "")
