"""Things built once and kept, keyed by a hash of what they are made from.

The place is ``$CULVERT_CACHE``, else ``$XDG_CACHE_HOME/culvert``, else ``~/.cache/culvert``. Nothing in it needs to
be kept: it is made again when it is gone.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

SOURCES = Path(__file__).resolve().parent


class BuildFailed(Exception):
    """A guest could not be built; the text holds the command and what it printed."""


def directory() -> Path:
    """The cache's folder, which exists afterwards."""
    base = os.environ.get("CULVERT_CACHE")
    path = Path(base) if base else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "culvert"
    path.mkdir(parents=True, exist_ok=True)
    return path


def run(argv: Sequence[str | Path], *, cwd: Path | None = None, timeout: float = 600) -> str:
    """Run a build step and return what it wrote to its standard output.

    Raises ``BuildFailed`` when it cannot be started, fails, or takes longer than ``timeout`` seconds.
    """
    words = [str(word) for word in argv]
    try:
        done = subprocess.run(words, cwd=cwd, capture_output=True, text=True, timeout=timeout, check=False)
    except (OSError, subprocess.TimeoutExpired) as err:
        raise BuildFailed(f"{' '.join(words)}: {err}") from err
    if done.returncode:
        raise BuildFailed(f"{' '.join(words)}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def key_of(sources: Sequence[Path], *more: str) -> str:
    """A short hash over the contents of ``sources`` and the texts ``more``."""
    digest = hashlib.sha256()
    for part in [*(source.read_bytes() for source in sources), *(text.encode() for text in more)]:
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part)
    return digest.hexdigest()[:16]


@contextmanager
def locked(name: str) -> Iterator[None]:
    """Keep every other process that builds ``name`` out until the block ends."""
    with open(directory() / f"{name}.lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def built(name: str, key: str, build: Callable[[Path], None]) -> Path:
    """The folder that ``build(folder)`` has filled for this ``name`` and ``key``; filled now if it is not there yet.

    Safe among processes: one builds, the others wait; a folder appears only when it is complete.
    """
    target = directory() / f"{name}-{key}"
    if target.is_dir():
        return target
    with locked(name):
        if target.is_dir():
            return target
        work = Path(tempfile.mkdtemp(prefix=f"{name}-", suffix=".part", dir=directory()))
        try:
            build(work)
            work.chmod(0o755)
            work.rename(target)
        except BaseException:
            shutil.rmtree(work, ignore_errors=True)
            raise
    return target
