"""How the released version is installed: once, wholly or not at all, and with words when it cannot be."""

from __future__ import annotations

import fcntl
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.released import install
from tests.released.install import Clock, NotInstalled, made_in_place
from tests.released.release import COMMIT


def test_made_once_however_many_ask(tmp_path: Path) -> None:
    calls = []

    def make(folder: Path, clock: Clock) -> None:
        calls.append(folder)
        folder.mkdir()
        (folder / "thing").touch()

    def ask(_: int) -> Path:
        return made_in_place(tmp_path / "new" / "it", make, Clock(20))

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(ask, range(16))) == {tmp_path / "new" / "it"}
    assert calls == [tmp_path / "new" / "it"]


def test_what_is_left_half_made_is_made_anew(tmp_path: Path) -> None:
    folder = tmp_path / "it"

    def broken(folder: Path, clock: Clock) -> None:
        folder.mkdir()
        (folder / "half").touch()
        raise NotInstalled("broken")

    with pytest.raises(NotInstalled, match="broken"):
        made_in_place(folder, broken, Clock(20))
    made_in_place(folder, lambda folder, clock: folder.mkdir(), Clock(20))
    assert not (folder / "half").exists()
    made_in_place(folder, broken, Clock(20))  # it is there


def test_nobody_waits_for_ever_for_who_makes_it(tmp_path: Path) -> None:
    with open(tmp_path / "it.lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(NotInstalled, match=r"it\.lock, which another process holds: not within 0\.3 s"):
            made_in_place(tmp_path / "it", lambda folder, clock: folder.mkdir(), Clock(0.3))
    assert not (tmp_path / "it").exists()


def test_a_clone_that_is_not_whole_is_told_how_to_become_so(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True, timeout=60)
    with pytest.raises(NotInstalled, match=rf"{COMMIT}, is not in the history .*`git fetch --unshallow`"):
        install.require_commit(tmp_path)


def test_setuptools_is_the_pinned_one() -> None:
    lxml = "lxml==6.0 \\\n    --hash=sha256:0a\n"
    setuptools = "setuptools==80.1 \\\n    --hash=sha256:1b \\\n    --hash=sha256:2c\n"
    assert install.build_requirements(f"{lxml}{setuptools}    # via x\n") == setuptools
    with pytest.raises(NotInstalled, match="pins no setuptools"):
        install.build_requirements(lxml)
