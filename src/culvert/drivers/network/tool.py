"""The host's own programs, run for what they do: ``ip``, ``nft``, ``tc``, ``dnsmasq``."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence

from culvert.ground import errors
from culvert.io import blocking

TIMEOUT = 20.0  # seconds; each of them is done in milliseconds, but the kernel's lock may be somebody else's
ADMIN = "/usr/sbin:/sbin:/usr/bin:/bin"  # a daemon of a user's may not have them in its path

# Where a program comes from, for people who do not have it.
PACKAGES = {"ip": "iproute2", "tc": "iproute2", "nft": "nftables", "dnsmasq": "dnsmasq-base", "passt": "passt"}


def find(program: str) -> str:
    """Its path. Raises ``errors.SystemCallError`` naming the package that has it. It touches the disk."""
    found = shutil.which(program, path=f"{os.environ.get('PATH', '')}:{ADMIN}")
    if found is None:
        raise errors.SystemCallError(
            f"cannot find '{program}' in path: install package '{PACKAGES.get(program, program)}'", errno=2
        )
    return found


async def run(
    program: str,
    arguments: Sequence[str],
    *,
    text: str = "",
    environment: Mapping[str, str] | None = None,
    must: bool = True,
) -> str:
    """What ``program`` has printed; ``text`` is its input. It has ended on return, also when cancelled.

    Raises ``errors.InternalError`` with what it complained of, in libvirt's words, when it takes too long, and when
    it fails and ``must`` not.
    """
    return await blocking.to_its_end(lambda: _run(program, arguments, text, environment, must))


def _run(program: str, arguments: Sequence[str], text: str, environment: Mapping[str, str] | None, must: bool) -> str:
    argv = [find(program), *arguments]
    variables = {**os.environ, "LC_ALL": "C"} if environment is None else dict(environment)
    shown = " ".join(argv)
    try:
        done = subprocess.run(
            argv, input=text, capture_output=True, text=True, timeout=TIMEOUT, env=variables, check=False
        )
    except subprocess.TimeoutExpired:
        raise errors.InternalError(f"Child process ({shown}) has not ended within {TIMEOUT:g} s") from None
    except OSError as err:
        raise errors.SystemCallError(f"cannot start '{argv[0]}': {err.strerror}", errno=err.errno) from err
    if done.returncode != 0 and must:
        raise errors.InternalError(
            f"Child process ({shown}) unexpected exit status {done.returncode}: {done.stderr.strip()}"
        )
    return done.stdout
