"""QEMU to QEMU, driven by hand as well as it can be: the baselines without a daemon.

A move is all that a daemon would have to do too: start the QEMU that receives, connect the two, wait for the end,
end the other QEMU. Sources: QEMU docs/devel/migration.rst, qapi/migration.json.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import tree
from benchmarks.hosts import Host, LabError
from benchmarks.monitor import Monitor, MonitorError
from benchmarks.stage import MOVE_DEADLINE, Ground, MoveFailed, wait_gone
from guests import domain_xml

PORT = 4444
UNLIMITED = 1 << 60  # bytes per second; QEMU's own default is 128 MiB/s
_ENDS = ("completed", "failed", "cancelled")


def argv(emulator: Path, guest: domain_xml.Guest) -> list[str]:
    """The command line: the machine that a daemon makes of the same domain, without its monitor."""
    domain = guest.domain
    backend = f'{{"qom-type":"memory-backend-ram","id":"pc.ram","size":{domain.memory_kib << 10}}}'
    return [
        *(str(emulator), "-name", f"guest={domain.name},debug-threads=on"),
        *("-machine", f"{domain.machine},usb=off,dump-guest-core=off,memory-backend=pc.ram", "-accel", "tcg"),
        *("-m", f"size={domain.memory_kib}k", "-object", backend, "-smp", "1", "-display", "none"),
        *("-no-user-config", "-nodefaults", "-no-shutdown", "-boot", "strict=on", "-kernel", str(domain.kernel)),
        *("-chardev", f"file,id=serial0,path={guest.serial},append=on"),
        *("-device", "isa-serial,chardev=serial0,index=0"),
        *("-chardev", "pty,id=serial1", "-device", "isa-serial,chardev=serial1,index=1"),
    ]


class QemuStage:
    """No daemons. The words of a move's ``way``: ``tls``, ``multifd``."""

    def __init__(self, ground: Ground) -> None:
        self.ground = ground
        self._running: dict[str, tuple[Host, subprocess.Popen[bytes], Monitor]] = {}

    def boot(self, guest: domain_xml.Guest) -> None:
        """Start the guest on ``a``, ready for any way."""
        self._start(self.ground.pair.a, guest, ["tls"])

    def move(self, guest: domain_xml.Guest, way: Sequence[str]) -> None:
        """Move it. Raises ``MoveFailed``."""
        _, reaper, source = self._running[self.ground.pair.a.name]
        try:
            target, listen = self.road()
            destination = self._start(self.ground.pair.b, guest, way, ["-incoming", "defer"])
            self._agree(source, destination, way)
            destination.execute("migrate-incoming", uri=listen)
            source.execute("migrate", uri=target)
            end = source.wait(lambda e: e.data.get("status") in _ENDS, "the migration's end", MOVE_DEADLINE)
            if end.data["status"] != "completed":
                raise MoveFailed(f"QEMU: {source.execute('query-migrate')}")
            destination.wait(lambda e: e.name == "RESUME", "the guest runs at the destination", 30)
            source.execute("quit")
        except (MonitorError, LabError) as err:
            raise MoveFailed(str(err)) from err
        wait_gone([reaper.pid], "QEMU at the source")

    def road(self) -> tuple[str, str]:
        """The URI that the source connects to, and the one at which the destination is to listen."""
        uri = f"tcp:{self.ground.pair.b.address}:{PORT}"
        return uri, uri

    def clear(self) -> None:
        """End the QEMUs there are."""
        while self._running:
            host, reaper, monitor = self._running.popitem()[1]
            monitor.close()
            host.end(reaper)

    def pids(self) -> dict[str, list[int]]:
        """QEMUs, and ``helpers``."""
        running = [(host.name, reaper) for host, reaper, _ in list(self._running.values())] + self.helpers()
        return {
            host.name: tree.descendants([reaper.pid for name, reaper in running if name == host.name])
            for host in self.ground.pair
        }

    def helpers(self) -> list[tuple[str, subprocess.Popen[bytes]]]:
        """What a move needs besides QEMU: host and sub-reaper."""
        return []

    def close(self) -> None:
        """End everything."""
        self.clear()

    def _start(self, host: Host, guest: domain_xml.Guest, way: Sequence[str], more: Sequence[str] = ()) -> Monitor:
        socket = host.folder / "qemu.qmp"
        socket.unlink(missing_ok=True)
        words = [*argv(self.ground.emulator.path, guest), "-qmp", f"unix:{socket},server=on,wait=off", *more]
        if "tls" in way:
            end = "client" if host is self.ground.pair.a else "server"
            words += ["-object", f"tls-creds-x509,id=tls0,dir={self._credentials(host)},endpoint={end}"]
        reaper = host.start(words, host.folder / "qemu.log")
        try:
            monitor = Monitor(socket, lambda: reaper.poll() is None)
        except MonitorError:
            host.end(reaper)
            raise LabError(f"QEMU did not start: {(host.folder / 'qemu.log').read_text()[-2000:]}") from None
        self._running[host.name] = host, reaper, monitor
        return monitor

    def _agree(self, source: Monitor, destination: Monitor, way: Sequence[str]) -> None:
        switches = {"events": True, "multifd": "multifd" in way}
        both: dict[str, Any] = {}
        if "multifd" in way:
            both["multifd_channels"] = 2
        if "tls" in way:
            both["tls_creds"] = "tls0"
        name = {"tls_hostname": self.ground.pair.b.address} if "tls" in way else {}
        for monitor, parameters in ((destination, both), (source, {**both, **name, "max_bandwidth": UNLIMITED})):
            capabilities = [{"capability": switch, "state": state} for switch, state in switches.items()]
            monitor.execute("migrate-set-capabilities", capabilities=capabilities)
            if parameters:
                monitor.execute("migrate-set-parameters", **parameters)

    def _credentials(self, host: Host) -> Path:
        """A folder with the names that QEMU looks for (QEMU docs/system/tls.rst)."""
        folder = host.folder / "qemu-tls"
        if not folder.is_dir():
            folder.mkdir()
            held = self.ground.certificates[host.name].folder
            for theirs in ("ca-cert", "server-cert", "server-key", "client-cert", "client-key"):
                (folder / f"{theirs}.pem").symlink_to(held / f"{theirs.replace('-', '')}.pem")
        return folder
