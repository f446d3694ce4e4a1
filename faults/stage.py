"""Two hosts with everything between them that can be broken, and one guest that moves until it is held somewhere."""

from __future__ import annotations

import contextlib
import re
import struct
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from culvert.protocol import remote, remote_migrate
from culvert.wire.packet import PacketType
from faults import hosts, voices
from faults.hosts import DEADLINE_SECONDS, KEEPALIVE, NAME, ROAD, Host
from faults.plan import Cell, Flow, Hook, Packet, Side, Way, Who
from guests import domain_xml, tiny
from tests.support.daemon import remove_folder
from tests.support.pki import Pki
from tests.support.proxy import Proxy
from tests.support.virsh import Running, virsh
from tests.support.wait import wait_for

PARAMETERS = {
    Who.CULVERT: tiny.TinyParameters(mib=4, dirty_mib=2, dirty_mib_s=5, pass_s=0.2),
    # QEMU 7.2 loses what a guest writes while it migrates where RAM is whole MiB, and libvirt has no other.
    Who.LIBVIRT: tiny.TinyParameters(mib=4, dirty_mib=0, pass_s=0.2),
}
FAST = 1000  # MiB/s; 0 means one thing here and another there
HALF_WAY = 1 << 18  # bytes of memory

_CALLS = {
    Packet.PREPARE_CALL: (
        (remote_migrate.DOMAIN_MIGRATE_PREPARE3_PARAMS, remote_migrate.DOMAIN_MIGRATE_PREPARE_TUNNEL3_PARAMS),
        PacketType.CALL,
    ),
    Packet.PREPARE_REPLY: (
        (remote_migrate.DOMAIN_MIGRATE_PREPARE3_PARAMS, remote_migrate.DOMAIN_MIGRATE_PREPARE_TUNNEL3_PARAMS),
        PacketType.REPLY,
    ),
    Packet.FINISH_CALL: ((remote_migrate.DOMAIN_MIGRATE_FINISH3_PARAMS,), PacketType.CALL),
    Packet.FINISH_REPLY: ((remote_migrate.DOMAIN_MIGRATE_FINISH3_PARAMS,), PacketType.REPLY),
    Packet.CONFIRM_CALL: ((remote_migrate.DOMAIN_MIGRATE_CONFIRM3_PARAMS,), PacketType.CALL),
}


def patterns(packet: Packet) -> tuple[bytes, ...]:
    """How a packet's header begins, behind its length, for every procedure it may be."""
    procedures, kind = _CALLS[packet]
    return tuple(
        struct.pack(">IIII", remote.PROGRAM.number, remote.PROGRAM.version, procedure.number, kind)
        for procedure in procedures
    )


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
            # Not waited for: the call may be what is held.
            threading.Thread(target=self._switch, name="migrate-postcopy", daemon=True).start()
        wait_for(there, f"{place} is reached", 40)

    def _switch(self) -> None:
        with contextlib.suppress(AssertionError):
            self.source.virsh("migrate-postcopy", NAME, timeout=60)

    def _reached(self) -> bool:
        place = self.cell.boundary.place
        match place:
            case Hook():
                name = f"{place.side.value}.{place.point}.reached"
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
        make = hosts.culvert if cell.who is Who.CULVERT else hosts.libvirt
        pki = Pki(folder / "pki") if cell.way.tls else None
        pair = [stack.enter_context(make(side, folder, cell.fault, pki)) for side in Side]
        for host in pair:
            port = host.daemon.tls_port if pki else host.daemon.port
            host.road = stack.enter_context(Proxy(port, address=ROAD, port=port))
            if cell.who is Who.LIBVIRT:
                host.data_road = stack.enter_context(_own_port())
        made = Stage(cell, folder, pair[0], pair[1], _guest(cell, folder, pair[0].voice))
        # Both have been talked to by every kind of connection, so that what stays open for good is.
        for host in pair:
            virsh(
                "list", uri=f"{host.road_uri}?pkipath={host.holder.folder}" if host.holder else host.road_uri
            ).expect()
            made.before[host.side] = host.descriptors()
        made.source.virsh("define", str(made.guest.write_xml())).expect()
        made.source.virsh("start", NAME).expect()
        if cell.fault.power:
            made.source.virsh("autostart", NAME).expect()
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
