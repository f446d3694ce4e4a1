"""Who looks at a guest of a test by SPICE: a process of its own, for its library is the system's interpreter's."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.guest import Host
from tests.support.libvirt_python import PYTHON
from tests.support.virsh import virsh

VIEWER = Path(__file__).with_name("spice_viewer.py")
NEEDED = 'import gi; gi.require_version("SpiceClientGLib", "2.0")'
SCREEN = """<graphics type='spice' autoport='yes' listen='127.0.0.1'/><video><model type='qxl'/></video>"""

here = pytest.mark.skipif(
    subprocess.run([PYTHON, "-c", NEEDED], capture_output=True, check=False).returncode != 0,
    reason="no gir1.2-spiceclientglib-2.0",
)


@contextmanager
def viewer(port: int, folder: Path, *options: str) -> Iterator[Path]:
    """A client that looks at the server; the file of what it says."""
    said = folder / "viewer"
    with open(said, "wb") as output:
        argv = [PYTHON, str(VIEWER), "127.0.0.1", str(port), *options]
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)
        try:
            yield said
        finally:
            process.kill()
            process.wait()


def port_of(host: Host, name: str) -> int:
    shown = virsh("domdisplay", "--type", "spice", name, uri=host.uri).expect()
    found = re.search(r"spice://127.0.0.1(?::|\?tls-port=)([0-9]+)", shown)
    assert found is not None, shown
    return int(found[1])


def has_followed(said: Path, before: int, after: int) -> bool:
    """The session is that of the other port now, and has never been without one."""
    text = said.read_text(encoding="utf-8")
    assert "disconnected" not in text, text
    return after != before and f"none {after}" in text
