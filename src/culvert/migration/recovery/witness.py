"""What QEMU says of a migration that an earlier daemon left: its answers, in the words of ``machine_recovery``.

At the source ``query-migrate`` tells all. At the destination it tells only whether post-copy is on; whether the CPUs
have been started is in ``query-status`` (qapi/run-state.json, RunState).
"""

from __future__ import annotations

from culvert.hypervisor.contract import Guest
from culvert.hypervisor.status import GIVEN_UP, POSTCOPY, UNSETTLED
from culvert.migration.handover.machine_recovery import Qemu

# Run states of a QEMU started with -S and -incoming before its first "cont": while the state comes, and after it.
NOT_STARTED = frozenset(
    {"inmigrate", "prelaunch", "paused", "postmigrate", "finish-migrate", "restore-vm", "preconfig"}
)


def source(status: str) -> Qemu:
    """What ``query-migrate``'s status means of a guest that was leaving; an empty one is that of no migration."""
    if status in POSTCOPY:
        return Qemu.SWITCHED
    if status in UNSETTLED:
        return Qemu.SENDING
    return Qemu.BACK if status in GIVEN_UP else Qemu.HERE


def destination(status: str, run_state: str) -> Qemu:
    """What ``query-migrate`` and ``query-status`` mean of a guest that was arriving.

    A run state that only a guest gets into that has run (an I/O error, a panic, a shutdown of its own) is one of
    having been started. Somebody's pausing the guest is not told from never having started it: nobody can pause it
    before its migration is over.
    """
    switched, started = status in POSTCOPY, run_state not in NOT_STARTED
    if started:
        return Qemu.RUNNING_SWITCHED if switched else Qemu.RUNNING
    return Qemu.SWITCHED if switched else Qemu.WAITING


async def source_says(domain: Guest) -> Qemu:
    """How the guest of a migration out of here stands.

    Raises what the monitor raises when a QEMU that lives does not answer: then nothing is known.
    """
    if not domain.is_active:
        return Qemu.GONE
    return source(await domain.hypervisor.status())


async def destination_says(domain: Guest) -> Qemu:
    """How the guest of a migration into here stands; see ``source_says``."""
    if not domain.is_active:
        return Qemu.GONE
    status = await domain.hypervisor.status()
    return destination(status, await domain.hypervisor.run_state())
