"""Two culvertd, clear-text and TLS on the same pair; unmodified virsh asks for the moves."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence

from benchmarks import daemon_guests, tree
from benchmarks.hosts import Host, LabError
from benchmarks.stage import MOVE_DEADLINE, Ground, client, culvert, fresh, is_qemu, virsh, wait_gone
from guests import domain_xml

PORTS = (16509, 16514)  # TCP, TLS
READY = "culvertd ready"


class Daemon:
    """One culvertd of a host; ``settings``: more of its configuration, ``keeper``: words that run it, if any."""

    def __init__(
        self,
        host: Host,
        ground: Ground,
        ports: tuple[int, int] = PORTS,
        settings: str = "",
        keeper: Sequence[str] = (),
    ) -> None:
        self.host = host
        self.root = fresh(host.folder, "culvert")
        held = ground.certificates[host.name]
        config = self.root / "culvertd.toml"
        daemon = f"[daemon]\nhostname = {json.dumps('bench-' + host.name)}\nallow_clear_text = true\n"
        config.write_text(f"{daemon}{held.config()}\n{settings}")
        self.log = self.root / "said.log"
        self.reaper = host.start(
            [
                *keeper,
                *(sys.executable, "-m", "culvert.daemon.main", "--root", str(self.root), "--config", str(config)),
                *("--listen", f"tcp://{host.address}:{ports[0]}", "--listen", f"tls://{host.address}:{ports[1]}"),
            ],
            self.log,
        )

    @property
    def uri(self) -> str:
        """By its UNIX socket."""
        return f"qemu+unix:///system?socket={self.root}/run/culvert-sock"

    def wait_ready(self, timeout: float = 30) -> None:
        """Wait until it listens. Raises ``LabError``."""
        deadline = time.monotonic() + timeout
        while READY not in self.log.read_text("utf-8", "replace"):
            if self.reaper.poll() is not None or time.monotonic() > deadline:
                raise LabError(f"culvertd on {self.host.name} is not ready: {self.log.read_text()[-2000:]}")
            time.sleep(0.02)


class CulvertStage:
    """The words of a move's ``way`` that begin with ``--``, and numbers, go to ``virsh migrate --live --p2p``.

    ``auto`` has ``culvert migrate --auto`` do it instead. ``tls`` and what begins with ``?`` make the
    destination's URI.
    """

    ports = PORTS

    def __init__(self, ground: Ground) -> None:
        self.ground = ground
        self.daemons = self.start()
        try:
            for daemon in self.daemons:
                daemon.wait_ready()
        except BaseException:
            self.close()
            raise

    def start(self) -> list[Daemon]:
        """A daemon on each host, which may not be ready yet."""
        return [Daemon(host, self.ground) for host in self.ground.pair]

    @property
    def uris(self) -> list[str]:
        """Of both daemons, by their UNIX sockets."""
        return [daemon.uri for daemon in self.daemons]

    def boot(self, guest: domain_xml.Guest) -> None:
        """Create the guest on ``a``."""
        daemon_guests.create(self.uris[0], guest, self.ground)

    def move(self, guest: domain_xml.Guest, way: Sequence[str], timeout: float = MOVE_DEADLINE) -> None:
        """Move it by a client; the source daemon drives. Raises ``MoveFailed``, ``TimedOut`` (and it moves on)."""
        client(self.command(guest.name, way), self.ground.folder / "client.log", timeout)
        wait_gone([pid for pid in self.pids()["a"] if is_qemu(pid)], "QEMU at the source")

    def command(self, name: str, way: Sequence[str]) -> list[str]:
        """What moves the domain ``name``."""
        if "auto" in way:
            # This client asks the destination too, and so it has to be where there is a road to it.
            argv = culvert(self.uris[0], "migrate", "--auto", name, self.target(way))
            return self.ground.pair.a.within(argv)
        options = [word for word in way if word.startswith("--") or word.isdigit()]
        return virsh(self.uris[0], "migrate", "--live", "--p2p", *options, name, self.target(way))

    def target(self, way: Sequence[str]) -> str:
        """The destination's URI."""
        query = "".join(word for word in way if word.startswith("?"))
        transport, port = ("tls", self.ports[1]) if "tls" in way else ("tcp", self.ports[0])
        return f"qemu+{transport}://{self.ground.pair.b.address}:{port}/system{query}"

    def clear(self) -> None:
        """Destroy what runs on either."""
        daemon_guests.destroy_all(self.uris)

    def pids(self) -> dict[str, list[int]]:
        """Daemons and QEMUs."""
        return {daemon.host.name: tree.descendants([daemon.reaper.pid]) for daemon in self.daemons}

    def close(self) -> None:
        """End everything."""
        for daemon in self.daemons:
            daemon.host.end(daemon.reaper, ask=10)
