"""An sshd of a test: on loopback, with keys of its own, ended with the block."""

from __future__ import annotations

import os
import pwd
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

import pytest

from tests.support.processes import MARK
from tests.support.wait import wait_for

PROGRAM = Path("/usr/sbin/sshd")  # it runs itself again and wants its full path
PRIVILEGE_SEPARATION = Path("/run/sshd")  # compiled in

CONFIG = """
Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/host
AuthorizedKeysFile {folder}/user.pub
StrictModes no
UsePAM no
PermitRootLogin yes
PidFile none
"""


@dataclass(frozen=True, slots=True)
class Sshd:
    """``folder`` has the keys ``user`` (let in) and ``stranger`` (not), and ``known``: its host key."""

    folder: Path
    port: int
    pid: int

    def uri(self, path: Path | str, *, user: str = "", port: int = 0, **parameters: str) -> str:
        """How the daemon whose UNIX socket is ``path`` is reached; ``parameters`` beside or in place of the usual."""
        usual = {"keyfile": str(self.folder / "user"), "known_hosts": str(self.folder / "known"), "socket": str(path)}
        query = urlencode({name: value for name, value in {**usual, **parameters}.items() if value}, safe="/")
        who = user or pwd.getpwuid(os.getuid()).pw_name
        return f"qemu+ssh://{who}@127.0.0.1:{port or self.port}/system?{query}"


def _key(path: Path) -> str:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True)
    return path.with_suffix(".pub").read_text(encoding="ascii")


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


@contextmanager
def sshd(folder: Path) -> Iterator[Sshd]:
    """It takes connections inside the block. Skips where it cannot be: it wants to be root."""
    if os.geteuid() != 0 or not PROGRAM.exists():
        pytest.skip("needs root, and openssh-server (packaging/debian-packages-test.txt)")
    folder.mkdir()
    host = _key(folder / "host")
    _key(folder / "user")
    _key(folder / "stranger")
    port = free_port()
    (folder / "known").write_text(f"[127.0.0.1]:{port} {host}", encoding="ascii")
    (folder / "config").write_text(CONFIG.format(port=port, folder=folder), encoding="ascii")
    PRIVILEGE_SEPARATION.mkdir(exist_ok=True)
    words = [str(PROGRAM), "-D", "-e", "-f", str(folder / "config")]
    environment = {**os.environ, MARK: str(folder)}
    with open(folder / "log", "wb") as log, subprocess.Popen(words, stderr=log, env=environment) as process:
        try:
            wait_for(lambda: "Server listening" in (folder / "log").read_text("utf-8", "replace"), "sshd is ready")
            yield Sshd(folder, port, process.pid)
        finally:
            process.terminate()
