"""After a restart of the daemon, or of the host: every migration that is not over is taken up where it was left.

The tables are in ``machine_recovery``: the journal's last row and what QEMU says now give the state, and what is done
in it. What QEMU says is asked by ``witness``.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from uuid import UUID

from culvert.channels.work import Background
from culvert.ground import errors
from culvert.hypervisor.contract import Guest, Guests
from culvert.migration.handover.machine import Next, Step
from culvert.migration.handover.machine_destination import State as DestinationState
from culvert.migration.handover.machine_recovery import DESTINATION, SOURCE, Qemu
from culvert.migration.handover.machine_source import State as SourceState
from culvert.migration.journal.history import Direction, Entry
from culvert.migration.journal.journal import Journal
from culvert.migration.recovery import witness
from culvert.migration.recovery.unsettled import Unsettled
from culvert.protocol.constants_state import DomainState, PausedReason

log = logging.getLogger(__name__)

RETRY_PAUSE = 1.0  # seconds between two tries to hear what a QEMU says
PATIENCE = 5.0  # seconds after which a QEMU that was never granted, and does not answer, is given up

TakeUpSource = Callable[[Entry, Guest | None, Next[SourceState]], None]
TakeUpDestination = Callable[[Entry, Guest | None, Next[DestinationState]], None]


async def ask(guest: Guest | None, entry: Entry) -> Qemu:
    """What the QEMU of ``guest`` says. Raises what its monitor raises: then nothing is known."""
    if guest is None:
        return Qemu.GONE
    says = witness.source_says if entry.begun.key.direction is Direction.OUT else witness.destination_says
    return await says(guest)


async def recover(
    guests: Guests,
    journal: Journal,
    background: Background,
    *,
    source: TakeUpSource,
    destination: TakeUpDestination,
    unsettled: Unsettled,
) -> None:
    """Hand every migration that is not over to ``source`` or ``destination``; tell of a guest that nobody knows of.

    Where a QEMU does not answer its monitor, that is tried again in the background: nothing is concluded meanwhile,
    unless the journal says that it cannot have run, and ``unsettled`` holds the guest.
    """

    async def take_up(entry: Entry) -> None:
        guest, key = find(guests, entry), entry.begun.key
        says = await ask(guest, entry)
        log.warning(
            "migration=%s domain=%s was left in '%s', QEMU: %s", key, entry.begun.name, entry.step.value, says.value
        )
        unsettled.release(entry, guest)
        if key.direction is Direction.OUT:
            source(entry, guest, SOURCE[entry.step, says])
        else:
            destination(entry, guest, DESTINATION[entry.step, says])

    async def keep_trying(entry: Entry) -> None:
        patience = asyncio.get_running_loop().time() + PATIENCE
        while True:
            await asyncio.sleep(RETRY_PAUSE)
            with contextlib.suppress(errors.RequestError):
                await take_up(entry)
                return
            if entry.step is Step.PREPARE and asyncio.get_running_loop().time() > patience:
                # It was never granted, so its CPUs have not run: whatever it hangs in, it may go.
                log.warning("migration=%s domain=%s QEMU hangs: given up", entry.begun.key, entry.begun.name)
                guest = find(guests, entry)
                unsettled.release(entry, guest)
                destination(entry, guest, DESTINATION[entry.step, Qemu.WAITING])
                return

    entries = await journal.unfinished()
    for entry in entries:
        try:
            await take_up(entry)
        except errors.RequestError as err:
            log.error("migration=%s domain=%s QEMU does not answer: %s", entry.begun.key, entry.begun.name, err)
            unsettled.hold(entry, find(guests, entry))
            background.spawn(f"recover {entry.begun.name}", keep_trying(entry))
    known = {UUID(entry.begun.uuid) for entry in entries}
    for domain in guests.domains():
        stands = (domain.state, domain.reason) == (DomainState.PAUSED, PausedReason.MIGRATION)
        if domain.is_active and stands and domain.uuid not in known:
            log.error(
                "domain=%s is paused by a migration that the journal does not know: nothing is concluded from that;"
                " 'virsh resume %s' if it runs nowhere else, 'virsh destroy %s' if it does",
                *([domain.name] * 3),
            )


def find(guests: Guests, entry: Entry) -> Guest | None:
    """The domain of ``entry``, if there is one of that UUID here."""
    try:
        return guests.lookup_by_uuid(UUID(entry.begun.uuid))
    except errors.NoDomain:
        return None
