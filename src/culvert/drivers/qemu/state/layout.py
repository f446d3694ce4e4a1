"""Where the driver keeps things: definitions, live status, logs, sockets.

::

    etc/qemu/NAME.xml             a persistent definition
    etc/qemu/autostart/NAME.xml   a link to it: the domain is started with the host
    etc/qemu/autostart/NAME.xml.once   the same: at its next boot alone
    run/qemu/NAME.json            the live status of a running domain
    run/qemu/domain-ID-SHORT/     sockets and short-lived files of one run (monitor.sock …)
    log/qemu/NAME.log             what QEMU has said, over all runs
    lib/qemu/left/NAME            where the guest has gone, written by culvert 0.1.0 and read once: now the journal's
    log/swtpm/NAME-swtpm.log      what the emulator of its TPM has said
    lib/qemu/swtpm/UUID/          what a guest's TPM keeps
    lib/qemu/swtpm-localca/       who certifies the keys of this host's TPMs
    lib/qemu/nvram/NAME_VARS.fd   the variables of a guest's firmware
    lib/qemu/save/NAME.save       the guest as it was saved; its next start goes on there
    lib/qemu/snapshot/NAME/X.xml  what is kept of snapshot X; the snapshot itself is in the images
    lib/qemu/                     what outlives a reboot and is nobody's configuration
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from culvert.ground import errors

# NAME_MAX is 255 bytes; the rest is for the longest decoration a name gets (".NAME.json.tmp").
NAME_LIMIT = 240
SHORT_NAME = 20  # libvirt's virDomainDefGetShortName keeps as many characters of the name

DIRECTORY_MODE = 0o700


def check_name(name: str) -> None:
    """Refuse a domain name that cannot be a file name, an argument and a line of text at once.

    Raises ``errors.XMLError`` saying what is wrong with it.
    """
    if not name.strip():
        raise errors.XMLError("the name of a domain must not be empty")
    if "/" in name:
        raise errors.XMLError(f"name '{name}' of a domain must not contain '/'")
    if name in (".", "..") or any(ord(c) < 32 or ord(c) == 127 for c in name):
        raise errors.XMLError(f"name {name!r} of a domain must be printable and must not be '.' or '..'")
    try:
        size = len(name.encode())
    except UnicodeEncodeError as err:
        raise errors.XMLError(f"name {name!r} of a domain is not valid text") from err
    if size > NAME_LIMIT:
        raise errors.XMLError(f"name '{name[:SHORT_NAME]}…' of a domain has {size} bytes, at most {NAME_LIMIT} work")


@dataclass(frozen=True, slots=True)
class Layout:
    """The four directories given to a driver; everything else is derived from them."""

    etc: Path
    lib: Path
    run: Path
    log: Path

    @classmethod
    def below(cls, root: Path) -> Layout:
        """All four under one directory."""
        return cls(root / "etc", root / "lib", root / "run", root / "log")

    @property
    def definitions(self) -> Path:
        return self.etc / "qemu"

    @property
    def statuses(self) -> Path:
        return self.run / "qemu"

    @property
    def logs(self) -> Path:
        return self.log / "qemu"

    @property
    def state(self) -> Path:
        return self.lib / "qemu"

    def definition(self, name: str) -> Path:
        return self.definitions / f"{name}.xml"

    def autostart(self, name: str, *, once: bool = False) -> Path:
        return self.definitions / "autostart" / (f"{name}.xml.once" if once else f"{name}.xml")

    @property
    def autostarted(self) -> Path:
        """Says for which boot of the host the domains that start with it have been started."""
        return self.run / "autostarted"

    def managed_save(self, name: str) -> Path:
        return self.state / "save" / f"{name}.save"

    @property
    def swtpm(self) -> Path:
        return self.state / "swtpm"

    def tpm_log(self, name: str) -> Path:
        return self.log / "swtpm" / f"{name}-swtpm.log"

    @property
    def nvram(self) -> Path:
        return self.state / "nvram"

    def snapshots(self, name: str) -> Path:
        return self.state / "snapshot" / name

    def marker(self, name: str) -> Path:
        return self.state / "left" / name

    def status(self, name: str) -> Path:
        return self.statuses / f"{name}.json"

    def log_file(self, name: str) -> Path:
        return self.logs / f"{name}.log"

    def runtime(self, domain_id: int, name: str) -> Path:
        """The directory of one run of a domain; made at start, removed when the process has ended."""
        short = name[:SHORT_NAME].replace(".", "_")  # the run of a domain "x.json" is nobody's status
        return self.statuses / f"domain-{domain_id}-{short}"

    def make(self) -> None:
        """Create the directories that are missing. Raises ``errors.SystemCallError``."""
        for path in (self.definitions, self.statuses, self.logs, self.state):
            try:
                path.mkdir(parents=True, exist_ok=True, mode=DIRECTORY_MODE)
            except OSError as err:
                raise errors.SystemCallError(
                    f"cannot create directory '{path}': {err.strerror}", errno=err.errno
                ) from err
