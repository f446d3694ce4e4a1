"""What is done about a migration that an earlier daemon, or an earlier life of the host, left; pure.

(direction, the last step in the journal, what QEMU says now) → the state, and what is done in it. Where it is the
peer's word that decides, the row asks, and the tables of the two machines say what each word does. As libvirt's
qemuProcessRecoverMigrationIn and -Out (qemu/qemu_process.c), with what a journal and a peer that can be asked add.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import Enum

from culvert.migration.handover import machine_destination as destination
from culvert.migration.handover import machine_source as source
from culvert.migration.handover.machine import OVER, Command, Do, Next, S, Step, Write


class Qemu(Enum):
    """What QEMU says of the guest, put into the few words that matter here."""

    GONE = "gone"
    """There is no QEMU: it has died, or the host was restarted."""
    HERE = "here"
    """Source: the guest runs, or stands still with all that it had, its migration over or none."""
    BACK = "given up"
    """Source: QEMU has given its last migration up, and the guest is here with all that it had."""
    SENDING = "sending"
    """Source: a migration is under way that has not switched."""
    SWITCHED = "switched"
    """Post-copy has begun. At the destination: its CPUs have not been started."""
    WAITING = "waiting"
    """Destination: its CPUs have not been started."""
    RUNNING = "running"
    """Destination: its CPUs have been started, and the state is whole."""
    RUNNING_SWITCHED = "running, switched"
    """Destination: its CPUs have been started, in post-copy."""


SOURCE_SAYS = frozenset({Qemu.GONE, Qemu.HERE, Qemu.BACK, Qemu.SENDING, Qemu.SWITCHED})
DESTINATION_SAYS = frozenset({Qemu.GONE, Qemu.WAITING, Qemu.SWITCHED, Qemu.RUNNING, Qemu.RUNNING_SWITCHED})

CANNOT_OCCUR = frozenset(
    {
        *((step, Qemu.SWITCHED) for step in (Step.BEGIN3, Step.PERFORM3, Step.PERFORM3_DONE)),
        *((step, Qemu.SENDING) for step in (Step.BEGIN3, Step.PERFORM3_DONE)),
        *((step, Qemu.SENDING) for step in (Step.CONFIRM3_CANCELLED, Step.RESOLVED_HERE)),
        *((step, Qemu.SENDING) for step in (Step.CONFIRM3, Step.RESOLVED_THERE)),
        *((step, Qemu.BACK) for step in (Step.PERFORM3_DONE, Step.CONFIRM3, Step.RESOLVED_THERE)),
        *((Step.RETURNED, says) for says in (Qemu.SENDING, Qemu.SWITCHED)),
        (Step.PREPARE, Qemu.SWITCHED),
        *(
            (step, says)
            for step in (Step.PREPARE, Step.HELD, Step.POSTCOPY)
            for says in (Qemu.RUNNING, Qemu.RUNNING_SWITCHED)
        ),
    }
)
"""Rows that the order of writing before acting rules out. They are there all the same, and destroy nothing: what runs
although the journal does not know of it was started by somebody else."""

_S, _D, _Q = source.State, destination.State, Qemu


def _rows(
    steps: Iterable[Step], says: Iterable[Qemu], state: S, *commands: Command
) -> dict[tuple[Step, Qemu], Next[S]]:
    every = tuple(says)
    return {(step, qemu): Next(state, commands) for step in steps for qemu in every}


_ALIVE = (_Q.HERE, _Q.BACK, _Q.SENDING, _Q.SWITCHED)
_STAYS = (Write(Step.CONFIRM3_CANCELLED), Do.RESUME)

SOURCE: Mapping[tuple[Step, Qemu], Next[source.State]] = {
    **_rows([Step.BEGIN3], _ALIVE, _S.STAYED, Write(Step.STAYED)),
    **_rows([Step.BEGIN3, Step.PERFORM3], [_Q.GONE], _S.LOST, Write(Step.LOST)),
    **_rows([Step.PERFORM3], [_Q.HERE, _Q.BACK, _Q.SENDING], _S.CONFIRM3_CANCELLED, Do.STOP_SENDING, *_STAYS),
    **_rows([Step.PERFORM3], [_Q.SWITCHED], _S.POSTCOPY_FAILED, Do.REPORT, Do.ASK),
    # It may switch yet; QEMU says how it ends.
    **_rows([Step.POSTCOPY], [_Q.SENDING], _S.SWITCHING),
    # It ran here again before anybody could grant it there, perhaps long since.
    **_rows([Step.POSTCOPY], [_Q.BACK], _S.RETURNED, Write(Step.RETURNED), Do.RESUME),
    **_rows([Step.RETURNED], _ALIVE, _S.RETURNED, Do.RESUME),
    **_rows([Step.RETURNED], [_Q.GONE], _S.RETURNED, Do.RECALL),
    # HERE is a post-copy that is complete: the destination knows whether the guest runs there.
    **_rows([Step.POSTCOPY], [_Q.SWITCHED, _Q.HERE, _Q.GONE], _S.POSTCOPY_FAILED, Do.REPORT, Do.ASK),
    **_rows([Step.PERFORM3_DONE], SOURCE_SAYS, _S.ASKING, Do.REPORT, Do.ASK),
    **_rows([Step.CONFIRM3, Step.RESOLVED_THERE], _ALIVE, _S.CONFIRM3, Do.KILL),
    **_rows([Step.CONFIRM3, Step.RESOLVED_THERE], [_Q.GONE], _S.LEFT, Write(Step.LEFT)),
    **_rows([Step.CONFIRM3_CANCELLED, Step.RESOLVED_HERE], _ALIVE, _S.CONFIRM3_CANCELLED, Do.STOP_SENDING, Do.RESUME),
    **_rows([Step.CONFIRM3_CANCELLED, Step.RESOLVED_HERE], [_Q.GONE], _S.LOST, Write(Step.LOST)),
}
"""Migrations out of this host."""

_PROMISE = (Write(Step.GONE), Do.KILL)
_HAS_RUN = (_Q.RUNNING, _Q.RUNNING_SWITCHED)

DESTINATION: Mapping[tuple[Step, Qemu], Next[destination.State]] = {
    # No row FINISH3: whatever grant was under way, it was not taken.
    **_rows([Step.PREPARE], [_Q.WAITING, _Q.GONE], _D.GONE, *_PROMISE),
    # What QEMU says next decides: that it has everything, that it has switched, or that the data path is broken.
    **_rows([Step.HELD], [_Q.WAITING], _D.HELD),
    **_rows([Step.HELD], [_Q.GONE], _D.GONE, *_PROMISE),
    **_rows([Step.PREPARE, Step.HELD, Step.POSTCOPY], [_Q.SWITCHED], _D.SWITCHED, Write(Step.POSTCOPY), Do.REPORT),
    **_rows([Step.POSTCOPY], [_Q.WAITING], _D.SWITCHED, Do.REPORT),
    **_rows([Step.POSTCOPY], [_Q.GONE], _D.GONE, *_PROMISE),
    **_rows([Step.FINISH3], [_Q.WAITING], _D.GONE, *_PROMISE),
    **_rows([Step.FINISH3], [_Q.SWITCHED], _D.SWITCHED, Write(Step.POSTCOPY), Do.REPORT),
    # No witness is left: it may have run, so nothing may be promised.
    **_rows([Step.FINISH3], [_Q.GONE], _D.LOST, Write(Step.LOST), Do.REPORT),
    **_rows([Step.PREPARE, Step.HELD, Step.POSTCOPY, Step.FINISH3], [_Q.RUNNING], _D.ARRIVED, Write(Step.ARRIVED)),
    **_rows(
        [Step.PREPARE, Step.HELD, Step.POSTCOPY, Step.FINISH3], [_Q.RUNNING_SWITCHED], _D.POSTCOPY, Do.AWAIT_LOAD
    ),
    **_rows([Step.ARRIVED], DESTINATION_SAYS, _D.ARRIVED),
    **_rows([Step.GONE], [_Q.GONE], _D.GONE),
    **_rows([Step.GONE], [_Q.WAITING, _Q.SWITCHED], _D.GONE, Do.KILL),
    **_rows([Step.GONE], _HAS_RUN, _D.GONE, Do.REPORT),
    **_rows([Step.LOST], DESTINATION_SAYS, _D.LOST),
}
"""Migrations into this host."""

SOURCE_STEPS = frozenset(step for step, _ in SOURCE)
DESTINATION_STEPS = frozenset(step for step, _ in DESTINATION)
assert not SOURCE_STEPS & (OVER - {Step.LOST}), "what is over at the source needs no recovery"
