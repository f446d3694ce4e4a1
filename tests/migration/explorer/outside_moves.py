"""What happens around the two machines: QEMU works, people wish, things break, daemons are started again."""

from __future__ import annotations

from collections.abc import Iterator

from culvert.migration.handover.machine import Step
from culvert.migration.handover.machine_destination import State as DState
from culvert.migration.handover.machine_recovery import Qemu
from culvert.migration.handover.machine_source import Event, State
from tests.migration.explorer.destination_moves import DestinationMoves, put
from tests.migration.explorer.source_moves import E, Move, SourceMoves, hang_up
from tests.migration.explorer.truth import ROW, S_FINAL, D, S, may_boot, may_continue, taken_back
from tests.migration.explorer.world import (
    ANSWERS_TO_THE_DRIVER,
    CALLS_OF_THE_DRIVER,
    ENTER,
    NOTHING,
    STEPS,
    Compiled,
    Cpu,
    Kind,
    Link,
    Mig,
    Qd,
    Rules,
    Setting,
    World,
)

_OVER = {
    ROW[Step.LEFT]: S[State.LEFT],
    ROW[Step.STAYED]: S[State.STAYED],
    ROW[Step.LOST]: S[State.LOST],
}
_SOURCE_SAYS = {
    Mig.ACTIVE: Qemu.SENDING,
    Mig.SWITCHING: Qemu.SENDING,
    Mig.DEVICE: Qemu.SENDING,
    Mig.FAILED: Qemu.BACK,
}
_SOURCE_SAYS |= {Mig.SWITCHED: Qemu.SWITCHED, Mig.PAUSED: Qemu.SWITCHED}
_DESTINATION_SAYS = {
    Qd.NONE: Qemu.GONE,
    Qd.DEAD: Qemu.GONE,
    Qd.INCOMING: Qemu.WAITING,
    Qd.LOADED: Qemu.WAITING,
    Qd.SWITCHED: Qemu.SWITCHED,
    Qd.RUNNING: Qemu.RUNNING,
    Qd.RUNNING_SWITCHED: Qemu.RUNNING_SWITCHED,
}


_DECIDABLE = frozenset(S[state] for state in (State.ASKING, State.UNDECIDED, State.POSTCOPY_FAILED, State.RETURNED))


class OutsideMoves:
    """Everything but the daemons' own steps."""

    def __init__(
        self, setting: Setting, rules: Rules, compiled: Compiled, source: SourceMoves, destination: DestinationMoves
    ) -> None:
        self._setting = setting
        self._rules = rules
        self._compiled = compiled
        self._source = source
        self._destination = destination

    # -- QEMU -----------------------------------------------------------------------------------------------------

    def qemu(self, world: World) -> Iterator[Move]:
        """Both QEMUs go on by themselves."""
        yield from self._cpus(world)
        mine = world.qd_att == world.s_att
        alive = world.cpu != Cpu.DEAD
        if alive and world.mig in (Mig.ACTIVE, Mig.SWITCHING):
            if world.link == Link.OPEN:
                stopped = world._replace(cpu=Cpu.STOP, fresh=world.s_att)
                yield "QEMU here has sent all", False, stopped._replace(mig=Mig.DONE)
                if world.mig == Mig.SWITCHING:
                    switched = Mig.DEVICE if self._setting.answered else Mig.SWITCHED
                    yield "QEMU here switches", False, stopped._replace(mig=switched)
            elif world.link == Link.BROKEN or self._no_way_will_come(world):
                yield "QEMU here gives up", False, world._replace(mig=Mig.FAILED, link=Link.BROKEN)
        incoming = mine and world.qd == Qd.INCOMING
        if incoming and world.link == Link.OPEN and world.mig in (Mig.DONE, Mig.SWITCHED, Mig.DEVICE):
            there = Qd.LOADED if world.mig == Mig.DONE else Qd.SWITCHED
            yield "QEMU there has it", False, world._replace(qd=there)
        if alive and world.mig == Mig.DEVICE:
            if world.link != Link.OPEN:
                yield "QEMU here takes the guest back", False, taken_back(world)
            elif mine and world.qd in (Qd.SWITCHED, Qd.RUNNING_SWITCHED):
                yield "QEMU there has answered", False, world._replace(mig=Mig.SWITCHED)
        if alive and world.mig == Mig.SWITCHED:
            if world.link != Link.OPEN:
                yield "QEMU here pauses post-copy", False, world._replace(mig=Mig.PAUSED)
            elif mine and world.qd == Qd.RUNNING_SWITCHED:
                whole = world._replace(qd=Qd.RUNNING, mig=Mig.DONE_SWITCHED, whole=1)
                yield "post-copy is complete", False, whole
            elif mine and world.qd == Qd.SWITCHED:
                yield (
                    "post-copy is complete, CPUs not started",
                    False,
                    world._replace(qd=Qd.LOADED, mig=Mig.DONE_SWITCHED),
                )

    def _cpus(self, world: World) -> Iterator[Move]:
        """The destination's QEMU comes to the command that starts its CPUs."""
        number = world.qd_att
        if number == NOTHING or world.d[number].told != 1 or world.qd == Qd.DEAD:
            return
        refused = put(world, number, world.d[number]._replace(told=2))
        yield "QEMU there does not start the CPUs", False, refused
        if world.qd != Qd.INCOMING:
            may_continue(world, number)
            whole = world.qd == Qd.LOADED
            running = world._replace(qd=Qd.RUNNING if whole else Qd.RUNNING_SWITCHED, whole=int(whole))
            started = world.d[number]._replace(told=0, started=1)
            yield "QEMU there starts the CPUs", False, put(running, number, started)

    def _no_way_will_come(self, world: World) -> bool:
        number = world.s_att
        if world.link == Link.OPEN or (Kind.ATTACH, number, 0) in world.net:
            return False
        return not (world.d_up and world.d[number].queue)

    # -- people ---------------------------------------------------------------------------------------------------

    def wishes(self, world: World) -> Iterator[Move]:
        """Cancel, deadline, post-copy, recover, resolve, the next attempt."""
        idle = world.s_up and world.s != NOTHING and not world.s_queue
        if not idle:
            return
        if world.wishes and world.s not in S_FINAL:
            poorer = world._replace(wishes=world.wishes - 1)
            wanted = [Event.CANCEL, Event.DEADLINE]
            wanted += [Event.SWITCH, Event.RECOVER] if self._setting.postcopy else []
            wanted += [Event.CLAIMED] if self._setting.client else []
            for event in wanted:
                yield f"wish: {event.value}", False, self._source.feed(poorer, E[event])
        if world.s == S[State.POSTCOPY_FAILED]:
            yield "recover", False, self._source.feed(world, E[Event.RECOVER])
        if world.s in _DECIDABLE and not world.resolved:
            yield from self._resolve(world)
        if world.s == S[State.STAYED] and world.cpu == Cpu.RUN and world.s_att + 1 < self._setting.attempts:
            old = tuple(m for m in world.net if m[0] < Kind.PREPARED)
            yield "the next attempt", False, self._source.begin(world._replace(net=old))

    def _resolve(self, world: World) -> Iterator[Move]:
        """An operator decides, and is right: has looked, or has switched the other host off."""
        if any(attempt.started for attempt in world.d) and (world.whole or world.qd in (Qd.NONE, Qd.DEAD)):
            event, resolved = Event.RESOLVED_THERE, 2
        elif not world.d_up and world.qd in (Qd.NONE, Qd.DEAD):
            event, resolved = Event.RESOLVED_HERE, 1
        else:
            return
        if world.s == S[State.POSTCOPY_FAILED] and event is Event.RESOLVED_HERE:
            resolved = 0  # it is refused
        if world.s == S[State.RETURNED]:
            resolved = 0  # nothing is allowed by it that was not before
        yield event.value, True, self._source.feed(world._replace(resolved=resolved), E[event])

    # -- what breaks ----------------------------------------------------------------------------------------------

    def faults(self, world: World) -> Iterator[Move]:
        """Each costs one of ``world.faults``."""
        if not world.faults:
            return
        poorer = world._replace(faults=world.faults - 1)
        if self._setting.only_cuts:
            if world.s_conn == Link.OPEN:
                yield "FAULT: connection cut", True, self._cut(poorer)
            return
        if world.s_up and self._setting.power:
            off = self._source_killed(poorer)._replace(cpu=Cpu.DEAD, mig=Mig.NONE, link=Link.BROKEN, died=1, boot=1)
            yield "FAULT: source host loses its power", True, off
        elif world.s_up:
            yield "FAULT: source daemon killed", True, self._source_killed(poorer)
        if world.d_up:
            yield "FAULT: destination daemon killed", True, self._destination_killed(poorer)
        if world.s_conn == Link.OPEN:
            yield "FAULT: connection cut", True, self._cut(poorer)
        if self._setting.direct and world.link == Link.OPEN:
            yield "FAULT: data path cut", True, poorer._replace(link=Link.BROKEN)
        for index, (kind, _, _) in enumerate(world.net):
            if kind in (Kind.ASK, Kind.RECALL, Kind.WORD):
                rest = world.net[:index] + world.net[index + 1 :]
                yield "FAULT: question or word lost", True, poorer._replace(net=rest)
        if world.cpu != Cpu.DEAD and world.s not in S_FINAL:
            dead = poorer._replace(cpu=Cpu.DEAD, s_seen=0, died=1, link=Link.BROKEN)
            yield "FAULT: QEMU here dies", True, dead
        # A libvirtd's "no" does not tell a QEMU that has died in its first moment from one that has never run.
        unsaid = self._setting.stock and any(a.told or a.state == D[DState.STARTING] for a in world.d)
        if world.qd not in (Qd.NONE, Qd.DEAD) and not unsaid:
            yield "FAULT: QEMU there dies", True, poorer._replace(qd=Qd.DEAD, died=1, link=_broken(world.link))

    def _cut(self, world: World) -> World:
        number = world.s_att
        if number < len(world.d) and world.d[number].conn == Link.OPEN:
            world = put(world, number, world.d[number]._replace(conn=Link.BROKEN))
        coming = world.mig == Mig.ACTIVE and world.link == Link.NONE
        if not self._setting.direct and (coming or world.link == Link.OPEN):
            world = world._replace(link=Link.BROKEN)
        return world._replace(s_conn=Link.BROKEN)

    def _source_killed(self, world: World) -> World:
        world = self._cut(world) if world.s_conn == Link.OPEN else world
        world = hang_up(world)
        net = tuple(message for message in world.net if message[0] < Kind.PREPARED)
        return world._replace(s_up=0, s=NOTHING, s_queue=(), s_conn=Link.NONE, s_timer=0, net=net, s_seen=0)

    def _destination_killed(self, world: World) -> World:
        net = tuple(m for m in world.net if m[0] not in CALLS_OF_THE_DRIVER)
        s_conn = _broken(world.s_conn)
        there = []
        for attempt in world.d:
            row = attempt.row if self._rules.keeps_journal else NOTHING
            there.append(attempt._replace(state=NOTHING, queue=(), conn=Link.NONE, asked=0, waits=NOTHING, row=row))
        link = world.link if self._setting.direct else _broken(world.link)
        return world._replace(d_up=0, d=tuple(there), net=net, s_conn=s_conn, link=link)

    # -- starting again -------------------------------------------------------------------------------------------

    def restarts(self, world: World) -> Iterator[Move]:
        """A daemon that is down comes up; questions to one that is down come to nothing."""
        if not world.s_up:
            yield "source daemon starts", False, self._source_starts(world)
        # As long as it is not over it may run elsewhere (Source.check_free); then the journal has the word.
        free = world.s_up and world.boot == 1 and world.s in S_FINAL and not world.s_queue
        if free and (world.s_row == NOTHING or STEPS[world.s_row] not in self._rules.may_have_left):
            may_boot(world)
            yield "source host starts the guest", False, world._replace(cpu=Cpu.RUN, fresh=NOTHING, boot=2)
        if not world.d_up:
            yield "destination daemon starts", False, self._destination_starts(world)
            for index, (kind, _, _) in enumerate(world.net):
                if kind in (Kind.ASK, Kind.RECALL, Kind.LATE_ASK):
                    rest = world.net[:index] + world.net[index + 1 :]
                    yield "a question comes to nothing", False, world._replace(net=rest)

    def _source_starts(self, world: World) -> World:
        world = world._replace(s_up=1)
        if world.s_row == NOTHING:
            return world._replace(s=S[State.STAYED])  # nothing was written, so nothing was done
        if world.s_row in _OVER:
            return world._replace(s=_OVER[world.s_row])
        says = _SOURCE_SAYS.get(Mig(world.mig), Qemu.HERE) if world.cpu != Cpu.DEAD else Qemu.GONE
        queue = self._compiled.source_recovery[world.s_row, says]
        return world._replace(s=queue[0] - ENTER, s_queue=queue[1:], s_seen=int(world.cpu == Cpu.DEAD))

    def _destination_starts(self, world: World) -> World:
        world = world._replace(d_up=1)
        for number, attempt in enumerate(world.d):
            mine = world.qd_att == number
            if attempt.row == NOTHING:
                continue  # nothing is known of it
            says = _DESTINATION_SAYS[Qd(world.qd)] if mine else Qemu.GONE
            queue = self._compiled.destination_recovery[attempt.row, says]
            # QEMU serves the new monitor connection when it has done with the old one, command and all.
            again = attempt._replace(state=queue[0] - ENTER, queue=queue[1:], told=0)
            world = put(world, number, again)
        if world.qd == Qd.DEAD:
            world = world._replace(qd=Qd.NONE, qd_att=NOTHING)
        if world.qd_att != NOTHING and world.d[world.qd_att].row == NOTHING:
            # A QEMU without a word in the journal: what waits is of no use to anybody.
            world = world._replace(qd=Qd.NONE, qd_att=NOTHING, link=_broken(world.link))
        return world


def _broken(link: int) -> int:
    return Link.BROKEN if link == Link.OPEN else link


__all__ = ["ANSWERS_TO_THE_DRIVER", "OutsideMoves"]
