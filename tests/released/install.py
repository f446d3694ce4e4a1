"""The released culvert, installed from the history into a virtual environment of its own, with its own pins.

Done once and kept below ``.venv``, which ``make clean`` removes: keyed by the commit, by the Python that runs it and
by this recipe. A virtual environment cannot be moved (its programs begin with its path), so it is made in its place,
behind a lock, and is good when its stamp is there, which is written last.
"""

from __future__ import annotations

import fcntl
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from guests import cache
from tests.released.release import COMMIT, VERSION

ROOT = Path(__file__).resolve().parents[2]
PLACE = ROOT / ".venv" / "released"
DEADLINE = 300.0
"""Seconds for all of it, the wait for somebody else who does it included."""
_STAMP = ".complete"
_SETUPTOOLS = re.compile(r"^setuptools==\S+(?: \\\n +--hash=\S+)+$", re.MULTILINE)


class NotInstalled(Exception):
    """It could not be installed; the text says which step failed, and how."""


@dataclass(frozen=True, slots=True)
class Installed:
    """A culvert in a virtual environment, ``folder``."""

    folder: Path

    def program(self, name: str) -> str:
        """The path of one of its programs: ``culvertd``, ``culvert``, ``python``."""
        return str(self.folder / "bin" / name)


class Clock:
    """What is left of ``seconds`` for a number of steps."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._end = time.monotonic() + seconds

    def left(self, what: str) -> float:
        """Seconds left for ``what``. Raises ``NotInstalled`` when there are none."""
        left = self._end - time.monotonic()
        if left <= 0:
            raise NotInstalled(f"{what}: not within {self._seconds:g} s")
        return left


def installed() -> Installed:
    """The released culvert, installed now if it is not there yet. Raises ``NotInstalled``."""
    key = cache.key_of([Path(__file__)], COMMIT, sys.version, sys.base_prefix)
    return Installed(made_in_place(PLACE / f"{VERSION}-{key}", _install, Clock(DEADLINE)))


def made_in_place(folder: Path, make: Callable[[Path, Clock], None], clock: Clock) -> Path:
    """``folder`` as ``make`` has filled it, now or before; what was left half-made is made anew.

    Safe among processes: one makes it, the others wait. Raises ``NotInstalled``.
    """
    stamp = folder / _STAMP
    if stamp.exists():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _locked(folder.with_name(f"{folder.name}.lock"), clock):
        if not stamp.exists():
            if folder.exists():
                shutil.rmtree(folder)
            make(folder, clock)
            stamp.touch()
    return folder


@contextmanager
def _locked(path: Path, clock: Clock) -> Iterator[None]:
    with open(path, "w", encoding="ascii") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                clock.left(f"waiting for {path}, which another process holds")
                time.sleep(0.1)
        yield


def require_commit(repository: Path) -> None:
    """Raise ``NotInstalled`` if ``repository`` does not have the released commit."""
    try:
        cache.run(["git", "cat-file", "-e", f"{COMMIT}^{{commit}}"], cwd=repository)
    except cache.BuildFailed as err:
        raise NotInstalled(
            f"culvert {VERSION}, commit {COMMIT}, is not in the history at {repository}: the tests with the released"
            f" version need the whole history, which `git fetch --unshallow` fetches into a shallow clone\n{err}"
        ) from None


def build_requirements(pins: str) -> str:
    """The part of ``pins`` (a requirements file with hashes) that building needs. Raises ``NotInstalled``."""
    found = _SETUPTOOLS.search(pins)
    if found is None:
        raise NotInstalled(f"culvert {VERSION} pins no setuptools in its requirements-dev.txt")
    return f"{found[0]}\n"


def _install(folder: Path, clock: Clock) -> None:
    """A virtual environment in ``folder`` with the released commit in it: installed, not linked."""

    def run(*argv: str | Path) -> str:
        timeout = clock.left(" ".join(map(str, argv)))
        try:
            return cache.run(argv, cwd=folder, timeout=timeout)
        except cache.BuildFailed as err:
            raise NotInstalled(f"culvert {VERSION} in {folder}: {err}") from err

    require_commit(ROOT)
    run_pip = (folder / "bin" / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    sources, archive, build = folder / "sources", folder / "sources.tar", folder / "build.txt"
    sources.mkdir(parents=True)
    run("git", "-C", ROOT, "archive", "--format=tar", f"--output={archive}", COMMIT)
    run("tar", "-xf", archive, "-C", sources)
    run(sys.executable, "-m", "venv", folder)
    build.write_text(build_requirements((sources / "requirements-dev.txt").read_text("utf-8")), encoding="utf-8")
    for pins in (sources / "requirements.txt", build):
        run(*run_pip, "--require-hashes", "-r", pins)
    run(*run_pip, "--no-deps", "--no-build-isolation", sources)
    told = run(folder / "bin" / "culvertd", "--version")
    if VERSION not in told.split():
        raise NotInstalled(f"commit {COMMIT} is not culvert {VERSION}, it says of itself: {told.strip()}")
    shutil.rmtree(sources)
    archive.unlink()
