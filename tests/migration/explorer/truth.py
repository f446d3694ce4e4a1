"""What must hold in every world, and when a world has settled; looked at from outside, where everything is seen."""

from __future__ import annotations

from culvert.migration.handover import machine_destination as destination
from culvert.migration.handover import machine_source as source
from culvert.migration.handover.machine import Step
from tests.migration.explorer.world import D_STATES, NOTHING, S_STATES, STEPS, Attempt, Cpu, Mig, Qd, World

S = {state: index for index, state in enumerate(S_STATES)}
D = {state: index for index, state in enumerate(D_STATES)}
ROW = {step: index for index, step in enumerate(STEPS)}

S_FINAL = frozenset(S[state] for state in source.FINAL)
D_FINAL = frozenset(D[state] for state in destination.FINAL)

_WAITS_AT_THE_SOURCE = frozenset(
    S[state] for state in (source.State.UNDECIDED, source.State.POSTCOPY_FAILED, source.State.CONFIRM3_CANCELLED)
)
_WAITS_AT_THE_DESTINATION = frozenset(D[state] for state in (destination.State.SWITCHED, destination.State.POSTCOPY))


class Violation(AssertionError):
    """Something that must never be."""


def started(world: World, attempt: int) -> bool:
    """Whether this attempt's CPUs have run at the destination."""
    return bool(world.d[attempt].started)


def runs_there(world: World) -> bool:
    """Whether the guest's CPUs run at the destination."""
    return world.qd in (Qd.RUNNING, Qd.RUNNING_SWITCHED)


def check(world: World) -> None:
    """Raises ``Violation``: what must hold at every moment."""
    if world.cpu == Cpu.RUN and runs_there(world):
        raise Violation("two copies run")
    if world.s_row == ROW[Step.LEFT] and not world.resolved and not _arrived(world):
        raise Violation("the source's journal says 'left', and the guest has not arrived")
    if world.s_row == ROW[Step.STAYED] and not world.resolved and _any_started(world):
        raise Violation("the source's journal says 'stayed', and the guest has run at the destination")
    if world.s_row == ROW[Step.LOST] and world.cpu != Cpu.DEAD and world.boot != 2:
        raise Violation("the source's journal says 'lost', and its QEMU is alive")
    for attempt in world.d:
        if attempt.started and (attempt.row == ROW[Step.GONE] or attempt.state == D[destination.State.GONE]):
            raise Violation("the destination says 'gone', and the guest has run there")
        if not attempt.started and ROW[Step.ARRIVED] == attempt.row:
            raise Violation("the destination says 'arrived', and the guest has never run there")
        if attempt.row == ROW[Step.LOST] and not (world.died or world.refused):
            raise Violation("the destination says 'lost', and neither QEMU nor the disk has failed")


def _any_started(world: World) -> bool:
    return any(attempt.started for attempt in world.d)


def _arrived(world: World) -> bool:
    return _any_started(world) and bool(world.whole)


def may_kill_source(world: World) -> None:
    """Raises ``Violation`` when the source's copy is the only whole one."""
    if world.resolved != 2 and not _arrived(world):
        raise Violation("the source kills the only whole copy")


def may_kill_destination(world: World, attempt: int) -> None:
    """Raises ``Violation`` when the guest is the destination's."""
    if world.qd_att == attempt and world.qd not in (Qd.NONE, Qd.DEAD) and started(world, attempt):
        raise Violation("the destination kills the guest that is its own")


def may_resume(world: World) -> None:
    """Raises ``Violation`` when the source's copy is an old one."""
    if _any_started(world) and world.resolved != 1:
        raise Violation("the source resumes a copy that has run on elsewhere")


def taken_back(world: World) -> World:
    """The source's QEMU takes back what it had sent for post-copy, by itself. Raises as ``may_resume``."""
    may_resume(world)
    return world._replace(cpu=Cpu.RUN, fresh=NOTHING, mig=Mig.FAILED)


def may_boot(world: World) -> None:
    """Raises ``Violation`` when the guest has run elsewhere since the source had it."""
    if _any_started(world) and world.resolved != 1:
        raise Violation("the source's host starts a guest that has run on elsewhere")


def may_continue(world: World, attempt: int) -> None:
    """Raises ``Violation`` when the destination's copy is an old one."""
    if world.fresh != attempt:
        raise Violation("the destination starts a copy that has run on elsewhere")


def is_settled(world: World, *, told: bool) -> bool:
    """Whether nothing more need happen: one copy runs, or none with a word on why.

    ``told``: a source that waits for an operator has settled too (a libvirtd cannot be asked for more).
    """
    if not world.s_up or not world.d_up or world.s_queue or any(attempt.queue for attempt in world.d):
        return False
    over_there = all(_over(attempt) for attempt in world.d)
    if world.s in S_FINAL and over_there:
        return bool((world.cpu == Cpu.RUN) != runs_there(world) or world.died)
    if told and world.s == S[source.State.UNDECIDED] and over_there:
        return True
    if not (world.died or world.refused):
        return False
    waits_here = world.s in S_FINAL or world.s in _WAITS_AT_THE_SOURCE
    waits_there = all(_over(attempt) or attempt.state in _WAITS_AT_THE_DESTINATION for attempt in world.d)
    return waits_here and waits_there and not _hopeful(world)


def _over(attempt: Attempt) -> bool:
    """Nothing more is done about it; an attempt that never came into the journal is nobody's."""
    return attempt.state in D_FINAL or (attempt.state == NOTHING and attempt.row == NOTHING)


def _hopeful(world: World) -> bool:
    """Whether a post-copy can be taken up again: then waiting is not the end."""
    return (
        world.s == S[source.State.POSTCOPY_FAILED]
        and world.mig in (Mig.PAUSED, Mig.DONE_SWITCHED, Mig.SWITCHED)
        and world.cpu == Cpu.STOP
        and world.qd in (Qd.SWITCHED, Qd.RUNNING_SWITCHED, Qd.RUNNING, Qd.LOADED)
        and world.d[-1].state != NOTHING
    )
