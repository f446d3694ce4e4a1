"""Two stock libvirtd (docs/testing.md tells how two live on one machine); the same virsh asks for the moves."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack

from benchmarks import daemon_guests
from benchmarks.hosts import LabError
from benchmarks.stage import MOVE_DEADLINE, Ground, client, fresh, is_qemu, virsh, wait_gone
from guests import domain_xml
from tests.support.daemon import DaemonFailed
from tests.support.libvirtd import NEEDS, Libvirtd, possible


class LibvirtStage:
    """The words of a move's ``way`` go to ``virsh migrate --live --p2p``; ``tls`` makes the destination's URI."""

    def __init__(self, ground: Ground) -> None:
        if not possible():
            raise LabError(NEEDS)
        self.ground = ground
        self._stack = ExitStack()
        names = "".join(f"{host.address} bench-{host.name}\n" for host in ground.pair)
        try:
            self.daemons = [
                self._stack.enter_context(
                    Libvirtd(
                        fresh(host.folder, "libvirt"),
                        name=f"bench-{host.name}",
                        address=host.address,
                        namespace=host.namespace,
                        tls=ground.certificates[host.name],
                        hosts=names,
                    )
                )
                for host in ground.pair
            ]
        except DaemonFailed as err:
            self._stack.close()
            raise LabError(str(err)) from err

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
        b = self.daemons[1]
        held = self.ground.certificates["a"].folder
        target = b.tls_uri(pkipath=held) if "tls" in way else b.tcp_uri
        options = [word for word in way if word.startswith("--")]
        return virsh(self.uris[0], "migrate", "--live", "--p2p", *options, name, target)

    def clear(self) -> None:
        """Destroy what runs on either."""
        daemon_guests.destroy_all(self.uris)

    def pids(self) -> dict[str, list[int]]:
        """Daemons and QEMUs."""
        return {host.name: daemon.pids() for host, daemon in zip(self.ground.pair, self.daemons, strict=True)}

    def close(self) -> None:
        """End everything."""
        self._stack.close()
