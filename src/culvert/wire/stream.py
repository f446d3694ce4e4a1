"""One stream: its two halves as state tables.

Facts: libvirt docs/kbase/internals/rpc "Data streams", rpc/virnetclientstream.c, remote/remote_daemon_stream.c.

A stream has no number of its own: it is the (program, procedure, serial) of the call that opened it, from that call's
successful reply on. What a packet means depends on its status and on who sends it:

========  ==================================  ==========================================
status    client → server                     server → client
========  ==================================  ==========================================
CONTINUE  data; empty: nothing                data; empty: end of data
OK        finish: I have sent all I want      confirms a finish or an abort
ERROR     abort                               the stream has failed (with the error)
========  ==================================  ==========================================

``STEPS`` lists, for each role and half, every legal (state, act) → state. An act concerns a half when the half's
table names it; it is legal when every half it concerns has a step for it. An illegal act changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Role(Enum):
    """Which end of a connection we are."""

    CLIENT = "client"
    SERVER = "server"


class Act(Enum):
    """A stream packet, sent or received, named by its status (END: CONTINUE with nothing in it)."""

    SEND_DATA = "send data"
    SEND_END = "send end of data"
    SEND_OK = "send ok"
    SEND_ERROR = "send error"
    RECEIVE_DATA = "receive data"
    RECEIVE_END = "receive end of data"
    RECEIVE_OK = "receive ok"
    RECEIVE_ERROR = "receive error"


class HalfState(Enum):
    """Where a half is."""

    OPEN = "open"  # bytes may pass
    ENDED = "ended"  # the server has said end of data
    FINISHING = "finishing"  # the client has said finish; the server has not confirmed
    ABORTING = "aborting"  # the client has said abort; the server has not confirmed
    CLOSED = "closed"  # nothing more will pass


Table = dict[tuple[HalfState, Act], HalfState]

_OPEN, _ENDED, _FINISHING, _ABORTING, _CLOSED = HalfState

CLIENT_SEND: Table = {
    (_OPEN, Act.SEND_DATA): _OPEN,
    (_OPEN, Act.SEND_OK): _FINISHING,
    (_OPEN, Act.SEND_ERROR): _ABORTING,
    (_FINISHING, Act.SEND_ERROR): _ABORTING,
    (_FINISHING, Act.RECEIVE_OK): _CLOSED,
    (_ABORTING, Act.RECEIVE_OK): _CLOSED,
    (_OPEN, Act.RECEIVE_ERROR): _CLOSED,
    (_FINISHING, Act.RECEIVE_ERROR): _CLOSED,
    (_ABORTING, Act.RECEIVE_ERROR): _CLOSED,
}

CLIENT_RECEIVE: Table = {
    (_OPEN, Act.RECEIVE_DATA): _OPEN,
    (_OPEN, Act.RECEIVE_END): _ENDED,
    (_ENDED, Act.RECEIVE_END): _ENDED,
    (_OPEN, Act.RECEIVE_OK): _CLOSED,
    (_ENDED, Act.RECEIVE_OK): _CLOSED,
    (_OPEN, Act.RECEIVE_ERROR): _CLOSED,
    (_ENDED, Act.RECEIVE_ERROR): _CLOSED,
}

SERVER_SEND: Table = {
    (_OPEN, Act.SEND_DATA): _OPEN,
    (_OPEN, Act.SEND_END): _ENDED,
    (_OPEN, Act.RECEIVE_ERROR): _ABORTING,
    (_ENDED, Act.RECEIVE_ERROR): _ABORTING,
    (_OPEN, Act.SEND_OK): _CLOSED,
    (_ENDED, Act.SEND_OK): _CLOSED,
    (_ABORTING, Act.SEND_OK): _CLOSED,
    (_OPEN, Act.SEND_ERROR): _CLOSED,
    (_ENDED, Act.SEND_ERROR): _CLOSED,
    (_ABORTING, Act.SEND_ERROR): _CLOSED,
}

SERVER_RECEIVE: Table = {
    (_OPEN, Act.RECEIVE_DATA): _OPEN,
    (_OPEN, Act.RECEIVE_END): _OPEN,
    (_OPEN, Act.RECEIVE_OK): _FINISHING,
    (_OPEN, Act.RECEIVE_ERROR): _ABORTING,
    (_FINISHING, Act.RECEIVE_ERROR): _ABORTING,
    (_FINISHING, Act.SEND_OK): _CLOSED,
    (_ABORTING, Act.SEND_OK): _CLOSED,
    (_OPEN, Act.SEND_ERROR): _CLOSED,
    (_FINISHING, Act.SEND_ERROR): _CLOSED,
    (_ABORTING, Act.SEND_ERROR): _CLOSED,
}

STEPS: dict[Role, tuple[Table, Table]] = {
    Role.CLIENT: (CLIENT_SEND, CLIENT_RECEIVE),
    Role.SERVER: (SERVER_SEND, SERVER_RECEIVE),
}

_CONCERNS: dict[Role, tuple[frozenset[Act], frozenset[Act]]] = {
    role: (frozenset(act for _, act in send), frozenset(act for _, act in receive))
    for role, (send, receive) in STEPS.items()
}


class IllegalStep(Exception):
    """``act`` is not possible in the states given; nothing has changed."""

    def __init__(self, act: Act, send: HalfState, receive: HalfState) -> None:
        super().__init__(f"cannot {act.value}: sending half {send.value}, receiving half {receive.value}")
        self.act = act


@dataclass(frozen=True, slots=True)
class StreamKey:
    """The identity of a stream: that of the call which opened it."""

    program: int
    version: int
    procedure: int
    serial: int


class StreamState:
    """The two halves of one stream at one end of a connection."""

    __slots__ = ("receive", "role", "send")

    def __init__(self, role: Role) -> None:
        self.role = role
        self.send = HalfState.OPEN
        self.receive = HalfState.OPEN

    @property
    def closed(self) -> bool:
        """Nothing more will pass in either direction."""
        return self.send is HalfState.CLOSED and self.receive is HalfState.CLOSED

    def step(self, act: Act) -> None:
        """Take ``act`` into account. Raises ``IllegalStep`` and changes nothing when it has no step."""
        send_table, receive_table = STEPS[self.role]
        of_send, of_receive = _CONCERNS[self.role]
        send = send_table.get((self.send, act)) if act in of_send else self.send
        receive = receive_table.get((self.receive, act)) if act in of_receive else self.receive
        if send is None or receive is None or not (act in of_send or act in of_receive):
            raise IllegalStep(act, self.send, self.receive)
        self.send, self.receive = send, receive
