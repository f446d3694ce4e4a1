"""What a source does with its own copy of a guest, whoever has begun it: stop sending, let it go on, end it."""

from __future__ import annotations

import asyncio
import contextlib
import logging

from culvert.ground import errors
from culvert.hypervisor.contract import Guest
from culvert.hypervisor.status import ENDING, POSTCOPY_DEVICE, UNSETTLED
from culvert.migration.handover.machine_source import Event
from culvert.migration.source import viewers
from culvert.protocol.constants_state import DomainState, PausedReason, RunningReason, ShutoffReason, StoppedDetail

log = logging.getLogger(__name__)

_PAUSED_BY_IT = (PausedReason.MIGRATION, PausedReason.POSTCOPY, PausedReason.POSTCOPY_FAILED)

END_TIMEOUT = 60.0  # seconds for a guest that has shut down to be gone
CANCEL_TIMEOUT = 60.0  # seconds QEMU may take to give a migration up


async def stop_sending(guest: Guest) -> None:
    """Make QEMU give up what it sends, if it sends; on return it has, or the log says that it has not confirmed."""
    if not guest.is_active:
        return
    with contextlib.closing(guest.hypervisor.outgoing()) as outgoing:
        try:
            async with asyncio.timeout(CANCEL_TIMEOUT):
                if (status := await outgoing.look()) in UNSETTLED:
                    if status not in (*ENDING, POSTCOPY_DEVICE):  # in which QEMU refuses: its way decides
                        await outgoing.cancel()
                    await outgoing.settled()
        except (errors.RequestError, TimeoutError) as err:
            log.warning("domain=%s QEMU did not confirm the cancel: %s", guest.name, err)


async def resume(guest: Guest | None, *, was_running: bool) -> tuple[Event, str]:
    """Let the guest go on, if it ran before and only the migration has paused it: the event, why it does not."""
    if guest is not None and guest.is_active and guest.hypervisor.ended("source") is not None:
        with contextlib.suppress(TimeoutError):  # else it is as if it had not begun to end
            async with asyncio.timeout(END_TIMEOUT):
                await guest.exited.wait()
    if guest is None or not guest.is_active:
        return Event.QEMU_GONE, "QEMU has ended"
    paused_by_it = guest.state is DomainState.PAUSED and guest.reason in _PAUSED_BY_IT
    if was_running and paused_by_it:
        try:
            await guest.hypervisor.resume(RunningReason.MIGRATION_CANCELED)
        except errors.RequestError as err:
            return Event.NOT_RESUMED, f"the guest cannot be resumed: {err}"
    return Event.RESUMED, ""


async def kill(guest: Guest | None) -> tuple[Event, str]:
    """End the copy here, for the guest is the destination's: the event, why it does not."""
    if guest is not None:
        if guest.is_active:
            await viewers.let_go(guest)
        try:
            await guest.kill(ShutoffReason.MIGRATED, StoppedDetail.MIGRATED)
        except errors.RequestError as err:
            return Event.NOT_KILLED, f"QEMU does not end here: {err}"
    return Event.KILLED, ""
