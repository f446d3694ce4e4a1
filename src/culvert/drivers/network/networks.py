"""All virtual networks of this host: defined, started, ended, changed, found again after a restart of the daemon.

Used as ``async with Networks(layout) as networks``: inside, networks that an earlier daemon has left active are
active again, and what it has left half done is taken back; on leaving, all of them stay as they are.

One change is made at a time: each of them is short, and has an end (``tool.TIMEOUT``).
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
import uuid as uuids
from collections.abc import Coroutine
from dataclasses import replace
from types import TracebackType
from typing import Any, Self, TypeVar
from uuid import UUID

from culvert.channels.work import Background
from culvert.domain.network import check, text, update
from culvert.domain.network.definition import Bridge, NetworkDef
from culvert.domain.network.update import Request
from culvert.drivers.network import bridge, device, dnsmasq, firewall, leases, running, server
from culvert.drivers.network.events import NetworkEvent, NetworkEvents, NetworkLifecycle
from culvert.drivers.network.leases import Lease
from culvert.drivers.network.network import Network
from culvert.drivers.network.port import Port, Wish, missing
from culvert.drivers.network.store import NetworkStatus, NetworkStore, Stage
from culvert.drivers.qemu.process import Process
from culvert.drivers.qemu.state.layout import Layout, check_name
from culvert.ground import errors
from culvert.io import apart, blocking

log = logging.getLogger(__name__)

T = TypeVar("T")

TEMPLATE = "virbr%d"
MOST_BRIDGES = 256  # numbers that are tried (MAX_BRIDGE_ID)
REVIVALS = (0.5, 1.0, 5.0, 30.0)  # seconds before a dnsmasq that has ended is started again; the last one counts on
LIVE, CONFIG = 1, 2  # VIR_NETWORK_UPDATE_AFFECT_*


class Networks:
    """All networks, by name. ``events`` tells what happens to them."""

    def __init__(self, layout: Layout) -> None:
        self.events = NetworkEvents()
        self._store = NetworkStore(layout)
        self._networks: dict[str, Network] = {}
        self._changing = asyncio.Lock()
        self._background = Background()
        self._watching: set[asyncio.Task[Any]] = set()

    async def __aenter__(self) -> Self:
        await self._background.__aenter__()
        try:
            await self._load()
        except BaseException as err:
            await self._leave(type(err), err, err.__traceback__)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._leave(kind, error, trace)

    async def _leave(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in tuple(self._watching):
            task.cancel()
        await self._background.__aexit__(kind, error, trace)
        for network in self._networks.values():
            if network.server is not None:
                network.server.forget()

    # what there is

    def all(self) -> list[Network]:
        """By name."""
        return sorted(self._networks.values(), key=lambda network: network.name)

    def by_uuid(self, uuid: UUID) -> Network:
        """Raises ``errors.NoNetwork``."""
        for network in self._networks.values():
            if network.uuid == uuid:
                return network
        raise errors.NoNetwork(f"no network with matching uuid '{uuid}'")

    def by_name(self, name: str) -> Network:
        """Raises ``errors.NoNetwork``."""
        if name not in self._networks:
            raise missing(name)
        return self._networks[name]

    # changes

    async def define(self, xml: str) -> Network:
        """Keep a network, or give one another definition: by that it starts from now on; event DEFINED.

        Raises ``errors.XMLError``, ``errors.ConfigUnsupported``, ``errors.OperationFailed`` for a name or a UUID of
        another one, ``errors.InternalError`` for a bridge of another one.
        """
        wanted = await apart.run(_read, xml)
        return await self._whole(f"define-network-{wanted.name}", self._define(wanted))

    async def _define(self, wanted: NetworkDef) -> Network:
        async with self._changing:
            network = self._claim(wanted) or Network(wanted.name, _uuid(wanted))
            kept = await self._completed(wanted)
            await blocking.to_its_end(lambda: self._store.save(kept))
            network.kept = kept
            self._networks[network.name] = network
        self._tell(network, NetworkEvent.DEFINED)
        return network

    async def create(self, xml: str) -> Network:
        """Start a network by a definition that is not kept: one that is defined has its own again afterwards.

        Raises as ``define`` and ``start``; a network that was not there before is not there then.
        """
        wanted = await apart.run(_read, xml)
        return await self._whole(f"create-network-{wanted.name}", self._create(wanted))

    async def _create(self, wanted: NetworkDef) -> Network:
        async with self._changing:
            network = self._claim(wanted) or Network(wanted.name, _uuid(wanted))
            if network.active:
                raise errors.OperationInvalid(f"network is already active as '{network.name}'")
            await self._start(network, await self._completed(wanted))
        return network

    async def start(self, network: Network) -> None:
        """Event STARTED. Raises ``errors.OperationInvalid`` when it is active, and what goes wrong in the making."""
        await self._whole(f"start-network-{network.name}", self._start_kept(network))

    async def _start_kept(self, network: Network) -> None:
        async with self._changing:
            self._check_listed(network)
            if network.active:
                raise errors.OperationInvalid("network is already active")
            assert network.kept is not None
            await self._start(network, network.kept)

    async def _start(self, network: Network, definition: NetworkDef) -> None:
        """The caller holds ``_changing``."""
        definition = firewall.settled(definition)
        network.live = definition
        self._networks[network.name] = network
        try:
            await blocking.to_its_end(lambda: self._store.save_status(NetworkStatus(definition, Stage.STARTING)))
            network.server = await running.bring_up(definition, self._store)
            try:
                await blocking.to_its_end(lambda: self._store.save_status(NetworkStatus(definition, Stage.ACTIVE)))
            except BaseException:
                await running.take_down(definition, self._store, network.server)
                network.server = None
                raise
        except BaseException:
            await self._ended(network, definition)
            raise
        network.active = True
        self._watch(network)
        self._tell(network, NetworkEvent.STARTED)

    async def stop(self, network: Network) -> None:
        """Event STOPPED. Guests keep their cards, which are plugged in nowhere.

        Raises ``errors.OperationInvalid`` when it is not active.
        """
        await self._whole(f"stop-network-{network.name}", self._stop(network))

    async def _stop(self, network: Network) -> None:
        async with self._changing:
            self._check_listed(network)
            live = network.require_active()
            await blocking.to_its_end(lambda: self._store.save_status(NetworkStatus(live, Stage.ENDING)))
            network.active = False
            process, network.server = network.server, None
            await running.take_down(live, self._store, process)
            await self._ended(network, live)
        self._tell(network, NetworkEvent.STOPPED)

    async def _ended(self, network: Network, live: NetworkDef) -> None:
        """It is not active, and there is nothing of it: what says so."""
        network.live, network.active = None, False
        network.ports.clear()
        await blocking.to_its_end(lambda: self._store.remove_status(network.name))
        if not network.persistent:
            await self._forget(network, live)

    async def _forget(self, network: Network, last: NetworkDef) -> None:
        """It leaves the list, and what its dnsmasq knew of its guests goes with it."""
        if self._networks.get(network.name) is network:
            del self._networks[network.name]
        if last.is_virtual and last.bridge_name is not None:
            where = self._store.files(last.bridge_name)
            await blocking.to_its_end(lambda: server.forget(where, leases=True))

    async def undefine(self, network: Network) -> None:
        """Forget the definition: an active network becomes transient, another one is gone; event UNDEFINED.

        Raises ``errors.OperationInvalid`` for a transient one.
        """
        await self._whole(f"undefine-network-{network.name}", self._undefine(network))

    async def _undefine(self, network: Network) -> None:
        async with self._changing:
            self._check_listed(network)
            kept = network.kept
            if kept is None:
                raise errors.OperationInvalid("can't undefine transient network")
            await blocking.to_its_end(lambda: self._store.remove(network.name))
            network.kept, network.autostart = None, False
            if not network.active:
                await self._forget(network, kept)
        self._tell(network, NetworkEvent.UNDEFINED)

    async def set_autostart(self, network: Network, wanted: bool) -> None:
        """Raises ``errors.OperationInvalid`` for a transient network."""
        async with self._changing:
            self._check_listed(network)
            if not network.persistent:
                raise errors.OperationInvalid("cannot set autostart for transient network")

            def mark() -> None:
                self._store.set_autostart(network.name, wanted)
                network.autostart = wanted

            await blocking.to_its_end(mark)

    async def update(self, network: Network, request: Request, flags: int) -> None:
        """Change one part of a network, at once, from its next start on, or both (``flags``).

        Raises as ``domain.network.update.changed``, ``errors.OperationInvalid`` for a state in which it cannot be.
        """
        await self._whole(f"update-network-{network.name}", self._update(network, request, flags))

    async def _update(self, network: Network, request: Request, flags: int) -> None:
        async with self._changing:
            self._check_listed(network)
            flags = flags or (LIVE if network.active else CONFIG)
            if flags & LIVE and not network.active:
                raise errors.OperationInvalid("network is not running")
            if flags & CONFIG and network.kept is None:
                raise errors.OperationInvalid("cannot change persistent config of a transient network")
            live, kept = network.live, network.kept
            new_live = await apart.run(update.changed, live, request) if flags & LIVE and live else None
            new_kept = await apart.run(update.changed, kept, request) if flags & CONFIG and kept else None
            if new_kept is not None:
                await blocking.to_its_end(lambda: self._store.save(new_kept))
                network.kept = new_kept
            if new_live is not None and live is not None:
                network.live = new_live
                await blocking.to_its_end(lambda: self._store.save_status(NetworkStatus(new_live, Stage.ACTIVE)))
                await self._apply(network, live, new_live, request.section)

    async def _apply(self, network: Network, old: NetworkDef, new: NetworkDef, section: int) -> None:
        """What of an active network is different by ``new``."""
        if not new.is_virtual or new.bridge_name is None:
            return
        if new.mode != "open" and firewall.rules(old) != firewall.rules(new):
            await firewall.put_up(new)
        where = self._store.files(new.bridge_name)
        restarts = section in update.RESTARTS or dnsmasq.gives(old) != dnsmasq.gives(new)
        if restarts or (network.server is None and dnsmasq.is_needed(new)):
            await self._restart_server(network, new)
        else:
            await server.refresh(new, where, network.server)

    async def _restart_server(self, network: Network, definition: NetworkDef) -> None:
        process, network.server = network.server, None
        await server.stop(process)
        network.server = await server.start(definition, self._store.files(network.bridge))
        self._watch(network)

    # cards

    async def plug(self, wish: Wish) -> Port:
        """A port for a card. Raises ``errors.NoNetwork``, ``errors.OperationInvalid`` for one that is not active,
        ``errors.InternalError`` where no device of the host is left for it."""
        network = self.by_name(wish.network)
        port = _allocate(network, network.require_active(), wish)
        network.ports[port.uuid] = port
        log.info(
            "network=%s mac=%s domain=%s is plugged in connections=%d",
            *(network.name, wish.mac, wish.owner, len(network.ports)),
        )
        return port

    def unplug(self, network: str, uuid: UUID) -> None:
        """The card has gone; nothing happens when there is no such port."""
        found = self._networks.get(network)
        if found is not None and found.ports.pop(uuid, None) is not None:
            log.info("network=%s port=%s is unplugged connections=%d", network, uuid, len(found.ports))

    def is_plugged(self, network: str, uuid: UUID) -> bool:
        """Whether there is such a port: a network that has been ended has none."""
        return network in self._networks and uuid in self._networks[network].ports

    def check(self, network: str) -> None:
        """Raise as ``plug`` would for a network that is not there, or not active."""
        self.by_name(network).require_active()

    def port(self, network: Network, uuid: UUID) -> Port:
        """Raises ``errors.NoNetworkPort``."""
        if uuid not in network.ports:
            raise errors.NoNetworkPort(f"no network port with matching uuid '{uuid}'")
        return network.ports[uuid]

    async def leases(self, network: str, mac: str | None = None) -> list[Lease]:
        """Who has been given an address by the network of that name; ``mac``: that card alone.

        Raises ``errors.NoNetwork``, ``errors.SystemCallError``.
        """
        definition = self.by_name(network).definition
        name = definition.bridge_name
        if name is None or not definition.is_virtual:
            return []
        told = await blocking.to_its_end(lambda: leases.read(self._store.files(name).leases))
        found = leases.parse(told, definition, time.time())
        return [one for one in found if mac is None or one.mac == mac.lower()]

    # what was there before

    async def _load(self) -> None:
        store = self._store
        await blocking.to_its_end(store.sweep)
        for definition, autostart in await blocking.to_its_end(lambda: list(store.definitions())):
            network = Network(definition.name, _uuid(definition), kept=definition, autostart=autostart)
            if any(other.uuid == network.uuid for other in self._networks.values()):
                log.error("network=%s has the uuid of another one, and is left out", network.name)
                continue
            self._networks[network.name] = network
        for status in await blocking.to_its_end(lambda: list(store.statuses())):
            await self._adopt(status)
        if await blocking.to_its_end(store.first_since_boot):
            for network in self.all():
                if network.autostart and not network.active:
                    await self._autostart(network)

    async def _autostart(self, network: Network) -> None:
        try:
            await self.start(network)
        except errors.RequestError as err:
            log.error("network=%s cannot be started with the host reason=%r", network.name, err.message)

    async def _adopt(self, status: NetworkStatus) -> None:
        """Go on with a network that an earlier daemon has started; take back what is not a whole one."""
        definition = status.definition
        known = self._networks.get(definition.name)
        network = known or Network(definition.name, _uuid(definition))
        name = definition.bridge_name
        there = name is None or await blocking.to_its_end(
            lambda: bridge.is_ours(definition) if definition.is_virtual else device.exists(name)
        )
        network.live = definition
        if status.stage is not Stage.ACTIVE or not there or network.uuid != _uuid(definition):
            log.warning("network=%s was %s when the last daemon ended: ended", network.name, status.stage)
            await running.take_down(definition, self._store, None)
            await self._ended(network, definition)
            return
        self._networks[network.name] = network
        network.active = True
        if definition.is_virtual and name is not None:
            await self._adopt_server(network, definition)
        log.info("network=%s is active still", network.name)

    async def _adopt_server(self, network: Network, definition: NetworkDef) -> None:
        where = self._store.files(network.bridge)
        network.server = await server.find(definition, where)
        try:
            if definition.mode != "open":
                await firewall.put_up(definition)  # somebody may have swept all rules away meanwhile
            if network.server is None:
                network.server = await server.start(definition, where)
        except errors.RequestError as err:
            log.error("network=%s is not whole any more reason=%r", network.name, err.message)
        self._watch(network)

    # a server that ends

    def _watch(self, network: Network) -> None:
        """Have its dnsmasq started again when it ends by itself: its guests run on meanwhile."""
        if network.server is not None:
            task = self._background.spawn(f"watch-network-{network.name}", self._guard(network, network.server))
            self._watching.add(task)
            task.add_done_callback(self._watching.discard)

    async def _guard(self, network: Network, process: Process) -> None:
        await process.exited.wait()
        pauses = iter(REVIVALS)
        pause = 0.0
        while network.server is process and network.active:
            log.error("network=%s pid=%d its dnsmasq has ended, and is started again", network.name, process.pid)
            pause = next(pauses, pause or REVIVALS[-1])
            await asyncio.sleep(pause)
            try:
                await self._whole(f"revive-network-{network.name}", self._revive(network, process))
            except errors.RequestError as err:
                log.error("network=%s its dnsmasq does not start reason=%r", network.name, err.message)

    async def _revive(self, network: Network, process: Process) -> None:
        async with self._changing:
            if network.server is process and network.active and network.live is not None:
                network.server = await server.start(network.live, self._store.files(network.bridge))
                self._watch(network)

    # helpers

    async def _whole(self, name: str, work: Coroutine[Any, Any, T]) -> T:
        return await self._background.run(name, work)

    def _tell(self, network: Network, event: NetworkEvent) -> None:
        self.events.emit(NetworkLifecycle(network.name, network.uuid, event))

    def _check_listed(self, network: Network) -> None:
        """It may have gone while the caller waited. Raises ``errors.NoNetwork``."""
        if self._networks.get(network.name) is not network:
            raise errors.NoNetwork(f"no network with matching uuid '{network.uuid}' ({network.name})")

    def _claim(self, wanted: NetworkDef) -> Network | None:
        """The network that has this name and UUID already; ``None``: both are free."""
        for other in self._networks.values():
            if other.uuid == _uuid(wanted) and other.name != wanted.name:
                raise errors.OperationFailed(
                    f"operation failed: network '{other.name}' is already defined with uuid {other.uuid}"
                )
            if other.name == wanted.name and other.uuid != _uuid(wanted):
                raise errors.OperationFailed(
                    f"operation failed: network '{other.name}' already exists with uuid {other.uuid}"
                )
        return self._networks.get(wanted.name)

    async def _completed(self, wanted: NetworkDef) -> NetworkDef:
        """With a bridge that nobody else has, and an address for it."""
        if not wanted.is_virtual:
            return wanted
        taken = {
            one.bridge_name
            for other in self._networks.values()
            if other.name != wanted.name
            for one in (other.kept, other.live)
            if one is not None
        }
        name = wanted.bridge_name
        if name is not None and "%d" not in name:
            if name in taken:
                raise errors.InternalError(f"bridge name '{name}' already in use.")
        else:
            name = await blocking.to_its_end(lambda: _free(name or TEMPLATE, taken))
        return replace(
            wanted,
            bridge=replace(wanted.bridge or Bridge(), name=name),
            mac=wanted.mac or "52:54:00:" + os.urandom(3).hex(":"),
        )


def _read(xml: str) -> NetworkDef:
    wanted = text.parse(xml)
    check_name(wanted.name)
    check.check(wanted)
    return replace(wanted, uuid=wanted.uuid or str(uuids.uuid4()))


def _uuid(definition: NetworkDef) -> UUID:
    return UUID(definition.uuid)


def _free(template: str, taken: set[str | None]) -> str:
    """A name that no network and no device of the host has. Raises ``errors.InternalError``."""
    for number in range(MOST_BRIDGES + 1):
        name = template.replace("%d", str(number))
        if name not in taken and not device.exists(name):
            return name
    raise errors.InternalError(f"Bridge generation exceeded max id {MOST_BRIDGES}")


def _allocate(network: Network, definition: NetworkDef, wish: Wish) -> Port:
    """Where the card goes. Source: network/bridge_driver.c of libvirt 9.0, networkAllocatePort."""
    group = definition.portgroup(wish.portgroup)
    port = Port(
        uuid=wish.uuid or uuids.uuid4(),
        wish=wish,
        kind="network" if definition.is_virtual else "bridge",
        bridge=definition.bridge_name,
        bandwidth=wish.bandwidth or (group.bandwidth if group is not None else None),
        isolated=wish.isolated if wish.isolated is not None else definition.isolated,
    )
    if not definition.is_direct:
        return port
    devices = definition.devices
    if not devices:
        raise errors.InternalError(
            f"network '{network.name}' uses a direct mode, but has no forward dev and no interface pool"
        )
    used = [one.device for one in network.ports.values()]
    chosen = min(devices, key=used.count)
    if definition.mode == "passthrough" and chosen in used:
        raise errors.InternalError(
            f"network '{network.name}' requires exclusive access to interfaces, but none are available"
        )
    return replace(port, kind="direct", device=chosen, mode=definition.mode)
