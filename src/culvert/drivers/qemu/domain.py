"""A domain: its definitions, its state, the life of a run. What is done with one is in modules of their own."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from uuid import UUID

from culvert.domain import aliases
from culvert.domain import format as xml_format
from culvert.domain.definition import DomainDef
from culvert.drivers.qemu import belongings, plugs, states, swtpm, tpm_state
from culvert.drivers.qemu.events import DomainLifecycle, Happening
from culvert.drivers.qemu.host import QemuHost
from culvert.drivers.qemu.hypervisor import QemuHypervisor
from culvert.drivers.qemu.monitor import Monitor
from culvert.drivers.qemu.run import ANNOUNCED, START_FAILED, Ending, Run
from culvert.drivers.qemu.snapshots import Snapshots
from culvert.drivers.qemu.startup import Startup
from culvert.drivers.qemu.state.status import Status
from culvert.ground import errors
from culvert.hypervisor.contract import Job
from culvert.io import apart
from culvert.protocol.constants_flag import XMLFlag
from culvert.protocol.constants_state import DefinedDetail, DomainState, EventID, ShutoffReason, StoppedDetail
from culvert.protocol.constants_state import DomainEvent as LifecycleEvent

log = logging.getLogger(__name__)

LOCK_TIMEOUT = 30.0  # seconds a call waits for the one before it; libvirt's QEMU_JOB_WAIT_TIME
GONE_TIMEOUT = 60.0  # seconds for a run to end and be cleared away, SIGKILL included
DRAIN_TIMEOUT = 5.0  # seconds for the last events of an ended process


@dataclass(frozen=True, slots=True)
class Info:
    """DOMAIN_GET_INFO: memory in KiB, time in nanoseconds."""

    state: DomainState
    max_memory: int
    memory: int
    vcpus: int
    cpu_time: int


class Domain:
    """A domain. Made and listed by the driver; lives on when its guest ends, if it is persistent.

    ``lock`` is held by every call that changes the domain. ``annotations`` are kept on the disk as long as the guest
    runs; call ``changed`` or ``persist`` after a change. ``exited`` is set while nothing runs.
    """

    def __init__(self, host: QemuHost, name: str, uuid: UUID, definition: DomainDef, *, persistent: bool) -> None:
        self.host = host
        self.name = name
        self.was_persistent = False
        """It was undefined while it runs: to be defined again is no news of a domain, but of a definition."""
        self.uuid = uuid
        self.persistent = definition if persistent else None
        self.run: Run | None = None
        self.state = DomainState.SHUTOFF
        self.reason: int = ShutoffReason.UNKNOWN
        self.job: Job | None = None
        self.autostart = False
        """It is started with the host."""
        self.autostart_once = False
        """It is started with the host at its next boot."""
        self.has_managed_save = False
        """Its next start goes on where it was saved."""
        self.snapshots = Snapshots(host.layout.snapshots(name), str(uuid))
        self.agent_lock = asyncio.Lock()
        self.keeping = asyncio.Lock()
        """Held by who writes what is kept of it for later runs (definition, autostart, whether it has an image). The
        innermost lock: nothing but the disk is waited for under it."""
        self._leaving: Run | None = None
        """The run that has just ended, until its files are gone."""
        self.lock = asyncio.Lock()
        self.annotations: dict[str, str] = {}
        self.exited = asyncio.Event()
        self.exited.set()
        self.close_console: Callable[[], None] | None = None
        """Ends the console session that is open, if one is."""
        self.startup: Startup | None = None
        """The start that is under way; whether the domain stays on the list is decided at its end."""
        self._last = definition
        self._last_output = ""
        self._last_ending: Ending | None = None
        self._last_exit = ""

    # what it is

    @property
    def id(self) -> int:
        """A positive number while it runs, else -1."""
        return self.run.id if self.run else -1

    @property
    def active(self) -> DomainDef | None:
        """The definition of the running guest."""
        return self.run.definition if self.run else None

    @property
    def definition(self) -> DomainDef:
        """The running guest's definition, or else the persistent one, or else that of the run that has ended."""
        return self.active or self.persistent or self._last

    @property
    def as_it_runs(self) -> DomainDef:
        """``definition`` as the live XML has it: with the processor that QEMU has given the guest."""
        cpu = self.run.cpu if self.run is not None else None
        return self.definition if cpu is None else replace(self.definition, cpu=cpu)

    @property
    def is_active(self) -> bool:
        return self.run is not None

    @property
    def has_snapshots(self) -> int:
        """How many it has."""
        return len(self.snapshots)

    @property
    def starts_with_host(self) -> bool:
        """At its next boot, whether also at others or not."""
        return self.autostart or self.autostart_once

    @property
    def is_persistent(self) -> bool:
        return self.persistent is not None

    @property
    def monitor(self) -> Monitor:
        """Raises ``errors.OperationInvalid`` when the guest does not run or cannot be talked to."""
        monitor = self.require_active().monitor
        if monitor is None:
            raise errors.OperationInvalid(f"domain '{self.name}': the monitor of QEMU is not connected")
        return monitor

    def require_active(self) -> Run:
        """Raises ``errors.OperationInvalid`` when it does not run."""
        if self.run is None:
            raise errors.OperationInvalid(f"domain is not running: '{self.name}'")
        return self.run

    def require_persistent(self) -> DomainDef:
        """It may have been undefined while the caller waited for it: nobody would find it again.

        Raises ``errors.NoDomain``.
        """
        if self.persistent is None:
            raise errors.NoDomain(f"Domain not found: '{self.name}' was undefined meanwhile")
        return self.persistent

    @property
    def hypervisor(self) -> QemuHypervisor:
        """Its QEMU, as a migration knows it."""
        return QemuHypervisor(self)

    @property
    def runtime(self) -> Path:
        """The folder of the run. Raises ``errors.OperationInvalid`` when it does not run."""
        return self.require_active().runtime

    def info(self) -> Info:
        definition = self.definition
        process = self.run.process if self.run else None
        return Info(
            state=self.state,
            max_memory=definition.memory,
            memory=definition.current_memory or definition.memory,
            vcpus=definition.current_vcpus,
            cpu_time=process.cpu_time_ns() if process else 0,
        )

    async def xml(self, flags: int = 0) -> str:
        """The domain XML. ``flags`` are ``XMLFlag``. Of what runs it tells the processor that QEMU has given it, but
        not to who would start it elsewhere (MIGRATABLE); UPDATE_CPU changes nothing.

        Raises ``errors.InvalidArgument`` for other flags.
        """
        known = XMLFlag.SECURE | XMLFlag.INACTIVE | XMLFlag.UPDATE_CPU | XMLFlag.MIGRATABLE
        if flags & ~int(known):
            raise errors.InvalidArgument(f"unsupported flags (0x{flags:x}) in function qemuDomainGetXMLDesc")
        secure, migratable = bool(flags & XMLFlag.SECURE), bool(flags & XMLFlag.MIGRATABLE)
        if self.active is not None and not flags & XMLFlag.INACTIVE:
            runs = self.active if migratable else self.as_it_runs
            return await apart.run(xml_format.format, runs, domain_id=self.id, migratable=migratable, secure=secure)
        kept = self.persistent or self.definition
        return await apart.run(lambda: xml_format.format(aliases.strip(kept), migratable=migratable, secure=secure))

    @property
    def ending(self) -> Ending | None:
        """How this run, or the last one, is ended on purpose, the guest's or a person's; ``None``: it is not."""
        return self.run.ending if self.run else self._last_ending

    @property
    def exit_text(self) -> str:
        """How QEMU has ended, in words; empty while it runs."""
        process = self.run.process if self.run else None
        if process is None:
            return self._last_exit
        return process.exit_text if process.exited.is_set() else ""

    async def last_output(self) -> str:
        """The tail of what QEMU has said in this run, or in the last one."""
        return await self.run.last_output() if self.run else self._last_output

    # the persistent definition

    async def save_definition(self, definition: DomainDef) -> DomainDef:
        """Write a persistent definition to the disk, and do no more: what was written.

        Raises ``errors.SystemCallError``.
        """
        plain = await apart.run(aliases.strip, definition)
        text = await apart.run(xml_format.format, plain, secure=True)
        await asyncio.to_thread(self.host.store.save_definition, definition.name, text)
        return plain

    async def became_persistent(self, definition: DomainDef) -> None:
        """Keep ``definition`` from now on; event DEFINED. Raises ``errors.SystemCallError``, changing nothing."""

        async def keep() -> None:
            async with self.keeping:
                self.note_persistent(await self.save_definition(definition))
                self.host.enlist(self)  # it may have ended meanwhile

        await self.host.carry_out(keep(), name=f"keep-{self.name}")

    async def change_persistent(self, change: Callable[[DomainDef], DomainDef]) -> None:
        """The persistent definition is from now on what ``change`` makes of it, on the disk on return; no event.

        Raises what ``change`` does, ``errors.OperationInvalid`` when there is none any more, and
        ``errors.SystemCallError``, changing nothing.
        """

        async def keep() -> None:
            async with self.keeping:
                if self.persistent is None:
                    raise errors.OperationInvalid(
                        f"transient domains do not have any persistent config: '{self.name}'"
                    )
                # Of what it is now: it may have been defined anew since the caller looked.
                self.persistent = await self.save_definition(await apart.run(change, self.persistent))

        await self.host.carry_out(keep(), name=f"change-{self.name}")

    def note_persistent(self, definition: DomainDef) -> None:
        """``definition``, as ``save_definition`` has written it, is the persistent one; event DEFINED."""
        known = self.is_persistent or self.was_persistent
        detail = DefinedDetail.UPDATED if known else DefinedDetail.ADDED
        self.persistent = definition
        self.emit(LifecycleEvent.DEFINED, detail)

    # state

    def set_state(self, state: DomainState, reason: int, event: states.Occurrence | None = None) -> None:
        """The one place where state changes: remembered on the disk soon, ``event`` sent at once."""
        if (state, reason) != (self.state, self.reason):
            log.info(
                "domain=%s state=%s reason=%d was=%s was_reason=%d",
                *(self.name, state.name, reason, self.state.name, self.reason),
            )
        self.state, self.reason = state, reason
        if self.run is not None:
            self.changed()
        if event is not None:
            self.emit(*event)

    async def here_again(self) -> None:
        """It runs here by somebody's will, wherever it had gone. Where that cannot be kept the log says so, and its
        next start with the host waits for a word."""
        try:
            await self.host.whereabouts.here_again(self.uuid)
        except errors.RequestError as err:
            log.error("domain=%s runs here, and will not be started with the host reason=%r", self.name, err.message)

    def emit(self, event: int, detail: int) -> None:
        """Tell the subscribers of the driver."""
        self.host.events.emit(DomainLifecycle(self.name, self.uuid, self.id, int(event), int(detail)))

    def tell(self, kind: EventID, **members: object) -> None:
        """Tell the listeners of the driver of something that is not the lifecycle; see ``events.Happening``."""
        self.host.events.happened(Happening(kind, self.name, self.uuid, self.id, members))

    def changed(self) -> None:
        """Something that the status file holds is different: write it soon."""
        self.host.recorder.changed(self)

    async def persist(self) -> None:
        """Write the status file now; it is on the disk on return. Raises ``errors.SystemCallError``."""
        await self.host.recorder.persist(self)

    async def annotate(self, key: str, value: str) -> None:
        """Keep ``value`` with the running domain, on the disk on return; an empty one is forgotten."""
        if value:
            self.annotations[key] = value
        else:
            self.annotations.pop(key, None)
        await self.persist()

    async def prepare_status(self) -> None:
        """Do beforehand what takes long of ``status``."""
        if self.run is not None:
            await self.run.write_xml()

    def status(self) -> Status | None:
        run = self.run
        if run is None:
            return None
        return Status(
            name=self.name,
            uuid=str(self.uuid),
            id=run.id,
            xml=run.xml,
            state=int(self.state),
            reason=int(self.reason),
            process=run.process.identity if run.process else None,
            log_offset=run.log_offset,
            runtime=str(run.runtime),
            fake_reboot=run.fake_reboot,
            annotations=dict(self.annotations),
            ending=run.ending.numbers if run.ending else None,
        )

    @contextlib.asynccontextmanager
    async def changing(self, operation: str, *, during_job: bool = False) -> AsyncIterator[None]:
        """Hold the domain for a call that changes it.

        Raises ``errors.OperationTimeout`` when another call holds it for too long, and ``errors.OperationInvalid``
        while a job runs, unless the call is one that may come in between.
        """
        try:
            async with asyncio.timeout(LOCK_TIMEOUT):
                await self.lock.acquire()
        except TimeoutError as err:
            raise errors.OperationTimeout(
                f"cannot {operation} domain '{self.name}': another call has held it for {LOCK_TIMEOUT:g} s"
            ) from err
        try:
            if self.job is not None and not during_job:
                raise errors.OperationInvalid(
                    f"cannot {operation} domain '{self.name}' while job '{self.job.description}' runs: "
                    "wait for it or abort it"
                )
            yield
        finally:
            self.lock.release()

    @property
    def owner(self) -> plugs.CardOwner:
        """Of its network cards."""
        log_file = self.host.layout.log_file(self.name)
        return plugs.CardOwner(self.name, self.uuid, self.definition.type == "kvm", log_file)

    # begin and end of a run

    def begin(self, run: Run) -> None:
        """A run begins: it has a number and a definition, the process comes next."""
        assert self.run is None
        self.run = run
        self._last = run.definition
        self.annotations = {}
        self.exited.clear()

    async def kill(self, reason: ShutoffReason, detail: StoppedDetail | None, *, graceful: bool = False) -> None:
        """End QEMU; everything of the run is gone on return. Does nothing when nothing runs or starts.

        ``reason`` and ``detail`` are what will be said of it, unless another end was already under way; ``detail``
        ``None`` sends no STOPPED event. ``graceful`` never uses force. Takes no lock: it must also end a guest on
        which another call is stuck, or one that is being started; the start sees it after its next wait. The end goes
        on when the caller is cancelled. Raises ``errors.OperationTimeout``: then nothing is said of an end to come.
        """
        ending = Ending(reason, detail)
        startup = self.startup
        if startup is not None and ending != START_FAILED and (self.run is None or self.run.ending is None):
            log.info("domain=%s is ended while it is being started reason=%s", self.name, reason.name)
            startup.ending = startup.ending or ending
        run = self.run or self._leaving
        if run is None:
            return
        if run.ending is None:
            run.ending = ending
            self.changed()  # for the next daemon, if this one does not see the end
        try:
            if run.process is not None and run is self.run:
                if graceful:
                    await run.process.terminate(force_after=None)
                elif not run.killing:
                    run.killing = True
                    self.host.spawn(self._kill(run), name=f"kill-{self.name}", essential=True)
            async with asyncio.timeout(GONE_TIMEOUT):
                await run.gone.wait()
        except (TimeoutError, errors.OperationTimeout) as err:
            # An end to come is not our doing any more, unless it is still being killed.
            if not run.killing and run.ending is ending:
                run.ending = None
                self.changed()
            if startup is not None and startup.ending is ending and not run.killing:
                startup.ending = None
            if isinstance(err, errors.OperationTimeout):
                raise
            raise errors.OperationTimeout(f"domain '{self.name}' does not end") from err

    async def _kill(self, run: Run) -> None:
        assert run.process is not None
        try:
            await run.process.terminate(force_after=self.host.stop_timeout)
        except errors.OperationTimeout as err:
            run.killing = False  # the next one may try again
            log.error("domain=%s %s", self.name, err.message)

    async def supervise(self, run: Run) -> None:
        """Wait for the process to end, then clear the run away. The one task of every run.

        A daemon that stops does not wait for the process, but for what follows its end.
        """
        assert run.process is not None
        await run.process.exited.wait()
        self.host.spawn(self.conclude(run), name=f"conclude-{self.name}", essential=True)

    async def conclude(self, run: Run) -> None:
        """The process has ended: hear what it said last, and clear the run away. Does nothing the second time."""
        if run.concluding:
            return
        run.concluding = True
        if run.monitor is not None:
            # What QEMU said last tells how it ended.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(DRAIN_TIMEOUT):
                    await run.monitor.closed.wait()
            await run.monitor.close()
        await self.clear(run)

    async def clear(self, run: Run, *, keep_files: bool = False) -> None:
        """The run is over: files gone, state SHUTOFF, STOPPED sent; a transient domain leaves the list.

        ``keep_files``: somebody whom we cannot end still listens among them.
        """
        # That it shuts down an adopted run may only know by its status: its QEMU has ended before it could say more.
        announced = run.started and self.state is DomainState.SHUTDOWN
        ending = run.ending or (ANNOUNCED if announced else run.natural_ending)
        if run.process is not None:
            log.info("domain=%s pid=%d qemu=%s", self.name, run.process.pid, run.process.exit_text)
        if self.close_console is not None:
            self.close_console()
        self._last_output = await run.last_output()
        self._last_exit = run.process.exit_text if run.process is not None else ""
        for card in run.definition.devices.interfaces:
            await plugs.unplug(self.host.networks, self.name, card)
        if not keep_files:
            await swtpm.end(run)
        if self.persistent is None and self.startup is None:
            left = ending.reason is ShutoffReason.MIGRATED
            await asyncio.to_thread(tpm_state.forget, run.definition, self.host.layout, left=left)
        if not keep_files:
            await asyncio.to_thread(shutil.rmtree, run.runtime, ignore_errors=True)
            await asyncio.to_thread(belongings.take_back, dict(self.annotations))
        # From here to the next await everybody sees the same: nothing runs.
        self.host.vnc_ports.difference_update(run.vnc_ports)
        self.run, self._leaving = None, run
        self._last_ending = run.ending
        self.annotations = {}
        if self.persistent is None and self.startup is None:
            self.host.retire(self)
            if len(self.snapshots):
                self.host.spawn(self.snapshots.forget_all(), name=f"forget-snapshots-{self.name}", essential=True)
        event = None if ending.detail is None else (LifecycleEvent.STOPPED, ending.detail)
        self.set_state(DomainState.SHUTOFF, ending.reason, event)
        self.exited.set()
        try:
            await self.persist()
        except errors.SystemCallError as err:
            log.error("domain=%s its status file is left behind reason=%r", self.name, err.message)
        if self._leaving is run:
            self._leaving = None
        run.gone.set()
