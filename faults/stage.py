"""Two hosts with everything between them that can be broken, and one guest.

::

    virsh ── 127.0.0.2:PORT, a proxy ──▶ 127.0.0.1:PORT, the daemon

Every connection to a host that is not virsh's own at the source goes by its road, at the daemon's own port number, so
that also those go by it that a daemon is told of by the other.
"""

from __future__ import annotations

import contextlib
import os
import re
import struct
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from culvert.migration import fault_points
from culvert.protocol import remote
from culvert.wire.packet import PacketType
from faults import voices
from faults.plan import Cell, Fault, Flow, Hook, Packet, Side, Way, Who
from guests import domain_xml, tiny
from tests.support.daemon import DaemonProcess, remove_folder
from tests.support.libvirtd import Libvirtd
from tests.support.proxy import Proxy
from tests.support.virsh import Result, Running, virsh
from tests.support.wait import wait_for

ROAD = "127.0.0.2"
KEEPALIVE = 1  # second between pings
DEADLINE_SECONDS = 4
DISK = "24m"
"""Size of the file system of a journal that is to be full; a guest's saved state is not on it."""

_CULVERT: dict[str, dict[str, object]] = {
    "keepalive": {"interval": KEEPALIVE, "count": 3},
    "migration": {"connect_seconds": 4, "reattach_seconds": 6, "dead_seconds": 2, "host": f'"{ROAD}"'},
}
_LIBVIRTD = "keepalive_interval = 1\nkeepalive_count = 3\n"
# libvirt refuses to be told a migration host that is this machine by its usual name.
_QEMU_CONF = f'keepalive_interval = 1\nkeepalive_count = 3\nmigration_host = "{ROAD}"\n'

PARAMETERS = {
    Who.CULVERT: tiny.TinyParameters(mib=4, dirty_mib=2, dirty_mib_s=5, pass_s=0.1),
    # QEMU 7.2 loses what a guest writes while it migrates where RAM is whole MiB, and libvirt has no other.
    Who.LIBVIRT: tiny.TinyParameters(mib=4, dirty_mib=0, pass_s=0.1),
}
NAME = "tiny"
FAST = 1000  # MiB/s; 0 means one thing here and another there
HALF_WAY = 1 << 18  # bytes of memory

_CALLS = {
    Packet.PREPARE_CALL: (
        (remote.DOMAIN_MIGRATE_PREPARE3_PARAMS, remote.DOMAIN_MIGRATE_PREPARE_TUNNEL3_PARAMS),
        PacketType.CALL,
    ),
    Packet.PREPARE_REPLY: (
        (remote.DOMAIN_MIGRATE_PREPARE3_PARAMS, remote.DOMAIN_MIGRATE_PREPARE_TUNNEL3_PARAMS),
        PacketType.REPLY,
    ),
    Packet.FINISH_CALL: ((remote.DOMAIN_MIGRATE_FINISH3_PARAMS,), PacketType.CALL),
    Packet.FINISH_REPLY: ((remote.DOMAIN_MIGRATE_FINISH3_PARAMS,), PacketType.REPLY),
    Packet.CONFIRM_CALL: ((remote.DOMAIN_MIGRATE_CONFIRM3_PARAMS,), PacketType.CALL),
}


def patterns(packet: Packet) -> tuple[bytes, ...]:
    """How a packet's header begins, behind its length, for every procedure it may be."""
    procedures, kind = _CALLS[packet]
    return tuple(
        struct.pack(">IIII", remote.PROGRAM.number, remote.PROGRAM.version, procedure.number, kind)
        for procedure in procedures
    )


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

    @property
    def uri(self) -> str:
        """By the UNIX socket: nothing that is broken between hosts breaks it."""
        return self.daemon.uri

    @property
    def road_uri(self) -> str:
        """As others reach it."""
        assert self.road is not None
        return f"qemu+tcp://{ROAD}:{self.road.port}/system"

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


@dataclass
class Stage:
    """The pair and the guest, which runs at the source when the block begins."""

    cell: Cell
    folder: Path
    source: Host
    destination: Host
    guest: domain_xml.Guest
    migrations: int = 0
    before: dict[Side, dict[str, int]] = field(default_factory=dict)
    """What each daemon had open before there was a guest; only of those that have not been started anew."""

    @property
    def hosts(self) -> tuple[Host, Host]:
        """Both."""
        return self.source, self.destination

    def host(self, side: Side) -> Host:
        """The one of ``side``."""
        return self.source if side is Side.SOURCE else self.destination

    def other(self, host: Host) -> Host:
        """The one that is not ``host``."""
        return self.destination if host is self.source else self.source

    # -- migrating ---------------------------------------------------------------------------------------------------

    def begin(self, source: Host, *options: str, way: Way | None = None) -> Running:
        """Ask for a migration from ``source`` to the other host; it is under way, or will fail."""
        way = way or self.cell.way
        destination = self.other(source)
        self.migrations += 1
        xml = self.folder / f"to-{destination.side.value}.xml"
        shown = source.virsh("dumpxml", "--migratable", NAME).expect()
        xml.write_text(shown.replace(str(source.voice), str(destination.voice)), encoding="utf-8")
        words = ["migrate", *way.options, *options, "--xml", str(xml), NAME, destination.road_uri]
        if self.cell.who is Who.LIBVIRT and not way.tunnelled:
            assert destination.data_road is not None
            words += [f"tcp://{ROAD}:{destination.data_road.port}", "--listen-address", "127.0.0.1"]
        interval = KEEPALIVE * (DEADLINE_SECONDS if self.cell.fault.key == "deadline" else 1)
        return Running(source.road_uri if way.client else source.uri, "-k", str(interval), "-K", "3", *words)

    def speed(self, mib_per_second: int) -> None:
        """How fast the guest may leave its source; 0: as fast as it goes."""
        postcopy = [["--postcopy"]] if self.cell.way.postcopy else []
        for which in ([], *postcopy):
            with contextlib.suppress(AssertionError):
                speed = str(mib_per_second or FAST)
                self.source.virsh("migrate-setspeed", NAME, speed, *which, timeout=10)

    def sent(self) -> int:
        """Bytes of memory that have left the source so far."""
        told = self.source.virsh("domjobinfo", "--rawstats", NAME)
        found = re.search(r"^memory_processed\s*:\s*(\d+)", told.out, re.MULTILINE)
        return int(found.group(1)) if found else 0

    # -- being held --------------------------------------------------------------------------------------------------

    def arm(self) -> None:
        """The migration that begins next will stop at the cell's boundary."""
        place = self.cell.boundary.place
        match place:
            case Hook():
                (self.host(place.side).points / f"{place.side.value}.{place.point}").touch()
            case Packet():
                self.packet_road(place).hold_on(*patterns(place))
            case Flow.MEMORY:
                self.speed(1)
        if self._switches:
            self.speed(1)

    @property
    def _switches(self) -> bool:
        return self.cell.way.postcopy and self.cell.boundary.switched

    def packet_road(self, packet: Packet) -> Proxy:
        """By which road such a packet goes."""
        host = self.source if packet is Packet.CONFIRM_CALL else self.destination
        assert host.road is not None
        return host.road

    def wait_reached(self, under_way: Running) -> None:
        """Raises ``AssertionError`` when the migration ends, or does not get there."""
        place = self.cell.boundary.place

        def there() -> bool:
            reached = self._reached()
            assert reached or under_way.process.poll() is None, f"it ended before {place}: {under_way.finish()}"
            return reached

        if self._switches:
            wait_for(lambda: self.sent() > HALF_WAY, "memory flows", 40)
            self.source.virsh("migrate-postcopy", NAME).expect()
        wait_for(there, f"{place} is reached", 40)

    def _reached(self) -> bool:
        place = self.cell.boundary.place
        match place:
            case Hook():
                name = f"{place.side.value}.{place.point}{fault_points.REACHED}"
                return (self.host(place.side).points / name).exists()
            case Packet():
                return self.packet_road(place).held.is_set()
            case Flow.MEMORY:
                return self.sent() > HALF_WAY
            case Flow.POSTCOPY:
                return voices.read(self.destination.voice).count > 0

    def go_on(self) -> None:
        """Let what is held go on."""
        for host in self.hosts:
            for file in host.points.iterdir():
                file.unlink(missing_ok=True)
            for road in host.roads:
                road.let_go()
        if isinstance(self.cell.boundary.place, Flow) or self._switches:
            self.speed(0)


@contextmanager
def stage(cell: Cell) -> Iterator[Stage]:
    """Everything for one cell; nothing of it is left afterwards."""
    with contextlib.ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="faults-", dir="/tmp"))
        stack.callback(remove_folder, folder)
        make = _culvert if cell.who is Who.CULVERT else _libvirt
        hosts = [stack.enter_context(make(side, folder, cell.fault)) for side in Side]
        for host in hosts:
            host.road = stack.enter_context(Proxy(host.daemon.port, address=ROAD, port=host.daemon.port))
            if cell.who is Who.LIBVIRT:
                host.data_road = stack.enter_context(_own_port())
        made = Stage(cell, folder, hosts[0], hosts[1], _guest(cell, folder, hosts[0].voice))
        # Both have been talked to by every kind of connection, so that what stays open for good is.
        for host in hosts:
            virsh("list", uri=host.road_uri).expect()
            made.before[host.side] = host.descriptors()
        made.source.virsh("define", str(made.guest.write_xml())).expect()
        made.source.virsh("start", NAME).expect()
        yield made


def _guest(cell: Cell, folder: Path, voice: Path) -> domain_xml.Guest:
    guest = domain_xml.tiny_guest(folder, NAME, PARAMETERS[cell.who], command_port=False)
    domain = replace(guest.domain, serials=(domain_xml.Serial("file", voice),))
    if cell.who is Who.LIBVIRT:
        domain = replace(domain, memory_kib=PARAMETERS[cell.who].memory_mib * 1024)
    return replace(guest, domain=domain, serial=voice)


@contextmanager
def _own_port() -> Iterator[Proxy]:
    """A road whose other end has the same port number, of another address."""
    with Proxy(0, address=ROAD) as road:
        road.target = road.port
        yield road


@contextmanager
def _culvert(side: Side, folder: Path, fault: Fault) -> Iterator[Host]:
    root, points = folder / side.value[0], folder / f"{side.value}.points"
    root.mkdir()
    points.mkdir()
    settings = {section: dict(keys) for section, keys in _CULVERT.items()}
    if fault.key == "deadline":
        # It is to pass while a packet is held, which no ping overtakes.
        settings["keepalive"]["interval"] = KEEPALIVE * DEADLINE_SECONDS
        if side is Side.SOURCE:
            settings["migration"]["deadline_seconds"] = DEADLINE_SECONDS
    daemon = DaemonProcess(
        root, name=side.value, config=_toml(settings), environment={fault_points.VARIABLE: str(points)}
    )
    with contextlib.ExitStack() as stack:
        host = Host(side, daemon, folder / f"{side.value}.serial", points)
        if fault.key == f"{side.value}-disk":
            host.disk = stack.enter_context(_small_disk(root / "lib"))
        stack.enter_context(daemon)
        yield host


@contextmanager
def _libvirt(side: Side, folder: Path, fault: Fault) -> Iterator[Host]:
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
