"""What comes of a call: a result or an error, and for a good one the stream it opens or the descriptor it passes."""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from culvert.ground import errors
from culvert.protocol import errors as wire_errors
from culvert.protocol.procedure import Procedure
from culvert.rpc.stream import Stream
from culvert.xdr.struct import encode

StreamBody = Callable[[Stream], Awaitable[None]]
"""What a handler does with the stream it opened, in a task of its own once the reply is on its way.

Returning ends the stream well: the client's finish is confirmed. ``RequestError`` ends it with that error. When the
client aborts or the connection goes, ``send`` and ``recv`` raise, and a body that is elsewhere is cancelled after a
grace."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back: a result, or an error with ``ok`` false; for a good one the stream it opens, what it passes."""

    ok: bool
    payload: bytes
    row: Procedure[Any, Any] | None = None
    body: StreamBody | None = None
    passed: socket.socket | None = None


def refusal(error: errors.RequestError) -> Answer:
    """The answer that says no."""
    return Answer(False, encode(wire_errors.to_wire(error)))
