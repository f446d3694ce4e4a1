"""libvirt-python, which lives with the system's own interpreter: scripts run there, against a daemon of a test."""

from __future__ import annotations

import os
import subprocess
import textwrap

PYTHON = os.environ.get("CULVERT_LIBVIRT_PYTHON", "/usr/bin/python3")
PROLOGUE = """
import libvirt, sys
libvirt.registerErrorHandler(lambda context, error: None, None)
connection = libvirt.open(sys.argv[1])
"""


def libvirt_python(script: str, uri: str, *args: str, timeout: float = 90) -> str:
    """Run ``script`` with ``connection`` open on ``uri``; what it prints.

    Raises ``AssertionError`` with its outputs when it fails or takes longer than ``timeout`` seconds.
    """
    text = PROLOGUE + textwrap.dedent(script)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    try:
        done = subprocess.run(
            [PYTHON, "-c", text, uri, *args],
            capture_output=True,
            text=True,
            timeout=timeout,
            env=environment,
            check=False,
        )
    except subprocess.TimeoutExpired as err:
        raise AssertionError(f"libvirt-python: not within {timeout} s\n{err.stdout!r}\n{err.stderr!r}") from err
    assert done.returncode == 0, f"libvirt-python: exit code {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout
