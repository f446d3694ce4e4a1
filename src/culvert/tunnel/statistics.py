"""What a pump has done so far."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class PumpState(Enum):
    WAITING = "waiting"  # no connection has been attached yet
    RUNNING = "running"  # bytes move
    LOST = "lost"  # the connection is gone; another one may be attached
    ENDING = "ending"  # nothing more is attached; the last frames go out
    OVER = "over"  # everything is closed


@dataclass(slots=True)
class PumpStatistics:
    """Written by the worker, read by anybody at any time: each figure is right, together they may be a moment apart.

    Bytes, and seconds where the name says so. ``bytes_in`` came from QEMU, ``bytes_out`` went to it; ``wire_in`` and
    ``wire_out`` are what the network connections carried, frames and TLS records included; ``resent`` of ``bytes_in``
    went out once more after a connection was lost.
    """

    bytes_in: int = 0
    bytes_out: int = 0
    wire_in: int = 0
    wire_out: int = 0
    resent: int = 0
    connections: int = 0
    compressed_seconds: int = 0
    cpu_seconds: float = 0.0
    state: PumpState = PumpState.WAITING
