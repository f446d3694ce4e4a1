"""What can be asked of a domain: the calls of libvirt's domain API that concern QEMU."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from culvert.domain import aliases
from culvert.domain import format as xml_format
from culvert.domain.definition import DomainDef
from culvert.drivers.qemu import console, launch, screenshot, states
from culvert.drivers.qemu.core import DomainCore
from culvert.drivers.qemu.hypervisor import QemuHypervisor
from culvert.drivers.qemu.run import Run
from culvert.ground import errors
from culvert.protocol.constants_state import (
    DefinedDetail,
    DomainEvent,
    DomainState,
    PausedReason,
    RunningReason,
    ShutoffReason,
    StoppedDetail,
)


@dataclass(frozen=True, slots=True)
class Info:
    """DOMAIN_GET_INFO: memory in KiB, time in nanoseconds."""

    state: DomainState
    max_memory: int
    memory: int
    vcpus: int
    cpu_time: int


class Domain(DomainCore):
    """A domain of this host. Every call raises ``errors.OperationInvalid`` in a state in which it makes no sense."""

    @property
    def hypervisor(self) -> QemuHypervisor:
        """Its QEMU, as a migration knows it."""
        return QemuHypervisor(self)

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

    async def start(self, *, paused: bool = False) -> None:
        """Start the persistent definition; the guest runs on return, or stands still with ``paused``.

        A failed start raises with QEMU's output and leaves nothing behind. Events: RESUMED and STARTED, or STARTED
        and SUSPENDED.
        """
        async with self.changing("start"):
            if self.run is not None:
                raise errors.OperationInvalid(f"domain is already running: '{self.name}'")
            await launch.boot(self, self.definition, paused=paused)

    async def destroy(self, *, graceful: bool = False) -> None:
        """End the guest at once; also while a job runs. ``graceful``: never by force."""
        self.require_active()
        await self.kill(ShutoffReason.DESTROYED, StoppedDetail.DESTROYED, graceful=graceful)

    async def shutdown(self) -> None:
        """Press the power button (ACPI); what the guest makes of it is told by events."""
        async with self.changing("shut down"):
            run = self._running("shut down")
            run.fake_reboot = False
            self.changed()
            await self.monitor.execute("system_powerdown")

    async def reboot(self) -> None:
        """Press the power button, and boot again when the guest has powered off."""
        async with self.changing("reboot"):
            run = self._running("reboot")
            run.fake_reboot = True
            self.changed()
            try:
                await self.monitor.execute("system_powerdown")
            except errors.RequestError:
                run.fake_reboot = False
                raise

    async def reset(self) -> None:
        """Press the reset button."""
        async with self.changing("reset"):
            self.require_active()
            await self.monitor.execute("system_reset")

    async def suspend(self) -> None:
        """Stop the virtual CPUs: PAUSED by user. Nothing happens when they are stopped already."""
        async with self.changing("suspend", during_job=True):
            run = self.require_active()
            if self.state is DomainState.PMSUSPENDED:
                raise errors.OperationInvalid(f"domain is pmsuspended: '{self.name}'")
            if self.state is DomainState.PAUSED:
                return
            # A guest that stops while it migrates stays paused at the destination; libvirt says so in the reason too.
            reason = PausedReason.USER if self.job is None else PausedReason.MIGRATION
            before, run.stop_reason = run.stop_reason, reason
            try:
                await self.monitor.execute("stop")
            finally:
                run.stop_reason = before

    async def resume(self) -> None:
        """Let the virtual CPUs run: RUNNING, unpaused. Nothing happens when they run already."""
        async with self.changing("resume"):
            run = self.require_active()
            if self.state is DomainState.PMSUSPENDED:
                raise errors.OperationInvalid(f"domain is pmsuspended: '{self.name}'")
            if self.state is DomainState.RUNNING:
                return
            if self.state is DomainState.SHUTDOWN:
                raise errors.OperationInvalid(f"domain is being shut down: '{self.name}'")
            run.resume_reason = RunningReason.UNPAUSED
            await self.monitor.execute("cont")

    async def refresh_state(self) -> str:
        """Ask QEMU how the guest stands, correct what is known, without an event, and return QEMU's word for it."""
        run = self.require_active()
        while True:
            before = run.heard
            answer = await self.monitor.execute("query-status")
            if run.heard == before:  # else an event is newer than the answer
                break
        self.set_state(*states.state_of(answer["status"], (self.state, self.reason)))
        return str(answer["status"])

    async def monitor_command(self, command: str, *, hmp: bool = False) -> str:
        """qemu-monitor-command: one QMP command as JSON text, or one line of the human monitor; the whole answer."""
        self.require_active()
        return await (self.monitor.human(command) if hmp else self.monitor.raw(command))

    async def set_autostart(self, wanted: bool) -> None:
        """Start it with the host, or no more; on the disk on return. Raises ``errors.OperationInvalid``."""
        if not self.is_persistent:
            raise errors.OperationInvalid(f"cannot set autostart for transient domain '{self.name}'")
        if wanted is not self.autostart:
            await asyncio.to_thread(self.host.store.set_autostart, self.name, wanted)
            self.autostart = wanted

    async def console(self, device: str | None = None, flags: int = 0) -> console.Console:
        """Open a serial or console device by its alias, or the first one. See ``console.open_console``."""
        return await console.open_console(self, device, flags)

    async def screenshot(self, screen: int = 0) -> screenshot.Screenshot:
        """Take a picture of a screen. See ``screenshot.take``."""
        return await screenshot.take(self, screen)

    async def save_definition(self, definition: DomainDef) -> None:
        """Write a persistent definition to the disk, and do no more. Raises ``errors.SystemCallError``."""
        text = xml_format.format(aliases.strip(definition), secure=True)
        await asyncio.to_thread(self.host.store.save_definition, self.name, text)

    async def became_persistent(self, definition: DomainDef) -> None:
        """Keep ``definition`` from now on; event DEFINED. Raises ``errors.SystemCallError``, changing nothing."""

        async def keep() -> None:
            await self.save_definition(definition)
            self.note_persistent(definition)

        await self.host.carry_out(keep(), name=f"keep-{self.name}")

    async def replace_persistent(self, definition: DomainDef) -> None:
        """``definition`` is the persistent one from now on, on the disk on return; no event.

        Raises ``errors.SystemCallError``, changing nothing.
        """

        async def keep() -> None:
            await self.save_definition(definition)
            self.persistent = aliases.strip(definition)

        await self.host.carry_out(keep(), name=f"change-{self.name}")

    def note_persistent(self, definition: DomainDef) -> None:
        """``definition`` is on the disk: it is the persistent one; event DEFINED."""
        detail = DefinedDetail.UPDATED if self.is_persistent else DefinedDetail.ADDED
        self.persistent = aliases.strip(definition)
        self.emit(DomainEvent.DEFINED, detail)

    def _running(self, operation: str) -> Run:
        run = self.require_active()
        if self.state not in (DomainState.RUNNING, DomainState.PAUSED, DomainState.PMSUSPENDED):
            raise errors.OperationInvalid(f"cannot {operation} domain '{self.name}': it is being shut down")
        return run
