"""The environment that a QEMU gets: what a program needs, and nothing of what the daemon was started with.

Source: libvirt 9.0, virCommandAddEnvPassCommon (util/vircommand.c) and qemuBuildCommandLine (qemu/qemu_command.c): a
fixed language, a few variables passed on, and for a daemon of root a home that is the guest's own folder.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

LANGUAGE = {"LC_ALL": "C"}  # what QEMU says is read, and shown, as it is
PASSED = ("LD_PRELOAD", "LD_LIBRARY_PATH", "PATH", "HOME", "USER", "LOGNAME", "TMPDIR")
HOMES = {
    "HOME": "",
    "XDG_DATA_HOME": ".local/share",
    "XDG_CACHE_HOME": ".cache",
    "XDG_CONFIG_HOME": ".config",
}
VARIABLE = "CULVERT_QEMU_ENVIRONMENT"
"""For the tests: names of more variables to pass on, with blanks between."""


def of_qemu(inherited: Mapping[str, str], *, uid: int, folder: Path) -> dict[str, str]:
    """For a QEMU of a daemon that has the environment ``inherited`` and runs as ``uid``; ``folder`` is QEMU's own."""
    names = (*PASSED, *inherited.get(VARIABLE, "").split())
    made = {name: inherited[name] for name in names if name in inherited} | LANGUAGE
    if uid == 0:
        made |= {name: str(folder / below) for name, below in HOMES.items()}
    return made
