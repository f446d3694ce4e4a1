"""Networks on the disk.

::

    etc/networks/NAME.xml             a persistent definition
    etc/networks/autostart/NAME.xml   a link to it: the network is started with the host
    run/networks/NAME.json            the status of one that is active, or was being started or ended
    run/networks/autostarted          those that start with the host have been started since it did
    run/networks/BRIDGE.pid           of its dnsmasq
    lib/dnsmasq/BRIDGE.*              what its dnsmasq reads and writes

Every method may block on the disk: call it in a thread.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from culvert.domain.network import text
from culvert.domain.network.definition import NetworkDef
from culvert.drivers.network.dnsmasq import ServerFiles
from culvert.drivers.qemu.state.layout import DIRECTORY_MODE, Layout
from culvert.ground import errors
from culvert.io import files


class Stage(StrEnum):
    """How far a network had come when its status was written."""

    STARTING = "starting"
    ACTIVE = "active"
    ENDING = "ending"


@dataclass(frozen=True, slots=True)
class NetworkStatus:
    """``definition``: the one it is active by."""

    definition: NetworkDef
    stage: Stage

    def to_text(self) -> str:
        return json.dumps({"stage": str(self.stage), "xml": text.format(self.definition)}, indent=1) + "\n"

    @classmethod
    def from_text(cls, told: str) -> NetworkStatus:
        """Raises ``ValueError``, ``KeyError``, ``TypeError``, ``errors.RequestError``."""
        raw = json.loads(told)
        return cls(text.parse(raw["xml"]), Stage(raw["stage"]))


class NetworkStore:
    """The files of all networks below one layout."""

    def __init__(self, layout: Layout) -> None:
        self._etc = layout.etc / "networks"
        self._run = layout.run / "networks"
        self._state = layout.lib / "dnsmasq"

    def files(self, bridge: str) -> ServerFiles:
        """Of the dnsmasq on that bridge."""
        return ServerFiles(self._state, self._run, bridge)

    def sweep(self) -> None:
        for folder in (self._etc, self._run, self._state):
            files.sweep(folder)

    def save(self, definition: NetworkDef) -> None:
        """Raises ``errors.SystemCallError``."""
        _make(self._etc)
        files.write_atomically(self._etc / f"{definition.name}.xml", text.format(definition))

    def remove(self, name: str) -> None:
        """With the link that starts it."""
        self.set_autostart(name, False)
        files.remove(self._etc / f"{name}.xml")

    def set_autostart(self, name: str, wanted: bool) -> None:
        """Raises ``errors.SystemCallError``."""
        link = self._etc / "autostart" / f"{name}.xml"
        if not wanted:
            if link.is_symlink():
                files.remove(link)
            return
        _make(link.parent)
        try:
            with contextlib.suppress(FileExistsError):
                link.symlink_to(self._etc / f"{name}.xml")
            files.flush_directory(link.parent)
        except OSError as err:
            raise errors.SystemCallError(f"cannot make link '{link}': {err.strerror}", errno=err.errno) from err

    def definitions(self) -> Iterator[tuple[NetworkDef, bool]]:
        """Each persistent definition, and whether it starts with the host."""
        for path in sorted(self._etc.glob("*.xml")):
            try:
                found = text.parse(path.read_text(encoding="utf-8"))
                if path.name != f"{found.name}.xml":
                    raise errors.OperationFailed(f"it defines network '{found.name}'")
            except (OSError, ValueError, errors.RequestError) as err:
                files.set_aside(path, err)
                continue
            yield found, (self._etc / "autostart" / path.name).is_symlink()

    def save_status(self, status: NetworkStatus) -> None:
        """Raises ``errors.SystemCallError``."""
        _make(self._run)
        files.write_atomically(self._run / f"{status.definition.name}.json", status.to_text())

    def remove_status(self, name: str) -> None:
        files.remove(self._run / f"{name}.json")

    def statuses(self) -> Iterator[NetworkStatus]:
        for path in sorted(self._run.glob("*.json")):
            try:
                yield NetworkStatus.from_text(path.read_text(encoding="utf-8"))
            except (OSError, ValueError, KeyError, TypeError, errors.RequestError) as err:
                files.set_aside(path, err)

    def first_since_boot(self) -> bool:
        """Whether no daemon has asked this since the host was started: what is below run/ goes with it."""
        _make(self._run)
        try:
            (self._run / "autostarted").touch(exist_ok=False)
        except FileExistsError:
            return False
        except OSError as err:
            raise errors.SystemCallError(
                f"cannot write below '{self._run}': {err.strerror}", errno=err.errno
            ) from err
        return True


def _make(folder: Path) -> None:
    try:
        folder.mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)
    except OSError as err:
        raise errors.SystemCallError(f"cannot create directory {folder}: {err.strerror}", errno=err.errno) from err
