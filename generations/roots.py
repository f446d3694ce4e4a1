"""The roots of the generations that the machine is not: made by debootstrap once, kept, and what is in them.

A root has what a bare Debian has, `make`, and how packages come to the machine itself: its mirror, its settings of
apt and pip, its certificates. Everything else `make setup` installs, as it does for anybody.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from generations import apt, enter, plan
from generations.plan import Generation
from tests.support import generation as versions

CHECKOUT = Path(__file__).resolve().parents[1]
SCRIPTS = Path("/usr/share/debootstrap/scripts")
MINUTES = 30
"""How long one step of making a root may take."""

COPIED = (
    *("etc/apt/apt.conf.d", "usr/local/share/ca-certificates", "etc/pip.conf"),
    *("root/.config/pip/pip.conf", "root/.pip/pip.conf", "etc/resolv.conf"),
)
"""Files and folders of the machine that a root has too, so that packages come to it as they come to the machine."""
CERTIFICATES = "etc/ssl/certs/ca-certificates.crt"


class NoRoot(Exception):
    """A root cannot be had; the text says which step failed, and how."""


@dataclass(frozen=True, slots=True)
class Root:
    """Where a generation is: ``path`` its root, None for the machine itself; ``clone`` its clone of culvert.

    The clone lies at the same path for the machine and in the root.
    """

    generation: Generation
    path: Path | None
    clone: Path

    def words(self, *shared: Path) -> tuple[str, ...]:
        """The words before a command that run it there; it sees the clone and the folders ``shared``."""
        return enter.words(self.path, [self.clone, *shared])

    def told(self, *command: str) -> str:
        """What a command says of itself; '' where it is not or fails."""
        done = subprocess.run(
            [*self.words(), *command], env=enter.environment(), capture_output=True, text=True, check=False, cwd="/"
        )
        return done.stdout if done.returncode == 0 else ""

    def versions(self) -> dict[str, str]:
        """What is there, as programs tell of themselves; '' for what is not."""
        asked = {
            "qemu": ("qemu-system-x86_64", "--version"),
            "libvirt": ("libvirtd", "--version"),
            "virsh": ("virsh", "--version"),
            "python": (str(self.clone / ".venv" / "bin" / "python"), "--version"),
        }
        found = {name: versions.parsed(self.told(*command)) for name, command in asked.items()}
        return {name: ".".join(map(str, version)) for name, version in found.items()}


def run(argv: Sequence[str | Path], *, env: Mapping[str, str] | None = None, minutes: float = MINUTES) -> str:
    """One step. Raises ``NoRoot`` with the end of what it said."""
    words = [str(word) for word in argv]
    try:
        done = subprocess.run(
            words,
            env=dict(env) if env is not None else None,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=minutes * 60,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as err:
        raise NoRoot(f"{words[0]}: {err}") from err
    if done.returncode:
        raise NoRoot(f"{' '.join(words[-4:])}: exit code {done.returncode}\n{done.stdout[-4000:]}")
    return done.stdout


def machine_sources() -> list[apt.Source]:
    """Where this machine's packages come from."""
    folder = Path("/etc/apt")
    files = [folder / "sources.list", *sorted((folder / "sources.list.d").glob("*.list"))]
    files += sorted((folder / "sources.list.d").glob("*.sources"))
    return list(apt.read(file.read_text("utf-8", "replace") for file in files if file.exists()))


def machine_codename() -> str:
    """The codename of this machine's release."""
    text = Path("/etc/os-release").read_text(encoding="utf-8")
    return next((line.partition("=")[2] for line in text.splitlines() if line.startswith("VERSION_CODENAME=")), "")


def machine_generation() -> str:
    """The key of the generation that this machine is; '' for none."""
    asked = subprocess.run(
        ["dpkg-query", "-W", "-f=${Version}", "qemu-system-x86"], capture_output=True, text=True, check=False
    )
    return plan.own(Path("/etc/os-release").read_text(encoding="utf-8"), asked.stdout)


def make(generation: Generation, path: Path, *, fresh: bool = False) -> Path:
    """The root of ``generation`` in ``path``, made now if it is not there or ``fresh``. Raises ``NoRoot``."""
    stamp = path.with_name(f"{path.name}.complete")
    if stamp.exists() and not fresh:
        return path
    stamp.unlink(missing_ok=True)
    if path.exists():
        shutil.rmtree(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        mirrors = apt.mirrors(machine_sources(), machine_codename())
    except apt.NoMirror as err:
        raise NoRoot(f"{generation.title}: {err}") from err
    script = [] if (SCRIPTS / generation.suite).exists() else [SCRIPTS / "sid"]
    include = "--include=ca-certificates,make"
    run(["debootstrap", "--variant=minbase", include, generation.suite, path, mirrors.main, *script])
    _settle(generation, path, mirrors)
    within = enter.words(path)
    for command in (("update-ca-certificates",), ("apt-get", "-qq", "update"), ("apt-get", "-qq", "-y", "upgrade")):
        run([*within, *command], env={**enter.environment(), "DEBIAN_FRONTEND": "noninteractive"})
    if (Path("/") / CERTIFICATES).exists():
        shutil.copy(Path("/") / CERTIFICATES, path / CERTIFICATES)
    stamp.touch()
    return path


def _settle(generation: Generation, path: Path, mirrors: apt.Mirrors) -> None:
    """The files by which packages come to the machine, and by which those of this generation do."""
    for name in COPIED:
        found = Path("/") / name
        if found.is_dir():
            shutil.copytree(found, path / name, dirs_exist_ok=True)
        elif found.exists():
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            (path / name).unlink(missing_ok=True)
            shutil.copy(found, path / name)
    sources = apt.sources_list(mirrors, generation.suite, backports=generation.backports)
    (path / "etc/apt/sources.list").write_text(sources, encoding="utf-8")
    if generation.backports:
        file = path / "etc/apt/preferences.d/generation"
        file.write_text(apt.preferences(generation.suite), encoding="utf-8")


def clone(folder: Path, commit: str) -> None:
    """A clean clone of this checkout's ``commit`` in ``folder``, but for its virtual environment.

    What is not committed is not in it. Raises ``NoRoot``.
    """
    git = ("git", "-C", folder)
    if not (folder / ".git").exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        run(["git", "clone", "--quiet", "--no-hardlinks", CHECKOUT, folder])
    run([*git, "fetch", "--quiet", CHECKOUT, "HEAD"])
    run([*git, "checkout", "--quiet", "--force", "--detach", commit])
    run([*git, "clean", "-ffdxq", "-e", ".venv"])


def commit() -> str:
    """HEAD of this checkout, which is what clones have."""
    return run(["git", "-C", CHECKOUT, "rev-parse", "--short", "HEAD"]).strip()
