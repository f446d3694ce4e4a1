"""One moment of a hand-over, as a tuple that can be hashed, and the machines' tables in small numbers for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, NamedTuple

from culvert.migration.handover import machine_destination as there
from culvert.migration.handover import machine_recovery as recovery
from culvert.migration.handover import machine_source as here
from culvert.migration.handover.machine import MAY_HAVE_LEFT, Command, Do, Next, PeerKind, Step, Write

STEPS = list(Step)
S_STATES, S_EVENTS = list(here.State), list(here.Event)
D_STATES, D_EVENTS = list(there.State), list(there.Event)
ENTER = 1000  # in a queue: this number + a state, which holds from here on
NOTHING = -1


class Cpu(IntEnum):
    """The source's QEMU: its CPUs."""

    RUN = 0
    STOP = 1
    DEAD = 2


class Mig(IntEnum):
    """The source's QEMU: its migration."""

    NONE = 0
    ACTIVE = 1
    SWITCHING = 2  # active, and told to switch when it can
    SWITCHED = 3
    PAUSED = 4  # post-copy whose way is broken
    DONE = 5
    FAILED = 6
    DONE_SWITCHED = 7  # post-copy is complete
    DEVICE = 8  # has sent what is not memory, and waits for the destination's QEMU to have loaded it


class Qd(IntEnum):
    """The destination's QEMU."""

    NONE = 0
    INCOMING = 1
    LOADED = 2
    SWITCHED = 3  # post-copy, CPUs not started
    RUNNING_SWITCHED = 4
    RUNNING = 5
    DEAD = 6  # has died by itself, and the daemon has not seen it


class Link(IntEnum):
    """A connection as one side sees it, or the data path."""

    NONE = 0
    OPEN = 1
    BROKEN = 2  # and not seen yet


class Kind(IntEnum):
    """Messages: calls of the source, then answers of the destination."""

    PREPARE = 0
    FINISH = 1
    CALL_OFF = 2
    ATTACH = 3
    ASK = 4
    RECALL = 5  # FINISH3, cancelled, by a connection of its own; then asks
    LATE_ASK = 6  # who asked is dead: nobody hears the answer
    PREPARED = 7
    NOT_PREPARED = 8
    YES = 9
    NO = 10
    WORD = 11  # + a Word's index


CALLS_OF_THE_DRIVER = frozenset({Kind.PREPARE, Kind.FINISH, Kind.CALL_OFF, Kind.ATTACH})
ANSWERS_TO_THE_DRIVER = frozenset({Kind.PREPARED, Kind.NOT_PREPARED, Kind.YES, Kind.NO})


class Attempt(NamedTuple):
    """One attempt at the destination."""

    state: int
    queue: tuple[int, ...]
    row: int
    conn: int  # Link: the connection that prepared it
    started: int  # truth: 1 when its CPUs have run
    asked: int  # 1: the answer to TELL has somebody who hears it
    told: int  # 1: the command to start the CPUs is on its way in QEMU's monitor; 2: QEMU has refused it
    waits: int  # the Kind of the call that waits for an answer, or NOTHING


class World(NamedTuple):
    """Everything that there is. ``net``: (Kind, attempt, extra) in flight, sorted; faults, wishes: left to spend."""

    s_up: int
    s: int  # State, or NOTHING
    s_queue: tuple[int, ...]
    s_row: int
    s_att: int
    s_conn: int
    s_asking: int  # an answer to ASK is awaited
    s_timer: int
    cpu: int
    mig: int
    link: int
    d_up: int
    d: tuple[Attempt, ...]
    qd: int
    qd_att: int
    net: tuple[tuple[int, int, int], ...]
    fresh: int  # truth: the attempt whose state is the newest there is, or NOTHING: the source's QEMU has run since
    whole: int  # truth: the destination's QEMU has had everything
    died: int  # truth: a QEMU has died by itself
    refused: int  # truth: the destination's disk has refused a row
    s_seen: int  # the end of the source's QEMU is known to its machine
    resolved: int  # truth: an operator has decided: 1 here, 2 there
    boot: int  # truth: 1 when the source's host has lost its power, 2 when it has started the guest anew since
    faults: int
    wishes: int


@dataclass(frozen=True)
class Setting:
    """What is played."""

    faults: int = 1
    attempts: int = 1
    wishes: int = 1
    """How often somebody cancels, or the deadline passes, or post-copy is asked for."""
    postcopy: bool = False
    answered: bool = False
    """The source's QEMU is in post-copy only when the destination's has answered, as from 10.2 on."""
    direct: bool = False
    """QEMU has the data path itself: it outlives the source's daemon, and breaks on its own."""
    client: bool = False
    """A client drives the steps."""
    only_cuts: bool = False
    """Nothing else breaks than the connection between the daemons."""
    stock: bool = False
    """The destination is a libvirtd."""
    power: bool = False
    """The source's host loses its power instead of its daemon, and the guest starts with it."""


@dataclass
class Rules:
    """What the machines do, and what stands around them; a seeded defect is a change in here."""

    source_start: Next[here.State] = here.START
    source: dict[tuple[here.State, here.Event], Next[here.State]] = field(default_factory=lambda: dict(here.table()))
    destination_start: Next[there.State] = there.START
    destination: dict[tuple[there.State, there.Event], Next[there.State]] = field(
        default_factory=lambda: dict(there.table())
    )
    source_recovery: dict[tuple[Step, recovery.Qemu], Next[here.State]] = field(
        default_factory=lambda: dict(recovery.SOURCE)
    )
    destination_recovery: dict[tuple[Step, recovery.Qemu], Next[there.State]] = field(
        default_factory=lambda: dict(recovery.DESTINATION)
    )
    words: dict[there.State, there.Word] = field(default_factory=lambda: dict(there.WORDS))
    grant_names_attempt: bool = True
    unknown_is_gone: bool = False
    """A source that takes "I have no such attempt" for a promise."""
    may_have_left: frozenset[Step] = MAY_HAVE_LEFT
    """The source's last rows with which the guest is not started with the host."""
    keeps_journal: bool = True
    """A destination whose journal outlives it."""
    waits_for_the_answer: bool = True
    """A source that tells ``postcopy-device`` from post-copy."""


def stock_rules() -> Rules:
    """A culvert source and a libvirtd destination: it keeps no promise in a journal and cannot be asked for one."""
    rules = Rules(source=dict(here.table(PeerKind.STOCK)))
    state, event, word = there.State, there.Event, there.Word
    # GET_STATE settles nothing, and a domain that is not there says nothing about why.
    rules.destination[state.PREPARE, event.ASKED] = Next(state.PREPARE, (Do.TELL,))
    rules.words |= {state.GONE: word.UNKNOWN, state.LOST: word.UNKNOWN}
    # Autodestroy with the connection, also while finish waits for the last of the state.
    rules.destination[state.FINISH3, event.CUT] = rules.destination[state.PREPARE, event.CUT]
    return rules


class Compiled:
    """The rules in small numbers: (state, event) → queue, and the commands that a number in a queue stands for."""

    def __init__(self, rules: Rules) -> None:
        self.commands: list[Command] = [*Do, *(Write(step, must) for step in Step for must in (False, True))]
        self._codes = {command: code for code, command in enumerate(self.commands)}
        self.source = self._table(rules.source, S_STATES, S_EVENTS)
        self.destination = self._table(rules.destination, D_STATES, D_EVENTS)
        self.source_start = self.queue(rules.source_start, S_STATES)
        self.destination_start = self.queue(rules.destination_start, D_STATES)
        self.source_recovery = self._recovery(rules.source_recovery, S_STATES)
        self.destination_recovery = self._recovery(rules.destination_recovery, D_STATES)
        self.words = {D_STATES.index(state): list(there.Word).index(word) for state, word in rules.words.items()}

    def queue(self, following: Next[Any], states: list[Any]) -> tuple[int, ...]:
        """A row's commands with the place where the new state begins to hold: behind the last row that must be."""
        commands = following.commands
        must = [n for n, command in enumerate(commands) if isinstance(command, Write) and command.must]
        split = must[-1] + 1 if must else 0
        codes = [self._codes[command] for command in commands]
        return (*codes[:split], ENTER + states.index(following.state), *codes[split:])

    def _table(
        self, table: Mapping[tuple[Any, Any], Next[Any]], states: list[Any], events: list[Any]
    ) -> dict[tuple[int, int], tuple[int, ...]]:
        return {
            (states.index(state), events.index(event)): self.queue(following, states)
            for (state, event), following in table.items()
        }

    def _recovery(
        self, table: Mapping[tuple[Step, recovery.Qemu], Next[Any]], states: list[Any]
    ) -> dict[tuple[int, recovery.Qemu], tuple[int, ...]]:
        return {(STEPS.index(step), says): self.queue(following, states) for (step, says), following in table.items()}


def send(world: World, kind: Kind, attempt: int, extra: int = 0) -> World:
    """One more message in flight. The same twice is once: there is one call of a kind at a time."""
    message = (kind, attempt, extra)
    return world if message in world.net else world._replace(net=tuple(sorted((*world.net, message))))
