"""One of the two hosts: its daemon, the roads to it, where it can be held, and the disk of its journal.

::

    virsh ── 127.0.0.2:PORT, a proxy ──▶ 127.0.0.1:PORT, the daemon

Every connection to a host that is not virsh's own at the source goes by its road, at the daemon's own port number, so
that also those go by it that a daemon is told of by the other.
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from culvert.io import fault_points
from faults.plan import Fault, Side
from tests.support.daemon import DaemonProcess
from tests.support.libvirtd import Libvirtd
from tests.support.pki import Holder, Pki
from tests.support.proxy import Proxy
from tests.support.virsh import Result, virsh
from tests.support.wait import wait_for

ROAD = "127.0.0.2"
KEEPALIVE = 1  # second between pings
DEADLINE_SECONDS = 4
DISK = "24m"
"""Size of the file system of a journal that is to be full; a guest's saved state is not on it."""

_CULVERT: dict[str, dict[str, object]] = {
    "keepalive": {"interval": KEEPALIVE, "count": 3},
    "migration": {"connect_seconds": 4, "reattach_seconds": 12, "dead_seconds": 2, "host": f'"{ROAD}"'},
}
_LIBVIRTD = "keepalive_interval = 1\nkeepalive_count = 3\n"
# libvirt refuses to be told a migration host that is this machine by its usual name.
_QEMU_CONF = f'keepalive_interval = 1\nkeepalive_count = 3\nmigration_host = "{ROAD}"\n'
NAME = "tiny"


@dataclass
class Host:
    """One of the two. ``voice``: what its copy of the guest says; ``points``: where its daemon is held."""

    side: Side
    daemon: DaemonProcess | Libvirtd
    voice: Path
    points: Path
    road: Proxy | None = None
    data_road: Proxy | None = None
    """libvirt's QEMU listens for itself, on the proxy's own port number."""
    disk: Path | None = None
    holder: Holder | None = None
    """Its certificates, where there is TLS between the hosts."""

    @property
    def uri(self) -> str:
        """By the UNIX socket: nothing that is broken between hosts breaks it."""
        return self.daemon.uri

    @property
    def road_uri(self) -> str:
        """As others reach it."""
        assert self.road is not None
        return f"qemu+{'tls' if self.holder else 'tcp'}://{ROAD}:{self.road.port}/system"

    @property
    def roads(self) -> list[Proxy]:
        """Every road to it."""
        return [road for road in (self.road, self.data_road) if road is not None]

    def virsh(self, *words: str, timeout: float = 30) -> Result:
        """Ask it, by its socket. Raises ``AssertionError`` when it does not answer in time."""
        return virsh(*words, uri=self.uri, timeout=timeout)

    def kill(self) -> None:
        """SIGKILL the daemon; its guests run on."""
        self.daemon.kill()

    def start(self) -> None:
        """Let the daemon live (again), where it does not."""
        if not self.daemon.running:
            self.daemon.start()

    def descriptors(self) -> dict[str, int]:
        """What the daemon has open, by kind."""
        kinds: dict[str, int] = {}
        for entry in Path(f"/proc/{self.daemon.pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                kind = re.sub(r"\d+", "", os.readlink(entry))
                kinds[kind] = kinds.get(kind, 0) + 1
        return kinds

    def sockets(self) -> list[str]:
        """The sockets that the daemon has open, as ``ss`` describes them."""
        told = subprocess.run(["ss", "-axtpnH"], capture_output=True, text=True, check=True).stdout
        return [" ".join(line.split()) for line in told.splitlines() if f"pid={self.daemon.pid}," in line]

    def leftovers(self) -> list[str]:
        """What should not be there when no guest is."""
        found = [f"process {pid}" for pid in self.daemon.qemu_pids()]
        if isinstance(self.daemon, DaemonProcess):
            found = self.daemon.leftovers()
        names = self.virsh("list", "--all", "--name").out.split()
        return found + [f"domain {name}" for name in names]

    # -- the journal's disk ------------------------------------------------------------------------------------------

    def fill_disk(self) -> None:
        """No byte more goes onto the journal's file system."""
        assert self.disk is not None
        with open(self.disk / "filler", "ab", buffering=0) as file, contextlib.suppress(OSError):
            while file.write(bytes(4096)):
                pass

    def free_disk(self) -> None:
        """There is room again."""
        if self.disk is not None:
            (self.disk / "filler").unlink(missing_ok=True)

    def spoil_journal(self) -> None:
        """Nothing in the journal can be read any more."""
        assert isinstance(self.daemon, DaemonProcess)
        for file in (self.daemon.root / "lib").glob("migrations.sqlite*"):
            file.write_bytes(b"this is no database" * 1000)


@contextmanager
def culvert(side: Side, folder: Path, fault: Fault, pki: Pki | None) -> Iterator[Host]:
    holder = pki.holder(side.value, [ROAD]) if pki else None
    root, points = folder / side.value[0], folder / f"{side.value}.points"
    root.mkdir()
    points.mkdir()
    settings = {section: dict(keys) for section, keys in _CULVERT.items()}
    if fault.key == "deadline":
        # It is to pass while a packet is held, which no ping overtakes.
        settings["keepalive"]["interval"] = KEEPALIVE * DEADLINE_SECONDS
        if side is Side.SOURCE:
            settings["migration"]["deadline_seconds"] = DEADLINE_SECONDS
    config = _toml(settings) + (holder.config() if holder else "")
    daemon = DaemonProcess(
        root, name=side.value, config=config, tls=bool(holder), environment={fault_points.VARIABLE: str(points)}
    )
    with contextlib.ExitStack() as stack:
        host = Host(side, daemon, folder / f"{side.value}.serial", points, holder=holder)
        if fault.key.startswith(f"{side.value}-disk"):
            host.disk = stack.enter_context(_small_disk(root / "lib"))
        stack.enter_context(daemon)
        # Its thread opens the file with the first line, which can be later than the look at what is open.
        wait_for((root / "log" / "culvertd.log").exists, f"the log of {side.value}")
        yield host


@contextmanager
def libvirt(side: Side, folder: Path, fault: Fault, pki: Pki | None) -> Iterator[Host]:
    points = folder / f"{side.value}.points"
    points.mkdir()
    daemon = Libvirtd(folder / side.value[0], name=f"libvirt-{side.value}", config=_LIBVIRTD, qemu_config=_QEMU_CONF)
    with daemon:
        yield Host(side, daemon, folder / f"{side.value}.serial", points)


@contextmanager
def _small_disk(folder: Path) -> Iterator[Path]:
    """A file system of its own in ``folder``; needs root."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK},mode=700", "faults", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def _toml(settings: Mapping[str, Mapping[str, object]]) -> str:
    sections = (
        f"[{section}]\n" + "".join(f"{key} = {value}\n" for key, value in keys.items())
        for section, keys in settings.items()
    )
    return "".join(sections)
