"""The source's machine: who may run the guest here, and when it may not; pure.

Until the grant is handed out the guest is the source's, whatever happens. From then on it stands still here until the
destination has said what became of it, or an operator has.
"""

from __future__ import annotations

from enum import Enum

from culvert.migration.handover.machine import Do, Next, PeerKind, Step, Table, Write, ignored, join, row


class State(Enum):
    """Where the source's migration is. libvirt's phases, with what libvirt has no word for between them."""

    BEGIN3 = "begin3"
    """The destination makes itself ready; nothing has changed here."""
    PERFORM3 = "perform3"
    """QEMU sends; the guest is ours."""
    SWITCHING = "switching"
    """QEMU sends and goes over to post-copy when it can; the guest is ours until it has. QEMU from 10.2 on has only
    when the destination's has answered that it has loaded the devices."""
    PERFORM3_DONE = "perform3_done"
    """Everything is there, the guest stands still here, the grant is out."""
    ASKING = "asking"
    """The answer is lost or in doubt: the guest stands still here while the destination is asked."""
    UNDECIDED = "undecided"
    """The destination cannot tell: the guest stands still here until an operator decides, or it can."""
    POSTCOPY = "postcopy"
    """Switched: the guest can only run there, and needs the rest of its memory from here."""
    POSTCOPY_FAILED = "postcopy_failed"
    """Switched, and the way is broken or the answer lost: what is here is kept."""
    CONFIRM3 = "confirm3"
    """The guest is the destination's: the copy here goes."""
    CONFIRM3_CANCELLED = "confirm3_cancelled"
    """The guest stays: it goes on here."""
    RETURNED = "returned"
    """The guest goes on here, but may have been on its way in post-copy: the destination, which could not give it up
    by itself, is told so until it has."""
    LEFT = "left"
    """Over: the guest is the destination's."""
    STAYED = "stayed"
    """Over: the guest is here."""
    LOST = "lost"
    """Over: QEMU has died here, and the guest with it."""


class Event(Enum):
    """What can happen to the source."""

    PREPARED = "prepared"
    """The destination is ready."""
    NOT_PREPARED = "not prepared"
    """It has refused, or its answer is lost."""
    SENT = "sent"
    """QEMU has sent everything and stands still; the other end has it all."""
    NOT_SENT = "not sent"
    """QEMU or the way has given up before that; the guest can go on here."""
    SWITCH = "switch asked"
    """Somebody wants post-copy."""
    SWITCHED = "switched"
    """QEMU is in post-copy."""
    HUNG = "QEMU does not answer"
    """QEMU lives and says nothing any more, and has not said that it is in post-copy."""
    BROKEN = "post-copy broken"
    """QEMU has paused its post-copy: the way broke."""
    RECOVER = "recover asked"
    """Somebody wants a broken post-copy taken up again, and there is a new way."""
    YES = "finish: yes"
    """The destination has answered that the guest runs there."""
    NO = "finish: no"
    """The destination has answered with an error."""
    CLAIMED = "confirmed by the client"
    """The client that drives the migration says how it ended. Its word alone decides nothing."""
    CUT = "connection lost"
    """The connection that drives the migration is gone, and every answer with it."""
    DEADLINE = "deadline passed"
    """It has taken too long."""
    CANCEL = "cancel asked"
    """Somebody wants it no longer."""
    WORD_RUNNING = "word: running"
    """Asked, the destination says: the guest is mine."""
    WORD_POSTCOPY = "word: post-copy"
    """Asked, it says: I hold a part of it that nobody else has."""
    WORD_PENDING = "word: pending"
    """Asked, it says: being decided."""
    WORD_GONE = "word: gone"
    """Asked, it says: it has never run here and never will."""
    WORD_LOST = "word: lost"
    """Asked, it says: its CPUs may have run here, and its QEMU has died."""
    WORD_UNKNOWN = "word: unknown"
    """Asked, it says that it cannot tell."""
    UNREACHABLE = "unreachable"
    """It could not be asked."""
    TICK = "time to try again"
    """A wait is over."""
    RESOLVED_HERE = "resolved: running here"
    """An operator decides that the guest goes on here."""
    RESOLVED_THERE = "resolved: running there"
    """An operator decides that the guest is the destination's."""
    RESUMED = "resumed"
    """The guest goes on here (or is paused, as it was before)."""
    NOT_RESUMED = "not resumed"
    """QEMU has refused, for now."""
    KILLED = "killed"
    """QEMU is gone here, as was wanted."""
    NOT_KILLED = "not killed"
    """It would not end, for now."""
    QEMU_GONE = "QEMU has ended"
    """QEMU has ended here by itself."""
    UNWRITTEN = "not written"
    """The journal has not taken a row that must be there."""


START = Next(State.BEGIN3, (Write(Step.BEGIN3, must=True), Do.PREPARE))
"""How a migration begins."""

FINAL = frozenset({State.LEFT, State.STAYED, State.LOST})

_S, _E = State, Event
_WORDS = (
    *(_E.WORD_RUNNING, _E.WORD_POSTCOPY, _E.WORD_PENDING, _E.WORD_GONE, _E.WORD_LOST, _E.WORD_UNKNOWN),
    _E.UNREACHABLE,
)
_OFF = (_E.CUT, _E.DEADLINE, _E.CANCEL)
_RESOLVED = (_E.RESOLVED_HERE, _E.RESOLVED_THERE)
_STAYS = (Write(Step.CONFIRM3_CANCELLED), Do.RESUME)
_BACK = (Do.STOP_SENDING, Do.RESUME)
"""A QEMU that was in post-copy has not given its migration up yet."""
_LEAVES = (Write(Step.CONFIRM3), Do.KILL)


def _waiting(state: State) -> Table[State, Event]:
    """The guest stands still here and only a word moves it: the same in ASKING and UNDECIDED."""
    return join(
        row(state, (_E.WORD_RUNNING, _E.YES), _S.CONFIRM3, *_LEAVES),
        row(state, _E.WORD_GONE, _S.CONFIRM3_CANCELLED, Do.STOP_SENDING, *_STAYS),
        row(state, (_E.WORD_PENDING, _E.WORD_POSTCOPY, _E.UNREACHABLE), state, Do.REPORT, Do.WAIT),
        row(state, (_E.WORD_LOST, _E.WORD_UNKNOWN), _S.UNDECIDED, Do.REPORT, Do.WAIT),
        row(state, _E.TICK, state, Do.ASK),
        row(state, _E.RESOLVED_HERE, _S.CONFIRM3_CANCELLED, Write(Step.RESOLVED_HERE, must=True), *_BACK),
        row(state, _E.RESOLVED_THERE, _S.CONFIRM3, Write(Step.RESOLVED_THERE, must=True), Do.KILL),
        row(state, (_E.CANCEL, _E.SWITCH, _E.RECOVER, _E.UNWRITTEN), state, Do.REFUSE),
        # What became of the guest is to be known even when there is nothing left here to kill or to resume.
        ignored([state], (_E.NO, _E.CUT, _E.DEADLINE, _E.CLAIMED, _E.QEMU_GONE)),
    )


def table(peer: PeerKind = PeerKind.CULVERT) -> Table[State, Event]:
    """The source's table towards ``peer``. They differ in one row: what an error in the place of a yes is worth."""
    # A libvirtd that answers finish with an error has killed its QEMU (qemuMigrationDstFinish). From a culvert an
    # error may come from anywhere on the way, and asking costs nothing.
    no = {
        PeerKind.CULVERT: row(_S.PERFORM3_DONE, _E.NO, _S.ASKING, Do.REPORT, Do.ASK),
        PeerKind.STOCK: row(_S.PERFORM3_DONE, _E.NO, _S.CONFIRM3_CANCELLED, *_STAYS),
    }[peer]
    # Nor can a libvirtd be told by the attempt's name that it is off.
    back = {
        PeerKind.CULVERT: join(
            row(_S.SWITCHING, _E.NOT_SENT, _S.RETURNED, Do.CALL_OFF, Write(Step.RETURNED), Do.RESUME), _returned()
        ),
        PeerKind.STOCK: join(
            row(_S.SWITCHING, _E.NOT_SENT, _S.CONFIRM3_CANCELLED, Do.CALL_OFF, *_STAYS), _returned()
        ),
    }[peer]
    return join(_before_the_grant(), no, back, _after_the_grant(), _postcopy(), _ending())


def _before_the_grant() -> Table[State, Event]:
    stays, goes_on = (Do.CALL_OFF, Write(Step.STAYED), Do.REPORT), (Do.CALL_OFF, *_STAYS)
    lost = (Do.CALL_OFF, Write(Step.LOST), Do.REPORT)
    refused = (_E.RECOVER, *_RESOLVED)
    return join(
        row(_S.BEGIN3, _E.PREPARED, _S.PERFORM3, Write(Step.PERFORM3, must=True), Do.SEND),
        row(_S.BEGIN3, (_E.NOT_PREPARED, *_OFF, _E.CLAIMED, _E.UNWRITTEN), _S.STAYED, *stays),
        row(_S.BEGIN3, _E.QEMU_GONE, _S.LOST, *lost),
        row(_S.BEGIN3, (_E.SWITCH, *refused), _S.BEGIN3, Do.REFUSE),
        row(_S.PERFORM3, _E.SENT, _S.PERFORM3_DONE, Write(Step.PERFORM3_DONE, must=True), Do.GRANT),
        row(_S.PERFORM3, (_E.NOT_SENT, *_OFF, _E.UNWRITTEN), _S.CONFIRM3_CANCELLED, Do.STOP_SENDING, *goes_on),
        row(_S.PERFORM3, _E.SWITCH, _S.SWITCHING, Write(Step.POSTCOPY, must=True), Do.SWITCH),
        row(_S.PERFORM3, _E.QEMU_GONE, _S.LOST, *lost),
        row(_S.PERFORM3, (_E.CLAIMED, *refused), _S.PERFORM3, Do.REFUSE),
        # Only QEMU knows whether it has switched already: nothing may cancel it from here on, and it says itself how
        # its pre-copy ended.
        row(_S.SWITCHING, _E.SWITCHED, _S.POSTCOPY, Do.GRANT),
        row(_S.SWITCHING, _E.SENT, _S.PERFORM3_DONE, Write(Step.PERFORM3_DONE, must=True), Do.GRANT),
        row(_S.SWITCHING, _E.UNWRITTEN, _S.CONFIRM3_CANCELLED, *goes_on),
        row(_S.SWITCHING, _E.QEMU_GONE, _S.LOST, *lost),
        row(_S.SWITCHING, (_E.CANCEL, _E.SWITCH, _E.CLAIMED, *refused), _S.SWITCHING, Do.REFUSE),
        ignored([_S.SWITCHING], (_E.CUT, _E.DEADLINE)),
        # It may have switched, and it may not. What the destination says is told; nobody acts on it before QEMU does.
        row(_S.SWITCHING, (_E.HUNG, _E.TICK), _S.SWITCHING, Do.REPORT, Do.ASK),
        row(_S.SWITCHING, _WORDS, _S.SWITCHING, Do.REPORT, Do.WAIT),
        ignored([_S.PERFORM3_DONE, _S.POSTCOPY, _S.POSTCOPY_FAILED, _S.RETURNED], (_E.HUNG,)),
        ignored([_S.ASKING, _S.UNDECIDED, _S.CONFIRM3, _S.CONFIRM3_CANCELLED], (_E.HUNG,)),
    )


def _returned() -> Table[State, Event]:
    """The guest is ours, and goes on first of all. What QEMU had sent of it may wait there, and could be needed for
    all that is known there: so it is called off until the destination says that it is gone."""
    here = _S.RETURNED
    return join(
        row(here, (_E.RESUMED, _E.QEMU_GONE), here, Do.RECALL),
        row(here, _E.NOT_RESUMED, here, Do.REPORT, Do.WAIT),
        row(here, (_E.WORD_PENDING, _E.WORD_POSTCOPY, _E.WORD_RUNNING, _E.UNREACHABLE), here, Do.REPORT, Do.WAIT),
        row(here, _E.TICK, here, Do.RESUME),
        row(here, (_E.WORD_GONE, _E.WORD_LOST, _E.WORD_UNKNOWN), _S.STAYED, Write(Step.STAYED), Do.REPORT),
        # What is left there is then for who has said so.
        row(here, _E.RESOLVED_HERE, _S.STAYED, Write(Step.STAYED), Do.REPORT),
        row(here, (_E.CANCEL, _E.SWITCH, _E.RECOVER, _E.RESOLVED_THERE), here, Do.REFUSE),
        ignored(
            [here], (_E.CUT, _E.DEADLINE, _E.CLAIMED, _E.YES, _E.NO, _E.SENT, _E.NOT_SENT, _E.SWITCHED, _E.BROKEN)
        ),
    )


def _after_the_grant() -> Table[State, Event]:
    done = _S.PERFORM3_DONE
    return join(
        row(done, _E.YES, _S.CONFIRM3, *_LEAVES),
        row(done, (_E.CUT, _E.DEADLINE), _S.ASKING, Do.REPORT, Do.ASK),
        # So ends every migration that a client drives: nobody need look unless the answer does not come.
        row(done, _E.CLAIMED, _S.ASKING, Do.ASK),
        row(done, (_E.CANCEL, _E.SWITCH, _E.RECOVER, *_RESOLVED), done, Do.REFUSE),
        ignored([done], (_E.QEMU_GONE,)),
        _waiting(_S.ASKING),
        _waiting(_S.UNDECIDED),
    )


def _postcopy() -> Table[State, Event]:
    """The guest can run only there; here it goes on only if the destination promises that it never ran there."""
    on, broken = _S.POSTCOPY, _S.POSTCOPY_FAILED
    words = [word for word in _WORDS if word not in (_E.WORD_RUNNING, _E.WORD_GONE, _E.WORD_LOST)]
    late = (_E.SENT, _E.NO, _E.CUT, _E.DEADLINE, _E.CLAIMED, _E.QEMU_GONE)
    return join(
        row(on, (_E.YES, _E.WORD_RUNNING), _S.CONFIRM3, *_LEAVES),
        row(on, (_E.NO, _E.CUT, _E.DEADLINE, _E.BROKEN, _E.QEMU_GONE), broken, Do.REPORT, Do.ASK),
        # As above. Any other word than that it runs there is looked into as after a cut.
        row(on, _E.CLAIMED, on, Do.ASK),
        row(on, (*words, _E.WORD_GONE, _E.WORD_LOST), broken, Do.REPORT, Do.WAIT),
        row(on, (_E.CANCEL, _E.SWITCH, _E.RECOVER, *_RESOLVED), on, Do.REFUSE),
        ignored([on], (_E.SENT,)),
        row(broken, (_E.YES, _E.WORD_RUNNING), _S.CONFIRM3, *_LEAVES),
        row(broken, _E.WORD_GONE, _S.CONFIRM3_CANCELLED, Do.STOP_SENDING, *_STAYS),
        # One of the two halves is gone: what the other one is worth, only a person can say.
        row(broken, _E.WORD_LOST, _S.UNDECIDED, Do.REPORT, Do.WAIT),
        row(broken, words, broken, Do.REPORT, Do.WAIT),
        row(broken, _E.TICK, broken, Do.ASK),
        # The attempt is granted again, by a new connection: the answer to the first grant is lost.
        row(broken, _E.RECOVER, on, Do.RECOVER, Do.GRANT),
        row(broken, _E.RESOLVED_THERE, _S.CONFIRM3, Write(Step.RESOLVED_THERE, must=True), Do.KILL),
        row(broken, (_E.CANCEL, _E.SWITCH, _E.RESOLVED_HERE, _E.UNWRITTEN), broken, Do.REFUSE),
        ignored([broken], (_E.BROKEN, *late)),
    )


def _ending() -> Table[State, Event]:
    there, here = _S.CONFIRM3, _S.CONFIRM3_CANCELLED
    late = (*_OFF, *_WORDS, _E.YES, _E.NO, _E.CLAIMED, _E.SENT, _E.NOT_SENT, _E.SWITCHED, _E.BROKEN)
    return join(
        row(there, (_E.KILLED, _E.QEMU_GONE), _S.LEFT, Write(Step.LEFT), Do.REPORT),
        row(there, _E.NOT_KILLED, there, Do.REPORT, Do.WAIT),
        row(there, _E.TICK, there, Do.KILL),
        row(here, _E.RESUMED, _S.STAYED, Write(Step.STAYED), Do.REPORT),
        row(here, _E.NOT_RESUMED, here, Do.REPORT, Do.WAIT),
        row(here, _E.TICK, here, Do.RESUME),
        row(here, _E.QEMU_GONE, _S.LOST, Write(Step.LOST), Do.REPORT),
        row(there, (_E.SWITCH, _E.RECOVER, *_RESOLVED), there, Do.REFUSE),
        row(here, (_E.SWITCH, _E.RECOVER, *_RESOLVED), here, Do.REFUSE),
        ignored([there, here], late),
        ignored(FINAL, set(_E) - {_E.UNWRITTEN}),
    )
