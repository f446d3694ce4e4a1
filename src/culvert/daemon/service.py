"""The daemon's parts put together, as every handler sees them."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from culvert.channels.work import Background
from culvert.daemon.config import Config
from culvert.daemon.rights.permit import Rights
from culvert.drivers.network.networks import Networks
from culvert.drivers.qemu.domain import Domain
from culvert.drivers.qemu.driver import Driver
from culvert.drivers.secret.secrets import Secrets
from culvert.drivers.storage.pools import Pools
from culvert.ground import errors
from culvert.hypervisor.contract import Guest
from culvert.io.tls_side import ServerSide
from culvert.migration.destination.destination import Destination
from culvert.migration.journal.journal import Journal
from culvert.migration.progress.statistics import JobRecord
from culvert.migration.source.source import Source
from culvert.protocol import types


@dataclass(frozen=True, slots=True)
class Service:
    """``reachable``: where the listeners of the network are, with their ports, as (transport, host, port);
    ``security``: the certificates of those that are for TLS; ``lib_version`` as ``daemon.lib_version`` has it."""

    config: Config
    hostname: str
    host_uuid: UUID
    driver: Driver
    source: Source
    destination: Destination
    background: Background
    journal: Journal
    pools: Pools
    networks: Networks
    secrets: Secrets
    socket_path: str
    reachable: list[tuple[str, str, int]]
    lib_version: int
    rights: Rights
    security: ServerSide | None = None

    def domains(self, flags: int = 0) -> list[Domain]:
        """Those that whoever asks may know of, by the filters of virConnectListAllDomains; raises as the driver."""
        return [domain for domain in self.driver.domains(flags) if self.rights.sees(domain)]

    def domain(self, dom: types.Domain) -> Domain:
        """The domain a call is about, by its UUID: name and id in ``dom`` may be stale. Raises ``NoDomain``."""
        return self.driver.lookup_by_uuid(UUID(bytes=dom.uuid))

    def completed(self, domain: Domain, *, keep: bool) -> JobRecord | None:
        """The newest record of a migration that ``domain`` left or came by; taken away unless ``keep``."""
        records = [
            (side, record)
            for side in (self.source.completed, self.destination.completed)
            if (record := side.get(domain.uuid)) is not None
        ]
        if not records:
            return None
        side, newest = max(records, key=lambda found: found[1].started)
        if not keep:
            side.drop(domain.uuid)
        return newest


def on_wire(domain: Guest) -> types.Domain:
    """``domain`` as it travels: id -1 while it does not run."""
    return types.Domain(domain.name, domain.uuid.bytes, domain.id)


def no_flags(flags: int, procedure: str, known: int = 0) -> None:
    """Refuse flags that the procedure does not have. Raises ``InvalidArgument`` in libvirt's words."""
    if unknown := flags & ~known:
        raise errors.InvalidArgument(f"unsupported flags (0x{unknown:x}) in function {procedure}")
