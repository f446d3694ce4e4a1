"""The changelog, the history and ``release.py`` agree on what was released last, and that is what is installed."""

from __future__ import annotations

import re
import subprocess

import pytest

from tests.released import install
from tests.released.install import ROOT, Installed
from tests.released.release import COMMIT, VERSION


def git(*words: str) -> str:
    install.require_commit(ROOT)
    return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60).stdout


def sections() -> list[tuple[str, str]]:
    """The changelog's headings with what is below each, as they stand: the newest first."""
    text = (ROOT / "CHANGELOG.md").read_text("utf-8")
    parts = re.split(r"^## (.+)$", text, flags=re.MULTILINE)[1:]
    return list(zip(parts[::2], parts[1::2], strict=True))


def test_the_newest_dated_heading_of_the_changelog_names_it() -> None:
    dated = [bool(re.fullmatch(r"\d+\.\d+\.\d+, \d{4}-\d\d-\d\d", heading)) for heading, _ in sections()]
    assert all(dated[1:]), "only what is at the top is not released yet"
    heading, text = sections()[dated.index(True)]
    assert heading == f"{VERSION}, {git('show', '-s', '--format=%cs', COMMIT).strip()}"
    assert re.search(rf"^Commit {COMMIT}; its wire has the number \d+\.$", text, re.MULTILINE), text[:200]


def test_its_commit_is_behind_this_one_and_calls_itself_that() -> None:
    assert git("merge-base", COMMIT, "HEAD").strip() == COMMIT
    assert f'__version__ = "{VERSION}"' in git("show", f"{COMMIT}:src/culvert/__init__.py").splitlines()


@pytest.mark.timeout(install.DEADLINE + 60)
def test_what_is_installed_is_its_own_code(released: Installed) -> None:
    ask = "import culvert, lxml; print(culvert.__file__, lxml.__file__, sep='\\n')"
    argv = [released.program("python"), "-c", ask]
    told = subprocess.run(argv, cwd=released.folder, capture_output=True, text=True, check=True, timeout=60).stdout
    assert [line for line in told.splitlines() if not line.startswith(f"{released.folder}/lib/")] == []
    theirs = (released.folder / told.splitlines()[0]).parent / "protocol" / "culvert.py"
    assert theirs.read_text("utf-8") == git("show", f"{COMMIT}:src/culvert/protocol/culvert.py")
