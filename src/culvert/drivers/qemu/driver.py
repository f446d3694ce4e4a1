"""The QEMU driver of one daemon: the list of its domains, and the life of everything around them.

Used as ``async with Driver(layout, host_uuid) as driver``: inside, guests that an earlier daemon left running have
been found again; on leaving, all guests run on.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import os
import uuid as uuids
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import TracebackType
from uuid import UUID

from culvert.domain import defaults, firmware, validate
from culvert.domain import parse as xml_parse
from culvert.domain.definition import DomainDef
from culvert.domain.host import HostFacts
from culvert.drivers.network.port import NetworkPorts, NoNetworks
from culvert.drivers.qemu import adoption, launch, listing, log_keeper, strays, swtpm, tpm_state
from culvert.drivers.qemu.abilities import capabilities, machines, nodeinfo, nodestats
from culvert.drivers.qemu.abilities.ability import Ability
from culvert.drivers.qemu.abilities.emulators import DISTRIBUTION, Emulators
from culvert.drivers.qemu.command import fit
from culvert.drivers.qemu.domain import Domain
from culvert.drivers.qemu.events import Events
from culvert.drivers.qemu.host import QemuHost, Retiring
from culvert.drivers.qemu.monitor import CONNECT_TIMEOUT
from culvert.drivers.qemu.nvram import kept_for as variables_of
from culvert.drivers.qemu.nvram import renamed as rename_variables
from culvert.drivers.qemu.process import TERM_TIMEOUT
from culvert.drivers.qemu.state.layout import Layout, check_name
from culvert.drivers.qemu.state.recorder import Recorder
from culvert.drivers.qemu.state.status import Status
from culvert.drivers.qemu.state.store import Store
from culvert.ground import errors
from culvert.io import apart, files
from culvert.protocol.constants_state import DefinedDetail, DomainEvent, UndefinedDetail

log = logging.getLogger(__name__)

EMULATOR = "/usr/bin/qemu-system-x86_64"


@dataclass(frozen=True, slots=True)
class UndefineOptions:
    """What goes with a definition: the image of a managed save, what is kept of its snapshots, its firmware's
    variables and its TPM's state, of which ``None`` says nothing."""

    managed_save: bool = False
    snapshots: bool = False
    nvram: bool | None = None
    tpm: bool | None = None


class Driver:
    """All domains of this host. ``events`` tells what happens to them."""

    def __init__(
        self,
        layout: Layout,
        host_uuid: UUID,
        *,
        emulator: str = EMULATOR,
        emulators: Sequence[str] = DISTRIBUTION,
        start_timeout: float = CONNECT_TIMEOUT,
        stop_timeout: float = TERM_TIMEOUT,
        networks: NetworkPorts | None = None,
        spice_tls: str = "",
        allow_commandline: bool = False,
    ) -> None:
        """``emulators``: see ``Emulators``; ``spice_tls``: the folder with the certificates of SPICE servers.
        ``start_timeout``, ``stop_timeout``, ``networks``: see ``QemuHost``."""
        self.layout = layout
        self.host_uuid = host_uuid
        self.events = Events()
        self._emulator, self._emulators = emulator, emulators
        self._timeouts = (start_timeout, stop_timeout)
        self._networks = networks or NoNetworks()
        self._spice_tls = spice_tls
        self._allow_commandline = allow_commandline
        self._by_uuid: dict[UUID, Domain] = {}
        self._changing = asyncio.Lock()
        self._host: QemuHost | None = None

    async def __aenter__(self) -> Driver:
        """Raises ``errors.SystemCallError``, ``errors.OperationFailed``: directories or emulator are unusable."""
        await asyncio.to_thread(self.layout.make)
        found = Emulators(self._emulator, self.layout.state, self._emulators)
        await asyncio.to_thread(machines.sweep, self.layout.state)
        await found.look()
        store = Store(self.layout)
        tasks = asyncio.TaskGroup()
        await tasks.__aenter__()
        try:
            self._host = QemuHost(
                self.layout, store, self.events, Recorder(store), found, tasks, self._retire, *self._timeouts
            )
            self._host.enlist = self._enlist
            self._host.networks = self._networks
            self._host.spice_tls = self._spice_tls
            self._host.allow_commandline = self._allow_commandline
            self._host.spawn(self._host.recorder.run(), name="status-recorder")
            self._host.spawn(log_keeper.keep(self.domains), name="log-keeper")
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
        """Every guest runs on, nothing of ours goes on with it."""
        host = self.host
        await host.wind_up()
        for domain in self.domains():
            if domain.close_console is not None:
                domain.close_console()
            if domain.run is not None and domain.run.monitor is not None:
                await domain.run.monitor.close()
            if domain.run is not None:
                swtpm.let_go(domain.run)
            if domain.run is not None and domain.run.process is not None:
                if domain.run.process.exited.is_set():
                    await domain.conclude(domain.run)  # it has ended when nobody was waited for any more
                    continue
                domain.run.process.forget()
        await host.recorder.flush()
        # The group has cancelled nobody and has nobody left; what ends the caller is the caller's own.
        await host.tasks.__aexit__(None, None, None)

    @property
    def host(self) -> QemuHost:
        """What the domains share; only inside ``async with``."""
        assert self._host is not None, "the driver is used in 'async with'"
        return self._host

    # what there is

    def domains(self, flags: int = 0) -> list[Domain]:
        """The domains that the filter ``constants_flag.ListFlag`` lets through, by name.

        Raises ``errors.InvalidArgument`` for flags that are no filter.
        """
        return sorted((d for d in self._by_uuid.values() if listing.matches(d, flags)), key=lambda d: d.name)

    def lookup_by_name(self, name: str) -> Domain:
        """Raises ``errors.NoDomain``."""
        for domain in self._by_uuid.values():
            if domain.name == name:
                return domain
        raise errors.NoDomain(f"Domain not found: no domain with matching name '{name}'")

    def lookup_by_uuid(self, uuid: UUID | bytes) -> Domain:
        """Raises ``errors.NoDomain``; bytes are the 16 that travel."""
        wanted = uuid if isinstance(uuid, UUID) else UUID(bytes=uuid)
        domain = self._by_uuid.get(wanted)
        if domain is None:
            raise errors.NoDomain(f"Domain not found: no domain with matching uuid '{wanted}'")
        return domain

    def lookup_by_id(self, domain_id: int) -> Domain:
        """A running domain. Raises ``errors.NoDomain``."""
        for domain in self._by_uuid.values():
            if domain.is_active and domain.id == domain_id:
                return domain
        raise errors.NoDomain(f"Domain not found: no domain with matching id {domain_id}")

    @property
    def version(self) -> int:
        """The emulator's, as libvirt counts: 7.2.22 is 7002022."""
        return self.host.machines.version

    async def node_info(self) -> nodeinfo.NodeInfo:
        return await asyncio.to_thread(nodeinfo.read)

    async def capabilities(self, *, clusters: bool = False) -> str:
        """The host capabilities XML; ``clusters``: with which cluster each CPU is in."""
        node = await self.node_info()
        cpus = await asyncio.to_thread(nodeinfo.cpus)
        pages = await asyncio.to_thread(nodestats.page_sizes)
        return capabilities.build(
            str(self.host_uuid),
            node,
            cpus,
            [*await self.host.emulators.others(), self.host.machines],
            pages,
            clusters=clusters,
        )

    # definitions

    def complete(self, definition: DomainDef) -> DomainDef:
        """``definition`` with libvirt's defaults for what it leaves out, and a new UUID if it has none.

        It takes long where there are many devices: beside the loop (``io.apart``).

        Raises ``errors.XMLError`` or ``errors.ConfigUnsupported`` when it cannot be run here.
        """
        # What completes a definition without holding it against its giver has it from another host, or an image.
        home = replace(definition, os=firmware.at_home(definition.os, str(self.layout.nvram)))
        completed, known = self._with_defaults(home)
        fit.check(completed, known)
        return completed

    def _with_defaults(self, definition: DomainDef) -> tuple[DomainDef, machines.Machines]:
        check_name(definition.name)
        known = self.host.emulators.known(self.host.emulators.chosen(definition))
        facts = HostFacts(
            emulator=known.emulator,
            arch=known.arch,
            spice_tls=bool(self._spice_tls),
            machines={**{machine.name: machine.name for machine in known.machines}, **known.aliases},
            default_machine=known.default_machine,
            domain_types=frozenset({"qemu", "kvm"} if known.kvm else {"qemu"}),
            uuid=str(uuids.uuid4()),
            mac_seed=int.from_bytes(os.urandom(8), "big"),
            nvram=str(self.layout.nvram),
            itco=Ability.ITCO_BITES in known.abilities,
        )
        return defaults.complete(definition, facts), known

    def accept(self, definition: DomainDef) -> DomainDef:
        """``complete`` for a definition that somebody gives: what libvirt's validators refuse is refused."""
        completed, known = self._with_defaults(definition)
        validate.check(completed)  # a mistake is told as one, before what this emulator lacks
        fit.check(completed, known)
        return completed

    async def read(self, xml: str) -> DomainDef:
        """The definition that ``xml`` gives. Raises as ``accept`` and ``domain.parse.parse``."""
        return await self._completed(await apart.run(xml_parse.parse, xml), self.accept)

    async def _completed(self, definition: DomainDef, how: Callable[[DomainDef], DomainDef]) -> DomainDef:
        """``definition`` by ``complete`` or ``accept``, as its emulator is now."""
        await self.host.emulators.look(await asyncio.to_thread(self.host.emulators.chosen, definition))
        return await apart.run(how, definition)

    async def define_xml(self, xml: str, *, arriving: bool = False) -> Domain:
        """Make a domain persistent, or give a persistent one another definition (from its next start on).
        ``arriving``: it comes from another host, which has it already, and is not asked what a new one is.

        Raises ``errors.DomainExists`` when name or UUID belong to another domain, and what ``complete`` raises.
        """
        accept = self.complete if arriving else self.accept
        definition = await self._completed(await apart.run(xml_parse.parse, xml), accept)
        return await self.host.carry_out(self._define(definition), name=f"define-{definition.name}")

    async def _define(self, definition: DomainDef) -> Domain:
        async with self._changing:
            domain = self._claim(definition) or self._new(definition)
            async with domain.keeping:
                kept = await domain.save_definition(definition)
                self._by_uuid[domain.uuid] = domain
                domain.note_persistent(kept)
        return domain

    async def undefine(
        self,
        domain: Domain,
        options: UndefineOptions = UndefineOptions(),
        *,
        detail: UndefinedDetail = UndefinedDetail.REMOVED,
    ) -> None:
        """Forget the persistent definition: a running domain becomes transient, another one is gone.

        ``options``: with what; ``detail``: why, for those who listen. Raises ``errors.OperationInvalid`` for a
        transient domain, for one that has an image or snapshots which are to stay, and for one with a firmware's
        variables of which nothing is said.
        """
        await self.host.carry_out(self._undefine(domain, options, detail), name=f"undefine-{domain.name}")

    async def _undefine(self, domain: Domain, options: UndefineOptions, detail: UndefinedDetail) -> None:
        async with self._changing, domain.keeping:
            if not domain.is_persistent:
                raise errors.OperationInvalid(f"cannot undefine transient domain '{domain.name}'")
            if domain.has_managed_save and not options.managed_save:
                raise errors.OperationInvalid("Refusing to undefine while domain managed save image exists")
            has_snapshots = not domain.is_active and len(domain.snapshots) > 0
            if has_snapshots and not options.snapshots:
                raise errors.OperationInvalid(f"cannot delete inactive domain with {len(domain.snapshots)} snapshots")
            variables = await asyncio.to_thread(variables_of, domain.definition, self.layout)
            if variables is not None and options.nvram is None:
                raise errors.OperationInvalid("cannot undefine domain with nvram")
            if has_snapshots:
                await domain.snapshots.forget_all()
            if variables is not None and options.nvram:
                await asyncio.to_thread(files.remove, variables)
            if domain.has_managed_save:
                await asyncio.to_thread(files.remove, self.layout.managed_save(domain.name))
                domain.has_managed_save = False
            for once in (False, True):
                await asyncio.to_thread(self.host.store.set_autostart, domain.name, False, once=once)
            await asyncio.to_thread(self.host.store.remove_definition, domain.name)
            if not domain.is_active and domain.startup is None:
                left = detail is UndefinedDetail.MIGRATED
                kept = (domain.definition, self.layout)
                forget = functools.partial(tpm_state.forget, *kept, wanted=options.tpm, left=left)
                await asyncio.to_thread(forget)
            try:
                await self.host.whereabouts.undefined(domain.uuid)
            except errors.RequestError as err:  # what is kept for nobody does no harm
                log.error("domain=%s is undefined reason=%r", domain.name, err.message)
            domain.persistent, domain.was_persistent = None, True
            domain.autostart = domain.autostart_once = False
            if not domain.is_active and domain.startup is None:
                self._retire(domain)
            domain.emit(DomainEvent.UNDEFINED, detail)

    async def rename(self, domain: Domain, name: str) -> None:
        """Call a persistent domain that does not run something else; events UNDEFINED and DEFINED, renamed.

        Raises ``errors.XMLError`` for what is no name, ``errors.OperationInvalid`` for another domain, a name that is
        taken, and a domain that has a saved image, which goes by the name.
        """
        check_name(name)
        await self.host.carry_out(self._rename(domain, name), name=f"rename-{domain.name}")

    async def _rename(self, domain: Domain, name: str) -> None:
        async with domain.changing("rename"), self._changing, domain.keeping:
            if domain.is_active:
                raise errors.OperationInvalid("cannot rename active domain")
            persistent = domain.require_persistent()
            if name == domain.name:
                raise errors.OperationInvalid("Can't rename domain to itself")
            if any(other.name == name for other in self._by_uuid.values()):
                raise errors.OperationInvalid(f"domain with name '{name}' already exists")
            if domain.has_managed_save:
                raise errors.OperationInvalid("domain with a managed save image can't be renamed")
            self.host.may_start(domain.uuid)  # the other host of a migration that is not over knows it by its name
            renamed = replace(persistent, name=name)
            await domain.snapshots.move(self.layout.snapshots(name))
            # The new one first: whenever the host goes down, one of the two is there.
            await asyncio.to_thread(rename_variables, persistent, name, self.layout)
            await domain.save_definition(renamed)
            for once, marked in ((False, domain.autostart), (True, domain.autostart_once)):
                if marked:
                    await asyncio.to_thread(self.host.store.set_autostart, name, True, once=once)
                    await asyncio.to_thread(self.host.store.set_autostart, domain.name, False, once=once)
            await asyncio.to_thread(self.host.store.remove_definition, domain.name)
            domain.emit(DomainEvent.UNDEFINED, UndefinedDetail.RENAMED)
            domain.name, domain.persistent = name, renamed
            domain.emit(DomainEvent.DEFINED, DefinedDetail.RENAMED)

    # starts that bring their own definition

    async def create_xml(
        self, xml: str, *, paused: bool = False, annotations: Mapping[str, str] | None = None
    ) -> Domain:
        """Start a domain from XML; it is transient unless it is defined already. The guest runs on return.
        ``annotations`` as for ``launch.start``.

        Raises ``errors.OperationInvalid`` when it runs already, and what ``define_xml`` and a start raise; a domain
        that was not there before is not there then.
        """
        definition = await self.read(xml)
        async with self.starting(definition, "start") as domain:
            await launch.boot(domain, definition, paused=paused, annotations=annotations)
        return domain

    async def launch_incoming(self, definition: DomainDef, name: str | None = None) -> Domain:
        """Start a QEMU that waits for the guest of ``definition`` (called ``name``, if given) to migrate in.

        The definition is completed first. The domain is listed, PAUSED (migration), with event STARTED (migrated).
        Raises as ``create_xml``; then QEMU and its files are gone.
        """
        called = definition if name is None else replace(definition, name=name)
        definition = await self._completed(called, self.complete)
        async with self.starting(definition, "receive") as domain:
            await launch.incoming(domain, definition)
        return domain

    @contextlib.asynccontextmanager
    async def starting(self, definition: DomainDef, operation: str) -> AsyncIterator[Domain]:
        """The domain for a start of ``definition``, held; taken off the list again if nothing runs afterwards."""
        async with self._changing:
            domain = self._claim(definition) or self._new(definition)
            self._by_uuid[domain.uuid] = domain
        try:
            async with domain.changing(operation):
                if domain.is_active:
                    raise errors.OperationInvalid(f"domain '{domain.name}' is already active")
                if domain.name != definition.name:
                    raise errors.OperationInvalid(f"domain '{definition.name}' is called '{domain.name}' now")
                # It may have been undefined while we waited for it.
                self._by_uuid[domain.uuid] = domain
                yield domain
        finally:
            if not domain.is_active and not domain.is_persistent:
                self._retire(domain)

    def _claim(self, definition: DomainDef) -> Domain | None:
        """The domain that already has this name and UUID; ``None``: both are free.

        Raises ``errors.DomainExists``, and what ``host.may_claim`` raises.
        """
        uuid = UUID(definition.uuid)
        found = self._by_uuid.get(uuid)
        self.host.may_claim(definition)
        if found is not None:
            self.host.may_claim(found.definition)
        if found is not None and found.name != definition.name:
            raise errors.DomainExists(f"operation failed: domain '{found.name}' is already defined with uuid {uuid}")
        for other in self._by_uuid.values():
            if other.name == definition.name and other.uuid != uuid:
                raise errors.DomainExists(
                    f"operation failed: domain '{other.name}' already exists with uuid {other.uuid}"
                )
        return found

    def _new(self, definition: DomainDef, *, persistent: bool = False) -> Domain:
        return Domain(self.host, definition.name, UUID(definition.uuid), definition, persistent=persistent)

    def _retire(self, domain: Retiring) -> None:
        if self._by_uuid.get(domain.uuid) is domain:
            del self._by_uuid[domain.uuid]

    def _enlist(self, domain: Domain) -> None:
        self._by_uuid[domain.uuid] = domain

    # what was there before

    async def _load(self) -> None:
        host = self.host
        await asyncio.to_thread(host.store.sweep)
        autostarts = await asyncio.to_thread(host.store.autostarts)
        next_boot = await asyncio.to_thread(lambda: host.store.autostarts(once=True))
        definitions = await asyncio.to_thread(lambda: list(host.store.definitions(xml_parse.parse)))
        for name, definition in definitions:
            domain = self._new(definition, persistent=True)
            if name != definition.name or self._clashes(domain):
                path = self.layout.definition(name)
                why = errors.OperationFailed(f"it defines domain '{definition.name}' {definition.uuid}")
                await asyncio.to_thread(files.set_aside, path, why)
                continue
            domain.autostart, domain.autostart_once = name in autostarts, name in next_boot
            domain.has_managed_save = await asyncio.to_thread(self.layout.managed_save(name).exists)
            await domain.snapshots.load()
            self._by_uuid[domain.uuid] = domain
        statuses = await asyncio.to_thread(lambda: list(host.store.statuses()))
        async with asyncio.TaskGroup() as adopting:
            for name, status in statuses:
                adopting.create_task(self._adopt(name, status), name=f"adopt-{name}")
        for domain in self.domains():
            if domain.is_active and domain.has_managed_save:
                # The daemon ended between the image and the guest's end: the guest goes on, its image does not.
                path = self.layout.managed_save(domain.name)
                await asyncio.to_thread(files.set_aside, path, errors.OperationFailed("its guest runs on"))
                domain.has_managed_save = False
        known = {domain.run.runtime for domain in self.domains() if domain.run is not None}
        await strays.find(host, known | {monitor.parent for monitor in host.strays.values()})

    def _clashes(self, domain: Domain) -> bool:
        return any(other.uuid == domain.uuid or other.name == domain.name for other in self._by_uuid.values())

    async def _adopt(self, name: str, status: Status) -> None:
        try:
            definition = await apart.run(xml_parse.parse, status.xml, live=True)
            if name != definition.name or status.uuid != definition.uuid:
                raise errors.OperationFailed(f"it tells of domain '{definition.name}' {definition.uuid}")
            domain = self._claim(definition) or self._new(definition)
        except errors.RequestError as err:
            await asyncio.to_thread(files.set_aside, self.layout.status(name), err)
            return
        self._by_uuid[domain.uuid] = domain
        if not domain.is_persistent:
            await domain.snapshots.load()
        await adoption.adopt(domain, status, definition)
