"""How a command is run in a root: in a mount namespace of its own, whose root that is.

Not by chroot alone: a tool that goes into the mount namespace of a process (``nsenter --mount``) is then in that
process's root too, and not in the machine's. The process that is started becomes the command, so its id is known;
network, process ids and devices are the machine's.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
PASSED = ("HOME", "LANG", "TERM", "USER", "LOGNAME", "XDG_CACHE_HOME")
PASSED_PREFIXES = ("PIP_", "SSL_CERT_", "REQUESTS_CA_", "CULVERT_")
"""Of the machine's environment this goes along; nothing of make's and none of a virtual environment."""

# Arguments: the root, folders of the machine that are seen there at the same place, `--`, the command.
_SCRIPT = """
set -eu
root=$1; shift
mount --bind "$root" "$root"
cd "$root"
mkdir -p .old
mount -t proc proc proc 2>/dev/null || mount --rbind /proc proc
mount --rbind /sys sys
mount --rbind /dev dev
mount -t tmpfs -o mode=755 tmpfs run
mkdir -p run/lock
while [ "$1" != -- ]; do mkdir -p ".$1"; mount --bind "$1" ".$1"; shift; done
shift
pivot_root . .old
umount -l /.old
exec chroot / "$@"
"""


def words(root: Path | None, shared: Sequence[Path] = ()) -> tuple[str, ...]:
    """The words before a command that run it in ``root``, where the folders ``shared`` are seen too.

    None is the machine itself.
    """
    if root is None:
        return ()
    unshare = ("unshare", "--mount", "--propagation", "private", "bash", "-c", _SCRIPT, "enter")
    return (*unshare, str(root), *map(str, shared), "--")


def environment(given: Mapping[str, str] = os.environ) -> dict[str, str]:
    """What a command in any generation has of the environment ``given``."""
    passed = {
        name: value
        for name, value in given.items()
        if name in PASSED or name.startswith(PASSED_PREFIXES) or name.lower().endswith("_proxy")
    }
    return {"HOME": "/root", "LANG": "C.UTF-8", **passed, "PATH": PATH}
