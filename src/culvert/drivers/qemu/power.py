"""The buttons of a running domain: power, reset and pause, and the plug that is pulled.

Every call raises ``errors.OperationInvalid`` in a state in which it makes no sense.
"""

from __future__ import annotations

from culvert.drivers.qemu.domain import Domain
from culvert.drivers.qemu.run import Run
from culvert.ground import errors
from culvert.protocol.constants_state import DomainState, PausedReason, RunningReason, ShutoffReason, StoppedDetail


async def destroy(domain: Domain, *, graceful: bool = False) -> None:
    """End the guest at once; also while a job runs, and while it is being started. ``graceful``: never by force."""
    if domain.startup is None:
        domain.require_active()
    await domain.kill(ShutoffReason.DESTROYED, StoppedDetail.DESTROYED, graceful=graceful)


async def shutdown(domain: Domain) -> None:
    """Press the power button (ACPI); what the guest makes of it is told by events."""
    async with domain.changing("shut down"):
        run = _running(domain, "shut down")
        run.fake_reboot = False
        domain.changed()
        await domain.monitor.execute("system_powerdown")


async def reboot(domain: Domain) -> None:
    """Press the power button, and boot again when the guest has powered off."""
    async with domain.changing("reboot"):
        run = _running(domain, "reboot")
        run.fake_reboot = True
        domain.changed()
        try:
            await domain.monitor.execute("system_powerdown")
        except errors.RequestError:
            run.fake_reboot = False
            raise


async def reset(domain: Domain) -> None:
    """Press the reset button."""
    async with domain.changing("reset"):
        domain.require_active()
        await domain.monitor.execute("system_reset")


async def suspend(domain: Domain) -> None:
    """Stop the virtual CPUs: PAUSED by user. Nothing happens when they are stopped already."""
    async with domain.changing("suspend", during_job=True):
        run = domain.require_active()
        if domain.state is DomainState.PMSUSPENDED:
            raise errors.OperationInvalid(f"domain is pmsuspended: '{domain.name}'")
        if domain.state is DomainState.PAUSED:
            return
        # A guest that stops while it migrates stays paused at the destination; libvirt says so in the reason too.
        reason = PausedReason.USER if domain.job is None else PausedReason.MIGRATION
        before, run.stop_reason = run.stop_reason, reason
        try:
            await domain.monitor.execute("stop")
        finally:
            run.stop_reason = before


async def resume(domain: Domain) -> None:
    """Let the virtual CPUs run: RUNNING, unpaused."""
    async with domain.changing("resume"):
        run = domain.require_active()
        if domain.state is DomainState.PMSUSPENDED:
            raise errors.OperationInvalid(f"domain is pmsuspended: '{domain.name}'")
        if domain.state is DomainState.RUNNING:
            raise errors.OperationInvalid(f"domain is already running: '{domain.name}'")
        if domain.state is DomainState.SHUTDOWN:
            raise errors.OperationInvalid(f"domain is being shut down: '{domain.name}'")
        run.resume_reason = RunningReason.UNPAUSED
        await domain.monitor.execute("cont")


def _running(domain: Domain, operation: str) -> Run:
    run = domain.require_active()
    if domain.state not in (DomainState.RUNNING, DomainState.PAUSED, DomainState.PMSUSPENDED):
        raise errors.OperationInvalid(f"cannot {operation} domain '{domain.name}': it is being shut down")
    return run
