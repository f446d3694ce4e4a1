"""QEMU to QEMU through an ``ssh -L`` forward between two UNIX sockets, as Proxmox VE migrates.

Source: Proxmox qemu-server, PVE/QemuMigrate.pm (the tunnel: ``ssh … -o ExitOnForwardFailure=yes -L LOCAL:REMOTE``).
Ciphers and the rest are OpenSSH's defaults; sshd, its keys and its port are our own.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

from benchmarks.hosts import command
from benchmarks.stage import Ground, wait_path
from benchmarks.stage_qemu import QemuStage

PORT = 2222
SSHD = "/usr/sbin/sshd"  # it re-executes itself and wants its full path
_PRIVILEGE_SEPARATION = Path("/run/sshd")  # compiled in: where sshd's unprivileged half sees nothing

_CONFIG = """
Port {port}
ListenAddress {address}
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/user_key.pub
PidFile none
UsePAM no
StrictModes no
PermitRootLogin prohibit-password
"""


class SshStage(QemuStage):
    """An sshd on ``b``; every move makes its own connection to it."""

    def __init__(self, ground: Ground) -> None:
        super().__init__(ground)
        self._folder = ground.pair.b.folder / "ssh"
        self._folder.mkdir(exist_ok=True)
        for name in ("host_key", "user_key"):
            if not (self._folder / name).exists():
                command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self._folder / name))
        host_key = (self._folder / "host_key.pub").read_text()
        (self._folder / "known").write_text(f"[{ground.pair.b.address}]:{PORT} {host_key}")
        config = self._folder / "sshd_config"
        config.write_text(_CONFIG.format(port=PORT, address=ground.pair.b.address, folder=self._folder))
        self._made = not _PRIVILEGE_SEPARATION.exists()
        _PRIVILEGE_SEPARATION.mkdir(exist_ok=True)
        log = self._folder / "sshd.log"
        self._sshd = ground.pair.b.start([SSHD, "-D", "-e", "-f", str(config)], log)
        self._client: subprocess.Popen[bytes] | None = None
        self._sockets = [self._folder / "here.sock", self._folder / "there.sock"]

    def road(self) -> tuple[str, str]:
        """The forward, which is made now; sshd connects to the destination's socket when QEMU connects here."""
        self._end_client()
        a, b = self.ground.pair
        here, there = self._sockets
        for socket in self._sockets:
            socket.unlink(missing_ok=True)
        log = self._folder / "ssh.log"
        words = ["-F", "none", "-N", "-T", "-i", str(self._folder / "user_key"), "-p", str(PORT)]
        for option in (
            "BatchMode=yes",
            "ExitOnForwardFailure=yes",
            f"UserKnownHostsFile={self._folder / 'known'}",
            "GlobalKnownHostsFile=none",
        ):
            words += ["-o", option]
        self._client = a.start(["ssh", *words, "-L", f"{here}:{there}", f"root@{b.address}"], log)
        wait_path(here, self._client, log)
        return f"unix:{here}", f"unix:{there}"

    def helpers(self) -> list[tuple[str, subprocess.Popen[bytes]]]:
        """sshd, and the client while there is one."""
        client = self._client
        return [("b", self._sshd), *([("a", client)] if client is not None else [])]

    def clear(self) -> None:
        """End the QEMUs and the forward."""
        super().clear()
        self._end_client()

    def close(self) -> None:
        """End everything."""
        super().close()
        self.ground.pair.b.end(self._sshd, ask=5)
        if self._made:
            _PRIVILEGE_SEPARATION.rmdir()

    def _end_client(self) -> None:
        if self._client is not None:
            self.ground.pair.a.end(self._client, ask=5)
            self._client = None
