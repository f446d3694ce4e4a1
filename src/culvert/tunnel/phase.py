"""The life of a channel at one end.

A channel is LIVE, with or without a connection; then the peer is told what it has to know, and it is OVER. The
outcome is told as soon as it is known, which is before FLUSHING.
"""

from __future__ import annotations

from enum import Enum, auto

from culvert.tunnel.statistics import PumpState


class Phase(Enum):
    LIVE = auto()
    """Bytes move; connections come and go."""
    CLOSING = auto()
    """Nothing more is read from QEMU; what has been, and its end, still goes out, and the other end is heard out."""
    FLUSHING = auto()
    """The outcome is known. The last frame goes out."""
    PARTING = auto()
    """All is said and the peer is to close first: a connection that is closed with unread bytes in it is reset, and
    that destroys what is under way to the peer (RFC 2525 section 2.17)."""
    OVER = auto()
    """Everything is closed."""


# What the statistics say; a LIVE channel's state is its connection's.
STATES = {
    Phase.CLOSING: PumpState.ENDING,
    Phase.FLUSHING: PumpState.ENDING,
    Phase.PARTING: PumpState.ENDING,
    Phase.OVER: PumpState.OVER,
}
