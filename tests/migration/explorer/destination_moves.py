"""What the destination's daemon can do next: the first command of an attempt's queue, or an event of its machine."""

from __future__ import annotations

from collections.abc import Iterator

from culvert.migration.handover import machine_destination as destination
from culvert.migration.handover.machine import Do, MachineError, Write
from culvert.migration.handover.machine_destination import Event, State
from tests.migration.explorer import truth
from tests.migration.explorer.source_moves import Move
from tests.migration.explorer.truth import D
from tests.migration.explorer.world import (
    CALLS_OF_THE_DRIVER,
    D_EVENTS,
    ENTER,
    NOTHING,
    STEPS,
    Attempt,
    Compiled,
    Kind,
    Link,
    Mig,
    Qd,
    Rules,
    Setting,
    World,
    send,
)

E = {event: index for index, event in enumerate(D_EVENTS)}
_UNKNOWN = list(destination.Word).index(destination.Word.UNKNOWN)
_LOADING = frozenset({D[State.PREPARE], D[State.HELD], D[State.FINISH3]})
_STARTING = frozenset({D[State.STARTING], D[State.STARTING_POSTCOPY]})
_CALLS = {Kind.CALL_OFF: Event.CALLED_OFF, Kind.FINISH: Event.GRANT, Kind.ATTACH: Event.ATTACHED}
_BY_ITSELF = frozenset({Kind.ASK, Kind.RECALL, Kind.LATE_ASK})
_SAID = {Do.READY: Kind.PREPARED, Do.YES: Kind.YES}
NEVER = Attempt(NOTHING, (), NOTHING, Link.NONE, 0, 0, 0, NOTHING)
"""An attempt of which nothing is known."""
_GONE = list(destination.Word).index(destination.Word.GONE)


def put(world: World, number: int, attempt: Attempt) -> World:
    """``world`` with ``attempt`` in the place ``number``."""
    return world._replace(d=(*world.d[:number], attempt, *world.d[number + 1 :]))


class DestinationMoves:
    """The destination's daemon by ``rules``."""

    def __init__(self, setting: Setting, rules: Rules, compiled: Compiled) -> None:
        self._setting = setting
        self._rules = rules
        self._compiled = compiled

    def feed(self, world: World, number: int, event: int) -> World:
        """The machine of attempt ``number`` takes ``event``."""
        attempt = world.d[number]
        queue = self._compiled.destination.get((attempt.state, event))
        if queue is None:
            raise MachineError(
                f"destination: '{D_EVENTS[event].value}' in '{list(State)[attempt.state].value}', attempt {number}"
            )
        if queue[0] == ENTER + attempt.state:
            queue = queue[1:]
        return put(world, number, attempt._replace(queue=queue))

    # -- commands -------------------------------------------------------------------------------------------------

    def command(self, world: World, number: int) -> Iterator[Move]:
        """Do the first command of the attempt's queue."""
        attempt = world.d[number]
        code, rest = attempt.queue[0], attempt.queue[1:]
        attempt = attempt._replace(queue=rest)
        if code >= ENTER:
            name = f"destination: {list(State)[code - ENTER].value}"
            yield name, False, put(world, number, attempt._replace(state=code - ENTER))
            return
        command = self._compiled.commands[code]
        name = f"destination: {command if isinstance(command, Write) else command.value}"
        if isinstance(command, Write):
            written = attempt._replace(row=STEPS.index(command.step))
            yield name, False, put(world, number, written)
            if world.faults and not self._setting.only_cuts:
                poorer = world._replace(faults=world.faults - 1, refused=1)
                if command.must:
                    for failed in (attempt, written):
                        stopped = put(poorer, number, failed._replace(queue=()))
                        yield f"{name}: fails", True, self.feed(stopped, number, E[Event.UNWRITTEN])
                else:
                    yield f"{name}: fails", True, put(poorer, number, attempt)
            return
        for done in self._do(command, put(world, number, attempt), number):
            yield name, False, done

    def _do(self, command: Do, world: World, number: int) -> Iterator[World]:
        attempt = world.d[number]
        mine = world.qd_att == number
        if command is Do.LAUNCH:
            if world.qd == Qd.NONE:
                yield self.feed(world._replace(qd=Qd.INCOMING, qd_att=number), number, E[Event.LAUNCHED])
            else:
                yield self.feed(world, number, E[Event.BROKEN])
        elif command is Do.TAKE_GRANT:
            yield self.feed(world, number, E[Event.GRANT])
        elif command in _SAID:
            yield self._answer(world, number, _SAID[command])
        elif command is Do.NO:
            early = attempt.waits == Kind.PREPARE
            yield self._answer(world, number, Kind.NOT_PREPARED if early else Kind.NO)
        elif command is Do.TELL:
            yield self._tell(world, number)
        elif command is Do.KILL:
            if mine:
                truth.may_kill_destination(world, number)
                world = world._replace(qd=Qd.NONE, qd_att=NOTHING, link=_broken(world.link))
                world = put(world, number, attempt._replace(told=0))
            yield world
        elif command is Do.ATTACH:
            yield world._replace(link=Link.OPEN) if _waits_for_the_way(world, number) else world
        elif command is Do.CONT:
            yield put(world, number, attempt._replace(told=1)) if mine else world
        else:
            yield world

    def _answer(self, world: World, number: int, kind: Kind) -> World:
        attempt = world.d[number]
        if attempt.waits == NOTHING:
            return world
        world = put(world, number, attempt._replace(waits=NOTHING))
        if attempt.conn != Link.OPEN or world.s_att != number or world.s_conn != Link.OPEN:
            return world
        return send(world, kind, number)

    def _tell(self, world: World, number: int) -> World:
        attempt = world.d[number]
        world = put(world, number, attempt._replace(asked=0))
        if not attempt.asked:
            return world
        word = self._compiled.words[attempt.state]
        return send(world, Kind.WORD, number, word)

    # -- events ---------------------------------------------------------------------------------------------------

    def calls(self, world: World) -> Iterator[Move]:
        """A call that is on its way comes in."""
        for index, message in enumerate(world.net):
            kind, number, _ = message
            if kind > Kind.LATE_ASK:
                break
            if index and world.net[index - 1] == message:
                continue
            rest = world._replace(net=world.net[:index] + world.net[index + 1 :])
            name = f"destination is called: {Kind(kind).name} {number}"
            for after in self._called(rest, Kind(kind), number):
                yield name, False, after

    def _called(self, world: World, kind: Kind, number: int) -> Iterator[World]:
        if kind == Kind.PREPARE:
            if world.s_att == number and world.s_conn != Link.NONE:
                conn = Link.OPEN if world.s_conn == Link.OPEN else Link.BROKEN
            else:
                conn = Link.BROKEN  # its connection has gone by now: prepared, and given up when that is seen
            padded = (*world.d, *[NEVER] * (number + 1 - len(world.d)))
            begun = NEVER._replace(
                state=D[State.PREPARE], queue=self._compiled.destination_start, conn=conn, waits=Kind.PREPARE
            )
            yield put(world._replace(d=padded), number, begun)
            return
        if kind in _BY_ITSELF:
            heard = kind == Kind.ASK or (kind == Kind.RECALL and bool(world.s_asking) and world.s_att == number)
            yield from self._asked(world, number, heard=heard, off=kind == Kind.RECALL)
            return
        if number >= len(world.d):
            yield self._refused(world, number)  # no such attempt here
            return
        if world.d[number].conn == Link.NONE:
            yield world  # the call has come to the end of its connection
            return
        event = _CALLS[kind]
        mine = number
        if not self._rules.grant_names_attempt:
            number = len(world.d) - 1
        if world.d[number].queue:
            return  # one event at a time
        if world.d[number].state == NOTHING:
            yield self._refused(world, number)
        else:
            if event is Event.GRANT and number == mine:
                world = put(world, number, world.d[number]._replace(waits=Kind.FINISH))
            yield self.feed(world, number, E[event])

    def _refused(self, world: World, number: int) -> World:
        if world.s_att != number or world.s_conn != Link.OPEN:
            return world
        return send(world, Kind.NO, number)

    def _asked(self, world: World, number: int, *, heard: bool, off: bool) -> Iterator[World]:
        if number >= len(world.d) or world.d[number].state == NOTHING:
            word = _GONE if self._rules.unknown_is_gone else _UNKNOWN
            yield send(world, Kind.WORD, number, word) if heard else world
        elif not world.d[number].queue and off:
            told = self.feed(world, number, E[Event.CALLED_OFF])
            yield send(told, Kind.ASK, number) if heard else told
        elif not world.d[number].queue:
            attempt = world.d[number]
            yield self.feed(put(world, number, attempt._replace(asked=int(heard))), number, E[Event.ASKED])

    def events(self, world: World, number: int) -> Iterator[Move]:
        """Feed one of the events that attempt ``number`` can see, other than calls."""
        attempt = world.d[number]
        if attempt.state == NOTHING:
            return
        if attempt.conn == Link.BROKEN:
            gone = tuple(m for m in world.net if m[1] != number or m[0] not in CALLS_OF_THE_DRIVER)
            seen = put(world._replace(net=gone), number, attempt._replace(conn=Link.NONE))
            yield "destination sees the cut", False, self.feed(seen, number, E[Event.CUT])
        if attempt.state == D[State.PREPARE]:
            yield "destination: told nothing", False, self.feed(world, number, E[Event.SILENCE])
        if world.qd_att == number:
            yield from self._told_by_qemu(world, number)

    def _told_by_qemu(self, world: World, number: int) -> Iterator[Move]:
        state, qd = world.d[number].state, world.qd
        if qd == Qd.DEAD:
            seen = world._replace(qd=Qd.NONE, qd_att=NOTHING)
            seen = put(seen, number, seen.d[number]._replace(told=0))
            yield "destination sees QEMU's end", False, self.feed(seen, number, E[Event.QEMU_GONE])
        elif state in _LOADING:
            if qd == Qd.LOADED and state != D[State.PREPARE]:
                yield "QEMU there: loaded", False, self.feed(world, number, E[Event.LOADED])
            if qd == Qd.SWITCHED:
                yield "QEMU there: post-copy", False, self.feed(world, number, E[Event.SWITCHED])
            if qd == Qd.INCOMING and world.link == Link.BROKEN and world.s_att == number:
                # QEMU's one hole: what was on its way when it switched is nowhere any more.
                hole = world.mig in (Mig.SWITCHED, Mig.PAUSED)
                broken = world._replace(died=1) if hole else world
                yield "QEMU there: not loaded", False, self.feed(broken, number, E[Event.BROKEN])
        elif state in _STARTING:
            if world.d[number].told == 2:
                refused = put(world, number, world.d[number]._replace(told=0))
                yield "QEMU there: refuses", False, self.feed(refused, number, E[Event.NOT_CONTINUED])
            elif qd in (Qd.RUNNING, Qd.RUNNING_SWITCHED):
                yield "QEMU there: runs", False, self.feed(world, number, E[Event.CONTINUED])
        elif state == D[State.POSTCOPY] and qd == Qd.RUNNING:
            yield "QEMU there: loaded", False, self.feed(world, number, E[Event.LOADED])


def _waits_for_the_way(world: World, number: int) -> bool:
    return bool(
        (world.mig, world.link, world.s_att, world.qd_att, world.qd)
        == (Mig.ACTIVE, Link.NONE, number, number, Qd.INCOMING)
    )


def _broken(link: int) -> int:
    return Link.BROKEN if link == Link.OPEN else link
