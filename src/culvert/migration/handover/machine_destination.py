"""The destination's machine: when the guest's CPUs may start here, and what may be promised about it; pure.

They start in one row only: the grant that names this attempt is here, the whole state is here, and the journal says
so. A promise that they never will stands in the journal before anybody is told.
"""

from __future__ import annotations

from enum import Enum

from culvert.migration.handover.machine import Do, Next, Step, Table, Write, ignored, join, row


class State(Enum):
    """Where the destination's migration is. libvirt's phases, with what libvirt has no word for between them."""

    PREPARE = "prepare"
    """QEMU is made ready, and takes in what comes. The guest is the source's."""
    HELD = "held"
    """As PREPARE, where post-copy is allowed and the data path attached: the source may switch at any moment and
    could not take the guest back, so it is not given up here. What comes by the data path decides, or its end."""
    FINISH3 = "finish3"
    """The grant is here, and perhaps not yet the last of the state."""
    STARTING = "starting"
    """The CPUs may be running: QEMU has been told to start them and has not answered."""
    SWITCHED = "switched"
    """Post-copy, not granted yet: the source cannot take the guest back, so it is not given up by itself."""
    STARTING_POSTCOPY = "starting_postcopy"
    """The same as STARTING, in post-copy."""
    POSTCOPY = "postcopy"
    """The guest runs here and fetches the rest of its memory."""
    ARRIVED = "arrived"
    """Over: the guest is this host's."""
    GONE = "gone"
    """Over: it has never run here and never will."""
    LOST = "lost"
    """Over: its CPUs may have run here, and its QEMU has died."""


class Event(Enum):
    """What can happen to the destination."""

    LAUNCHED = "launched"
    """QEMU waits for the incoming state and the ways are ready."""
    ATTACHED = "data path comes, post-copy allowed"
    """A data path is to be given to QEMU, and post-copy is allowed. (Where it is not, no event is needed.)"""
    GRANT = "grant"
    """FINISH3 with the grant that opens this attempt."""
    STALE = "stale grant"
    """FINISH3 with another attempt's grant, or none."""
    CALLED_OFF = "called off"
    """FINISH3, cancelled: the source says that it is off."""
    ASKED = "asked"
    """The source asks what became of the attempt."""
    CUT = "connection lost"
    """The connection that prepared the migration is gone."""
    SILENCE = "told nothing"
    """Nothing has been heard for the stated time."""
    LOADED = "loaded"
    """QEMU has the whole state."""
    BROKEN = "not loaded"
    """QEMU cannot start or cannot load what came, or the way has broken before everything was there."""
    SWITCHED = "switched"
    """QEMU is in post-copy."""
    CONTINUED = "CPUs started"
    """QEMU runs the guest (or it stays paused, where that was asked for)."""
    NOT_CONTINUED = "CPUs not started"
    """QEMU has refused to start them, and has not."""
    QEMU_GONE = "QEMU has ended"
    """QEMU has ended here by itself."""
    UNWRITTEN = "not written"
    """The journal has not taken a row that must be there."""


START = Next(State.PREPARE, (Write(Step.PREPARE, must=True), Do.LAUNCH))
"""How an attempt begins."""

FINAL = frozenset({State.ARRIVED, State.GONE, State.LOST})


class Word(Enum):
    """What the destination says of an attempt when it is asked."""

    RUNNING = "running"
    POSTCOPY = "postcopy"
    PENDING = "pending"
    GONE = "gone"
    LOST = "lost"
    UNKNOWN = "unknown"


WORDS: dict[State, Word] = {
    State.PREPARE: Word.PENDING,
    State.HELD: Word.PENDING,
    State.FINISH3: Word.PENDING,
    State.STARTING: Word.PENDING,
    State.SWITCHED: Word.POSTCOPY,
    State.STARTING_POSTCOPY: Word.POSTCOPY,
    State.POSTCOPY: Word.POSTCOPY,
    State.ARRIVED: Word.RUNNING,
    State.GONE: Word.GONE,
    State.LOST: Word.LOST,
}
"""What ``TELL`` says in each state; ``UNKNOWN`` is for an attempt that the journal does not have."""

_S, _E = State, Event
_PROMISE = (Write(Step.GONE), Do.KILL)


def table() -> Table[State, Event]:
    """The destination's table."""
    return join(_prepared(), _granted(), _postcopy(), _over())


def _prepared() -> Table[State, Event]:
    here = _S.PREPARE
    return join(
        row(here, _E.LAUNCHED, here, Do.READY),
        row(here, _E.GRANT, _S.FINISH3, Do.AWAIT_LOAD),
        row(here, _E.STALE, here, Do.REFUSE),
        row(here, (_E.CALLED_OFF, _E.BROKEN, _E.QEMU_GONE, _E.UNWRITTEN), _S.GONE, *_PROMISE, Do.NO),
        row(here, (_E.CUT, _E.SILENCE), _S.GONE, *_PROMISE),
        # Who asks has no answer under way any more: it is settled here and now, so that a late grant is worthless.
        row(here, _E.ASKED, _S.GONE, *_PROMISE, Do.TELL),
        row(here, _E.ATTACHED, _S.HELD, Write(Step.HELD, must=True), Do.ATTACH),
        ignored([here], (_E.LOADED,)),
        _held(_S.HELD),
    )


def _held(held: State) -> Table[State, Event]:
    return join(
        row(held, _E.SWITCHED, _S.SWITCHED, Write(Step.POSTCOPY)),
        # Everything came by pre-copy: the source cannot switch any more.
        row(held, _E.LOADED, _S.PREPARE),
        row(held, _E.GRANT, _S.FINISH3, Do.AWAIT_LOAD),
        row(held, (_E.CALLED_OFF, _E.BROKEN, _E.QEMU_GONE), _S.GONE, *_PROMISE, Do.NO),
        row(held, _E.ASKED, held, Do.TELL),
        row(held, (_E.STALE, _E.ATTACHED), held, Do.REFUSE),
        row(held, (_E.CUT, _E.SILENCE), held, Do.REPORT),
    )


def _granted() -> Table[State, Event]:
    loading, starting = _S.FINISH3, _S.STARTING
    meanwhile = (_E.CUT, _E.SILENCE)
    return join(
        # The point of no return.
        row(loading, _E.LOADED, starting, Write(Step.FINISH3, must=True), Do.CONT),
        # From here on this half is needed, whatever the journal will say to the grant.
        row(loading, _E.SWITCHED, _S.SWITCHED, Write(Step.POSTCOPY), Do.TAKE_GRANT),
        row(loading, (_E.BROKEN, _E.QEMU_GONE, _E.UNWRITTEN), _S.GONE, *_PROMISE, Do.NO),
        row(starting, _E.CONTINUED, _S.ARRIVED, Write(Step.ARRIVED), Do.YES),
        row(starting, _E.NOT_CONTINUED, _S.GONE, *_PROMISE, Do.NO),
        row(starting, _E.QEMU_GONE, _S.LOST, Write(Step.LOST), Do.NO),
        ignored([starting], (_E.LOADED,)),
        *(
            join(
                row(state, _E.ASKED, state, Do.TELL),
                row(state, (_E.STALE, _E.CALLED_OFF, _E.GRANT, _E.ATTACHED), state, Do.REFUSE),
                ignored([state], meanwhile),
            )
            for state in (loading, starting)
        ),
    )


def _postcopy() -> Table[State, Event]:
    switched, starting, on = _S.SWITCHED, _S.STARTING_POSTCOPY, _S.POSTCOPY
    meanwhile = (_E.CUT, _E.SILENCE, _E.BROKEN)
    return join(
        row(switched, _E.GRANT, starting, Write(Step.FINISH3, must=True), Do.CONT),
        row(switched, _E.UNWRITTEN, switched, Do.NO),
        row(switched, (_E.CALLED_OFF, _E.QEMU_GONE), _S.GONE, *_PROMISE, Do.NO),
        row(switched, meanwhile, switched, Do.REPORT),
        row(starting, _E.CONTINUED, on, Do.AWAIT_LOAD),
        row(starting, _E.NOT_CONTINUED, switched, Write(Step.POSTCOPY), Do.NO),
        row(starting, _E.QEMU_GONE, _S.LOST, Write(Step.LOST), Do.NO),
        row(on, _E.LOADED, _S.ARRIVED, Write(Step.ARRIVED), Do.YES),
        row(on, _E.QEMU_GONE, _S.LOST, Write(Step.LOST), Do.NO),
        row(on, meanwhile, on, Do.REPORT),
        # The connection of the first grant is gone: this one hears how it ends.
        row(on, _E.GRANT, on, Do.AWAIT_LOAD),
        row(on, _E.CALLED_OFF, on, Do.REFUSE),
        row(starting, (_E.GRANT, _E.CALLED_OFF), starting, Do.REFUSE),
        ignored([starting], meanwhile),
        ignored([switched, starting], (_E.LOADED, _E.SWITCHED)),
        ignored([on], (_E.SWITCHED,)),
        *(
            join(row(state, _E.ASKED, state, Do.TELL), row(state, (_E.STALE, _E.ATTACHED), state, Do.REFUSE))
            for state in (switched, starting, on)
        ),
    )


def _over() -> Table[State, Event]:
    late = set(_E) - {_E.ASKED, _E.GRANT, _E.STALE, _E.CALLED_OFF, _E.ATTACHED, _E.UNWRITTEN}
    return join(
        *(row(state, _E.ASKED, state, Do.TELL) for state in FINAL),
        *(row(state, _E.ATTACHED, state, Do.REFUSE) for state in FINAL),
        row(_S.ARRIVED, _E.GRANT, _S.ARRIVED, Do.YES),
        row(_S.ARRIVED, (_E.STALE, _E.CALLED_OFF), _S.ARRIVED, Do.REFUSE),
        *(row(state, (_E.GRANT, _E.STALE, _E.CALLED_OFF), state, Do.NO) for state in (_S.GONE, _S.LOST)),
        ignored(FINAL, late),
    )
