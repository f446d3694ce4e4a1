"""What the source's daemon can do next: the first command of its queue, or the next event of its machine."""

from __future__ import annotations

from collections.abc import Iterator

from culvert.migration.handover import machine_destination as destination
from culvert.migration.handover.machine import Do, MachineError, Write
from culvert.migration.handover.machine_source import Event, State
from tests.migration.explorer import truth
from tests.migration.explorer.truth import S
from tests.migration.explorer.world import (
    ANSWERS_TO_THE_DRIVER,
    CALLS_OF_THE_DRIVER,
    ENTER,
    NOTHING,
    S_EVENTS,
    STEPS,
    Compiled,
    Cpu,
    Kind,
    Link,
    Mig,
    Qd,
    Setting,
    World,
    send,
)

Move = tuple[str, bool, World]
"""(what happens, whether it is a fault, the world afterwards)."""

E = {event: index for index, event in enumerate(S_EVENTS)}
HAS_SWITCHED = frozenset({Mig.SWITCHED, Mig.PAUSED, Mig.DONE_SWITCHED})
_SENDS = frozenset({S[State.PERFORM3], S[State.SWITCHING]})
_WORD_EVENTS = [E[Event[f"WORD_{word.name}"]] for word in destination.Word]
_ANSWERS = {
    Kind.PREPARED: E[Event.PREPARED],
    Kind.NOT_PREPARED: E[Event.NOT_PREPARED],
    Kind.YES: E[Event.YES],
    Kind.NO: E[Event.NO],
}


def hang_up(world: World) -> World:
    """The source asks no more: its question may still come in, but nobody hears the answer."""
    # What is to be called off is so all the same.
    late = {(Kind.LATE_ASK, number, extra) for kind, number, extra in world.net if kind in (Kind.ASK, Kind.LATE_ASK)}
    rest = [message for message in world.net if message[0] not in (Kind.ASK, Kind.LATE_ASK, Kind.WORD)]
    there = tuple(attempt._replace(asked=0) for attempt in world.d)
    return world._replace(net=tuple(sorted((*rest, *late))), s_asking=0, d=there)


class SourceMoves:
    """The source's daemon by ``rules``. ``has_switched``: what of its QEMU is post-copy to it."""

    def __init__(self, setting: Setting, rules: Compiled, has_switched: frozenset[Mig] = HAS_SWITCHED) -> None:
        self._setting = setting
        self._rules = rules
        self._has_switched = has_switched
        self._acts = {
            Do.PREPARE: self._prepare,
            Do.CALL_OFF: self._call_off,
            Do.ASK: self._ask,
            Do.RECALL: self._recall,
            Do.WAIT: self._wait,
            Do.SEND: self._send,
            Do.SWITCH: self._switch,
            Do.RECOVER: self._recover,
            Do.STOP_SENDING: self._stop_sending,
            Do.RESUME: self._resume,
            Do.KILL: self._kill,
        }

    def begin(self, world: World) -> World:
        """A new attempt."""
        return world._replace(
            s=S[State.BEGIN3],
            s_queue=self._rules.source_start,
            s_att=world.s_att + 1,
            s_row=NOTHING,
            s_conn=Link.NONE,
            mig=Mig.NONE,
            link=Link.NONE,
        )

    def feed(self, world: World, event: int) -> World:
        """The machine takes ``event``."""
        queue = self._rules.source.get((world.s, event))
        if queue is None:
            raise MachineError(f"source: '{S_EVENTS[event].value}' in '{list(State)[world.s].value}'")
        if queue[0] == ENTER + world.s:
            queue = queue[1:]
        return world._replace(s_queue=queue)

    # -- commands -------------------------------------------------------------------------------------------------

    def command(self, world: World) -> Iterator[Move]:
        """Do the first command of the queue."""
        code, rest = world.s_queue[0], world.s_queue[1:]
        world = world._replace(s_queue=rest)
        if code >= ENTER:
            state = code - ENTER
            entered = hang_up(world)._replace(s=state, s_timer=0)
            yield f"source: {list(State)[state].value}", False, entered
            return
        command = self._rules.commands[code]
        name = f"source: {command if isinstance(command, Write) else command.value}"
        if isinstance(command, Write):
            written = world._replace(s_row=STEPS.index(command.step))
            yield name, False, written
            if world.faults and not self._setting.only_cuts:
                failed = world._replace(faults=world.faults - 1)
                if command.must:
                    failed = failed._replace(s_queue=())
                    yield f"{name}: fails", True, self.feed(failed, E[Event.UNWRITTEN])
                    # An error from the disk does not mean that nothing is on it.
                    yield (
                        f"{name}: fails, is there all the same",
                        True,
                        self.feed(failed._replace(s_row=written.s_row), E[Event.UNWRITTEN]),
                    )
                else:
                    yield f"{name}: fails", True, failed
            return
        for done in self._do(command, world):
            yield name, False, done

    def _do(self, command: Do, world: World) -> Iterator[World]:
        if command is Do.GRANT:
            yield from self._grant(world)
        elif command in self._acts:
            yield self._acts[command](world)
        else:
            yield world

    def _prepare(self, world: World) -> World:
        return self._call(world._replace(s_conn=Link.OPEN), Kind.PREPARE)

    def _call_off(self, world: World) -> World:
        return self._call(world, Kind.CALL_OFF) if world.s_conn == Link.OPEN else world

    def _ask(self, world: World) -> World:
        return self._call(world._replace(s_asking=1), Kind.ASK)

    def _recall(self, world: World) -> World:
        return self._call(world._replace(s_asking=1), Kind.RECALL)

    def _wait(self, world: World) -> World:
        return world._replace(s_timer=1)

    def _switch(self, world: World) -> World:
        return world._replace(mig=Mig.SWITCHING) if world.mig == Mig.ACTIVE else world

    def _kill(self, world: World) -> World:
        if world.cpu != Cpu.DEAD:
            truth.may_kill_source(world)
        return self.feed(world._replace(cpu=Cpu.DEAD, s_seen=1, link=_broken(world.link)), E[Event.KILLED])

    def _call(self, world: World, kind: Kind) -> World:
        return send(world, kind, world.s_att)

    def _grant(self, world: World) -> Iterator[World]:
        if world.s_conn == Link.OPEN:
            yield self._call(world, Kind.FINISH)
        elif world.s_conn == Link.NONE and world.d_up and world.s_att < len(world.d):
            # By a new connection, which is the one that counts from here on.
            attempt = world.d[world.s_att]._replace(conn=Link.OPEN)
            there = (*world.d[: world.s_att], attempt, *world.d[world.s_att + 1 :])
            yield self._call(world._replace(s_conn=Link.OPEN, d=there), Kind.FINISH)
        elif world.s_conn == Link.NONE:
            yield self.feed(world, E[Event.CUT])
        else:
            yield world  # the connection is broken, which will be seen

    def _send(self, world: World) -> World:
        if world.cpu == Cpu.DEAD:
            return world
        if self._setting.postcopy:
            return send(world._replace(mig=Mig.ACTIVE), Kind.ATTACH, world.s_att)
        whole = world.qd == Qd.INCOMING and world.qd_att == world.s_att
        return world._replace(mig=Mig.ACTIVE, link=Link.OPEN if whole else Link.BROKEN)

    def _recover(self, world: World) -> World:
        can = world.mig == Mig.PAUSED and world.cpu != Cpu.DEAD and world.d_up
        if can and world.qd in (Qd.SWITCHED, Qd.RUNNING_SWITCHED):
            return world._replace(mig=Mig.SWITCHED, link=Link.OPEN)
        return world

    def _stop_sending(self, world: World) -> World:
        stopped = world._replace(link=Link.BROKEN)
        if world.mig in (Mig.ACTIVE, Mig.SWITCHING) and world.cpu != Cpu.DEAD:
            return stopped._replace(mig=Mig.FAILED)  # its CPUs have never stopped
        if world.mig == Mig.DEVICE and world.cpu != Cpu.DEAD:
            return truth.taken_back(stopped)
        return stopped

    def _resume(self, world: World) -> World:
        if world.cpu == Cpu.DEAD:
            return self.feed(world._replace(s_seen=1), E[Event.QEMU_GONE])
        if world.mig in (Mig.SWITCHED, Mig.PAUSED):
            return self.feed(world, E[Event.NOT_RESUMED])
        if world.cpu == Cpu.STOP:
            truth.may_resume(world)
        return self.feed(world._replace(cpu=Cpu.RUN, fresh=NOTHING), E[Event.RESUMED])

    # -- events ---------------------------------------------------------------------------------------------------

    def events(self, world: World) -> Iterator[Move]:
        """Feed one of the events that are there to be seen."""
        for index, (kind, attempt, extra) in enumerate(world.net):
            if kind < Kind.PREPARED:
                continue
            rest = world._replace(net=world.net[:index] + world.net[index + 1 :])
            if attempt != world.s_att:
                continue  # its connection has gone with its attempt
            if kind == Kind.WORD:
                if world.s_asking:
                    yield "source hears a word", False, self.feed(rest._replace(s_asking=0), _WORD_EVENTS[extra])
            else:
                yield f"source hears {Kind(kind).name}", False, self._answered(rest, Kind(kind))
        answerable = (Kind.ASK, Kind.RECALL, Kind.WORD)
        if world.s_asking and not any(m[0] in answerable and m[1] == world.s_att for m in world.net):
            yield "source: nobody answers", False, self.feed(world._replace(s_asking=0), E[Event.UNREACHABLE])
        if world.s_timer:
            yield "source: tick", False, self.feed(world._replace(s_timer=0), E[Event.TICK])
        if world.s_conn == Link.BROKEN:
            gone = tuple(m for m in world.net if m[1] != world.s_att or m[0] not in ANSWERS_TO_THE_DRIVER)
            yield "source sees the cut", False, self.feed(world._replace(s_conn=0, net=gone), E[Event.CUT])
        if world.cpu == Cpu.DEAD and not world.s_seen and world.s not in truth.S_FINAL:
            yield "source sees QEMU's end", False, self.feed(world._replace(s_seen=1), E[Event.QEMU_GONE])
        yield from self._told_by_qemu(world)

    def _answered(self, world: World, kind: Kind) -> World:
        if self._setting.client and kind in (Kind.YES, Kind.NO):
            return self.feed(world, E[Event.CLAIMED])
        return self.feed(world, _ANSWERS[kind])

    def _told_by_qemu(self, world: World) -> Iterator[Move]:
        if world.s == S[State.POSTCOPY] and (world.mig == Mig.PAUSED or world.cpu == Cpu.DEAD):
            yield "QEMU here: post-copy paused", False, self.feed(world, E[Event.BROKEN])
        if world.cpu == Cpu.DEAD:
            return
        if world.s in _SENDS:
            loaded = world.qd_att == world.s_att and world.qd >= Qd.LOADED
            if world.mig == Mig.DONE and loaded:
                yield "QEMU here: completed", False, self.feed(world, E[Event.SENT])
            if world.mig == Mig.FAILED or (world.mig == Mig.DONE and world.link == Link.BROKEN):
                yield "QEMU here: failed", False, self.feed(world, E[Event.NOT_SENT])
            if world.mig in self._has_switched and world.s == S[State.SWITCHING]:
                yield "QEMU here: post-copy", False, self.feed(world, E[Event.SWITCHED])
            if world.s == S[State.SWITCHING] and world.faults and not self._setting.only_cuts:
                # It may come to again at any time, and has done meanwhile what it was told, or not.
                silent = self.feed(world._replace(faults=world.faults - 1), E[Event.HUNG])
                yield "FAULT: QEMU here does not answer", True, silent


def _broken(link: int) -> int:
    return Link.BROKEN if link == Link.OPEN else link


__all__ = ["CALLS_OF_THE_DRIVER", "Move", "SourceMoves"]
