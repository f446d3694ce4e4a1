"""The daemon composed: driver, migration, handlers, listeners; started in order and ended in the reverse order."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from culvert.channels.work import Background
from culvert.daemon import lib_version
from culvert.daemon.config import Config
from culvert.daemon.handlers.change import ChangeHandlers
from culvert.daemon.handlers.connect import ConnectHandlers
from culvert.daemon.handlers.culvert import CulvertHandlers
from culvert.daemon.handlers.device import DeviceHandlers
from culvert.daemon.handlers.dump import DumpHandlers
from culvert.daemon.handlers.events import EventHandlers, MonitorEventHandlers
from culvert.daemon.handlers.guest import GuestHandlers
from culvert.daemon.handlers.guest_info import GuestInfoHandlers
from culvert.daemon.handlers.job import JobHandlers
from culvert.daemon.handlers.lifecycle import LifecycleHandlers
from culvert.daemon.handlers.listing import ListingHandlers
from culvert.daemon.handlers.migrate import MigrateHandlers
from culvert.daemon.handlers.monitor import MonitorHandlers
from culvert.daemon.handlers.network import NetworkHandlers
from culvert.daemon.handlers.network_ports import NetworkPortHandlers
from culvert.daemon.handlers.node import NodeHandlers
from culvert.daemon.handlers.objects import ObjectHandlers
from culvert.daemon.handlers.query import QueryHandlers
from culvert.daemon.handlers.save import SaveHandlers
from culvert.daemon.handlers.secret import SecretHandlers
from culvert.daemon.handlers.snapshot import SnapshotHandlers
from culvert.daemon.handlers.stats import StatsHandlers
from culvert.daemon.handlers.storage import StorageHandlers
from culvert.daemon.handlers.streams import StreamHandlers
from culvert.daemon.handlers.tune import TuneHandlers
from culvert.daemon.handlers.volume import VolumeHandlers
from culvert.daemon.listen import Address
from culvert.daemon.places import Places
from culvert.daemon.rights import policy as policies
from culvert.daemon.rights.audit import Audit
from culvert.daemon.rights.door import Door
from culvert.daemon.rights.permit import Rights
from culvert.daemon.security import MigrationPeers, client_side, server_side
from culvert.daemon.service import Service
from culvert.drivers.network.networks import Networks
from culvert.drivers.qemu import autostart
from culvert.drivers.qemu.driver import Driver
from culvert.drivers.qemu.guests import QemuGuests
from culvert.drivers.secret.secrets import Secrets
from culvert.drivers.storage.pools import Pools
from culvert.ground import errors
from culvert.ground.units import MiB
from culvert.io.listener import Listener, listen_tcp, listen_unix
from culvert.io.tls_side import ServerSide
from culvert.migration.destination.destination import Destination
from culvert.migration.journal.history import Retention
from culvert.migration.journal.journal import Journal
from culvert.migration.options.settings import Settings
from culvert.migration.peers.peer import Dialler
from culvert.migration.recovery import recovery
from culvert.migration.recovery.unsettled import Unsettled
from culvert.migration.source.source import Source
from culvert.protocol import culvert, qemu, remote
from culvert.rpc.dispatch import Handlers
from culvert.rpc.limits import RpcLimits
from culvert.rpc.server import Server
from culvert.tunnel import limits as channel
from culvert.wire.packet import LENGTH

log = logging.getLogger(__name__)

REMOTE_GROUPS = (
    *(
        ConnectHandlers,
        NodeHandlers,
        ListingHandlers,
        ObjectHandlers,
        LifecycleHandlers,
        QueryHandlers,
        StatsHandlers,
        ChangeHandlers,
        SaveHandlers,
        DumpHandlers,
        DeviceHandlers,
        StorageHandlers,
        VolumeHandlers,
        SnapshotHandlers,
        NetworkHandlers,
        NetworkPortHandlers,
        SecretHandlers,
        TuneHandlers,
        GuestHandlers,
        GuestInfoHandlers,
    ),
    *(JobHandlers, MigrateHandlers, EventHandlers, StreamHandlers),
)
_HEARTBEATS = 5  # in the time after which a silent connection counts as lost
STOP_TIMEOUT = 20.0  # seconds for migrations to be cancelled when the daemon stops


def handlers(service: Service) -> list[Handlers]:
    """Everything that is served, by program."""
    served = [Handlers(remote.PROGRAM), Handlers(qemu.PROGRAM), Handlers(culvert.PROGRAM)]
    for group in REMOTE_GROUPS:
        group(service).register(served[0])
    MonitorHandlers(service).register(served[1])
    MonitorEventHandlers(service).register(served[1])
    CulvertHandlers(service).register(served[2])
    return served


@dataclass(frozen=True, slots=True)
class RunningDaemon:
    """A daemon that runs: the addresses it listens on; ``reload`` reads the certificates again.

    ``under_way``: how many guests leave or arrive at the moment.
    """

    addresses: list[str]
    reload: Callable[[], object]
    under_way: Callable[[], int]


@asynccontextmanager
async def serve(
    places: Places, config: Config, hostname: str, addresses: list[Address]
) -> AsyncIterator[RunningDaemon]:
    """The whole daemon. Guests run on when the block ends.

    Raises ``errors.RequestError`` when it cannot start: a listener is taken, a directory, a certificate or the
    emulator is unusable.
    """
    async with AsyncExitStack() as stack:
        host_uuid = await asyncio.to_thread(places.host_uuid)
        listeners: list[Listener] = [await listen_unix(places.socket, mode=config.daemon.unix_socket_mode)]
        stack.callback(_close, listeners)
        if config.daemon.unix_socket_ro_mode:
            mode = config.daemon.unix_socket_ro_mode
            listeners.append(await listen_unix(places.socket_ro, mode=mode, read_only=True))
        with_tls = any(each.transport == "tls" for each in addresses)
        security = await asyncio.to_thread(server_side, config.tls) if with_tls else None
        for each in addresses:
            listeners += await listen_tcp(each.host, each.port, security if each.transport == "tls" else None)
        networks = await stack.enter_async_context(Networks(places.layout))
        driver = await stack.enter_async_context(
            Driver(
                places.layout,
                host_uuid,
                emulator=config.qemu.emulator,
                spice_tls=config.qemu.spice_tls,
                emulators=config.qemu.emulators,
                allow_commandline=config.qemu.allow_commandline,
                start_timeout=config.qemu.start_seconds,
                stop_timeout=config.qemu.stop_seconds,
                networks=networks,
            )
        )
        dead = config.migration.dead_seconds
        settings = Settings(
            hostname,
            host_uuid,
            deadline_seconds=config.migration.deadline_seconds,
            stall_seconds=config.migration.stall_seconds,
            route=config.migration.route,
            compression=config.migration.compression,
            auto=config.migration.auto,
            auto_floor=config.migration.auto_floor,
            attach_seconds=config.migration.attach_seconds,
            reattach_seconds=config.migration.reattach_seconds,
            give_up_seconds=config.migration.give_up_seconds,
            host_speed=config.migration.bandwidth * MiB,
            pump=channel.ChannelLimits(window=config.migration.window * MiB, heartbeat=dead / _HEARTBEATS, dead=dead),
        )
        retention = Retention(config.migration.history_records, config.migration.history_days)
        journal = Journal(places.layout.lib / "migrations.sqlite", retention)
        stack.push_async_callback(journal.close)
        await journal.open()
        path = Path(config.daemon.policy) if config.daemon.policy else None
        policy = None if path is None else await asyncio.to_thread(policies.load, path)
        rights = Rights(policy, driver, MigrationPeers(config.tls.allowed_migration_peers))
        driver.host.may_claim = rights.admit
        background = await stack.enter_async_context(Background())
        guests = QemuGuests(driver)
        dialler = Dialler(config.migration.connect_seconds, client_side(config.tls))
        service = Service(
            config=config,
            hostname=hostname,
            host_uuid=host_uuid,
            driver=driver,
            source=Source(guests, settings, dialler, background, journal),
            destination=Destination(guests, settings, background, journal),
            background=background,
            journal=journal,
            pools=Pools(places.layout.etc / "storage"),
            networks=networks,
            secrets=Secrets(places.layout.etc / "secrets"),
            socket_path=str(places.socket),
            reachable=[(each.transport, *each.address) for each in listeners if each.address is not None],
            lib_version=await asyncio.to_thread(lib_version.installed),
            security=security,
            rights=rights,
        )
        await service.pools.load()
        await service.secrets.load()
        driver.host.volumes, driver.host.secrets = service.pools, service.secrets
        unsettled = Unsettled()

        def may_start(uuid: UUID) -> None:
            unsettled.check_free(uuid)
            service.source.check_free(uuid)

        driver.host.may_start = may_start
        driver.host.whereabouts = journal
        await recovery.recover(
            *(guests, journal, background),
            source=service.source.take_up,
            destination=service.destination.take_up,
            unsettled=unsettled,
        )
        server = Server(
            handlers(service),
            _limits(config),
            keepalive=(config.keepalive.interval, config.keepalive.count),
            gate=Door(rights, Audit()),
            divert=service.destination.bare.divert,
        )
        await stack.enter_async_context(server)
        for listener in listeners:
            server.listen(listener)
        driver.host.spawn(autostart.run(driver), name="autostart")
        # Before the connections go, so that whoever waits for a migration hears what became of it.
        stack.push_async_callback(service.source.stop, STOP_TIMEOUT)
        yield RunningDaemon(
            [f"{each.transport}:{'//' if each.address else ''}{each.name}" for each in listeners],
            lambda: background.spawn("reload", _reload(security, rights, path)),
            lambda: service.source.under_way + service.destination.under_way,
        )


async def _reload(security: ServerSide | None, rights: Rights, path: Path | None) -> None:
    if path is not None:
        try:
            rights.policy = await asyncio.to_thread(policies.load, path)
            log.info("policy reloaded path=%s rules=%d", path, len(rights.policy.rules))
        except errors.RequestError as err:
            log.error("the policy is as it was: %s", err)
    if security is not None:
        await security.reload()
    elif path is None:
        log.info("nothing to reload: there is no TLS listener, and other certificates are read when they are used")


def _close(listeners: list[Listener]) -> None:
    for listener in listeners:
        listener.close()


def _limits(config: Config) -> RpcLimits:
    return RpcLimits(
        clients=config.limits.max_clients,
        anonymous=config.limits.max_anonymous_clients,
        # As libvirt counts it, without the length word in front.
        packet=config.limits.max_packet + LENGTH.size,
        handshake=config.tls.handshake_seconds,
        calls_in_flight=config.limits.max_client_requests,
    )
