"""Where a daemon keeps its things, and who it is."""

from __future__ import annotations

import os
import uuid
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from culvert.drivers.qemu.state.layout import Layout
from culvert.ground import errors
from culvert.io import files

SOCKET_NAME = "culvert-sock"
SOCKET_RO_NAME = "culvert-sock-ro"
CONFIG_NAME = "culvertd.toml"
HOST_UUID_NAME = "host-uuid"


@dataclass(frozen=True, slots=True)
class Places:
    """The four directories of one daemon; several daemons live on one machine with a root each."""

    layout: Layout

    @classmethod
    def below(cls, root: Path) -> Places:
        """Everything below one directory."""
        return cls(Layout.below(root.absolute()))

    @classmethod
    def of_system(cls) -> Places:
        """The system's directories for root, the XDG base directories for everybody else."""
        if os.geteuid() == 0:
            return cls(
                Layout(Path("/etc/culvert"), Path("/var/lib/culvert"), Path("/run/culvert"), Path("/var/log/culvert"))
            )
        home = Path.home()
        state = _xdg("XDG_STATE_HOME", home / ".local/state")
        return cls(
            Layout(
                _xdg("XDG_CONFIG_HOME", home / ".config"),
                _xdg("XDG_DATA_HOME", home / ".local/share"),
                _xdg("XDG_RUNTIME_DIR", state / "run"),
                state / "log",
            )
        )

    @property
    def socket(self) -> Path:
        """The UNIX socket, always there."""
        return self.layout.run / SOCKET_NAME

    @property
    def socket_ro(self) -> Path:
        """The one for those who may only look."""
        return self.layout.run / SOCKET_RO_NAME

    @property
    def config(self) -> Path:
        """The configuration file, if there is one."""
        return self.layout.etc / CONFIG_NAME

    def make(self) -> None:
        """Make the directories. Raises ``errors.SystemCallError`` naming the one that cannot be made."""
        for path in (self.layout.etc, self.layout.lib, self.layout.run, self.layout.log):
            try:
                path.mkdir(mode=0o755, parents=True, exist_ok=True)
            except OSError as err:
                raise errors.SystemCallError(
                    f"cannot make directory {path}: {err.strerror}", errno=err.errno
                ) from err

    def host_uuid(self) -> UUID:
        """This daemon's host UUID: made once, kept in the state directory.

        Raises ``errors.InvalidArgument`` when the file holds something else: it is never overwritten, because other
        hosts know this one by it.
        """
        path = self.layout.lib / HOST_UUID_NAME
        try:
            return UUID(path.read_text().strip())
        except FileNotFoundError:
            made = uuid.uuid4()
            files.write_atomically(path, f"{made}\n")
            return made
        except (OSError, ValueError) as err:
            raise errors.InvalidArgument(f"{path} does not hold a UUID: {err}; restore it or remove it") from err


def _xdg(variable: str, default: Path) -> Path:
    """An XDG base directory of ours: one variable, one default, and our name below (XDG Base Directory, "Basics")."""
    return Path(os.environ.get(variable) or default) / "culvert"
