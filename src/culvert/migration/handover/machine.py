"""What both sides' migration machines are made of; pure: no I/O, no clock.

A machine is a table, (state, event) → (next state, commands), and nothing else: the two tables are in
``machine_source`` and ``machine_destination``, what is done after a restart in ``machine_recovery``. A shell executes
the commands and feeds the events, under three rules that the tables are written for:

- One event at a time: the next one is looked up when the commands of the one before are done.
- Commands are done in their order. The new state holds as soon as every ``Write`` of the row that ``must`` be is on
  the disk. One that cannot be written ends the row: nothing behind it is done, the old state still holds, and
  ``UNWRITTEN`` is its next event. Any other ``Write`` that fails is told in the log.
- A command that answers with an event (``ANSWERED``) is the last of its row. A change of state ends a ``WAIT``.

So what must be on the disk before an act stands in front of that act in the same row, where it can be read.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Generic, TypeAlias, TypeVar

S = TypeVar("S", bound=Enum)
E = TypeVar("E", bound=Enum)


class PeerKind(Enum):
    """What is at the other end."""

    CULVERT = "culvert"
    """It has a journal and can be asked what became of a migration."""
    STOCK = "stock"
    """A libvirtd: it can be asked only for the state of a domain."""


class Step(Enum):
    """A row of the journal: the last one of a migration says where it stands. libvirt's phases, and how it ended."""

    BEGIN3 = "begin3"
    """Source: the migration exists; nothing has changed yet."""
    PERFORM3 = "perform3"
    """Source: QEMU may send. The destination cannot start the guest: it has no grant."""
    POSTCOPY = "postcopy"
    """Source: QEMU may switch to post-copy at any moment. Destination: it has switched; its half is needed."""
    PERFORM3_DONE = "perform3_done"
    """Source: the grant may be out. Only the destination knows from here on."""
    CONFIRM3 = "confirm3"
    """Source: the guest runs at the destination; the copy here goes."""
    CONFIRM3_CANCELLED = "confirm3_cancelled"
    """Source: the destination will never run the guest; it goes on here."""
    RETURNED = "returned"
    """Source: QEMU has given up before post-copy was for good: it goes on here, and the destination is to hear it."""
    RESOLVED_THERE = "resolved_there"
    """Source: an operator has said that the guest is the destination's."""
    RESOLVED_HERE = "resolved_here"
    """Source: an operator has said that the guest goes on here."""
    LEFT = "left"
    """Source, over: the guest is the destination's and nothing of it is left here."""
    STAYED = "stayed"
    """Source, over: the guest goes on here."""
    PREPARE = "prepare"
    """Destination: QEMU may wait for the incoming state. Its CPUs have not run."""
    HELD = "held"
    """Destination: QEMU takes in what comes, and the source may switch to post-copy at any moment."""
    FINISH3 = "finish3"
    """Destination: the grant is here, the CPUs may run."""
    ARRIVED = "arrived"
    """Destination, over: the guest is this host's."""
    GONE = "gone"
    """Destination, over: this attempt has never run here and never will. The promise stands for ever."""
    LOST = "lost"
    """Over, either side: QEMU has died with the guest. At the destination: its CPUs may have run before."""


OVER = frozenset({Step.LEFT, Step.STAYED, Step.ARRIVED, Step.GONE, Step.LOST})
"""Steps after which nothing more is done about a migration."""

MAY_HAVE_LEFT = frozenset({Step.POSTCOPY, Step.PERFORM3_DONE, Step.CONFIRM3, Step.RESOLVED_THERE, Step.LEFT})
"""Source: as long as one of these is the last row, the guest may run elsewhere, and is not started with its old host.
The first two must be on the disk before it can run there, so a later row that the disk refuses opens nothing."""


@dataclass(frozen=True, slots=True)
class Write:
    """Put ``step`` into the journal: it is on the disk when the next command is done.

    ``must``: without it the step is not taken. Otherwise it only records what is decided already and holds anyway.
    """

    step: Step
    must: bool = False

    def __str__(self) -> str:
        return f"write {self.step.value}" + (" or stop" if self.must else "")


class Do(Enum):
    """A command. "→" names the events that answer it; those of the source first, then those of the destination."""

    PREPARE = "call prepare"
    """Have the destination make everything ready. → PREPARED, NOT_PREPARED"""
    SEND = "QEMU: migrate"
    """Let QEMU send, and wait until the other end has it all. → SENT, NOT_SENT, SWITCHED"""
    SWITCH = "QEMU: migrate-start-postcopy"
    """Tell QEMU to go over to post-copy when it can. It answers as SEND does."""
    RECOVER = "QEMU: migrate, resume"
    """Let QEMU take up a broken post-copy by a new way, where it is not done already. → BROKEN, some time."""
    STOP_SENDING = "QEMU: migrate_cancel"
    """Make QEMU give up, wait until it has, break the way."""
    GRANT = "grant"
    """Hand out the grant: FINISH3, or Perform's cookie where a client drives. → YES, NO, CUT, CLAIMED"""
    CALL_OFF = "call finish, cancelled"
    """Tell the destination, if it can still be told, that it is off; not waited for."""
    ASK = "ask"
    """Ask the destination, by a new connection, what became of the attempt. → a word, UNREACHABLE"""
    RECALL = "call finish, cancelled; ask"
    """The same after having told it, by the same connection, that it is off. → a word, UNREACHABLE"""
    WAIT = "wait"
    """Wait a while. → TICK"""
    RESUME = "QEMU: cont"
    """Let the guest go on here, if it ran before. → RESUMED, NOT_RESUMED, QEMU_GONE"""
    KILL = "kill QEMU"
    """End QEMU. At the source → KILLED, NOT_KILLED; at the destination done only when it is gone."""
    LAUNCH = "start QEMU"
    """Start QEMU, waiting for the incoming state, and make the ways ready. → LAUNCHED, BROKEN"""
    READY = "answer prepare"
    """Answer prepare: the source may send."""
    TAKE_GRANT = "take the grant"
    """The grant that is here already counts from now on. → GRANT"""
    ATTACH = "attach"
    """Give the data path to QEMU: now the source can switch."""
    AWAIT_LOAD = "await the state"
    """Wait until QEMU has everything. → LOADED, BROKEN, SWITCHED"""
    CONT = "QEMU: cont!"
    """Start the CPUs: the point of no return. → CONTINUED, NOT_CONTINUED, QEMU_GONE"""
    YES = "answer yes"
    """Answer finish: the guest is here. Nothing, if nobody waits for it."""
    NO = "answer no"
    """Answer finish, or prepare, with the reason why not. Nothing, if nobody waits for it."""
    TELL = "tell"
    """Answer who asks what became of the attempt with the word for this state."""
    REFUSE = "refuse"
    """Refuse what was asked for; nothing has changed."""
    REPORT = "report"
    """Show people what it is now, and what is being waited for."""


Command: TypeAlias = Write | Do

ANSWERED = frozenset(
    {
        *(Do.PREPARE, Do.SEND, Do.SWITCH, Do.GRANT, Do.ASK, Do.RECALL, Do.WAIT, Do.RESUME, Do.LAUNCH),
        *(Do.AWAIT_LOAD, Do.CONT),
    }
)
"""Commands that answer with an event, on whichever side they are used (``KILL`` does so at the source only)."""


@dataclass(frozen=True, slots=True)
class Next(Generic[S]):
    """What an event leads to: the state that holds from now on, and what is done in it, in this order."""

    state: S
    commands: tuple[Command, ...] = ()


Table: TypeAlias = Mapping[tuple[S, E], Next[S]]


class MachineError(RuntimeError):
    """An event that cannot occur in this state, by the table; nothing was changed."""


def step(table: Table[S, E], state: S, event: E) -> Next[S]:
    """What ``event`` does in ``state``. Raises ``MachineError`` where the table has no such row."""
    try:
        return table[state, event]
    except KeyError:
        raise MachineError(f"'{event.value}' cannot happen in state '{state.value}'") from None


def row(state: S, events: E | Iterable[E], following: S, *commands: Command) -> dict[tuple[S, E], Next[S]]:
    """Rows of a table: each of ``events`` in ``state`` does the same."""
    every = (events,) if isinstance(events, Enum) else tuple(events)
    return {(state, event): Next(following, commands) for event in every}


def ignored(states: Iterable[S], events: Iterable[E]) -> dict[tuple[S, E], Next[S]]:
    """Rows for events that come late, or again, and mean nothing any more in any of ``states``."""
    every = tuple(events)
    return {(state, event): Next(state) for state in states for event in every}


def join(*parts: Mapping[tuple[S, E], Next[S]]) -> Table[S, E]:
    """One table. Raises ``MachineError`` for two rows of one state and event: a table says a thing once."""
    whole: dict[tuple[S, E], Next[S]] = {}
    for part in parts:
        if twice := whole.keys() & part.keys():
            raise MachineError(f"two rows for {sorted((s.value, e.value) for s, e in twice)}")
        whole.update(part)
    return whole
