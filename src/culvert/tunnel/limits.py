"""The sizes and times of a pump."""

from __future__ import annotations

from dataclasses import dataclass

from culvert.ground import errors
from culvert.ground.units import MiB
from culvert.tunnel import frame


@dataclass(frozen=True, slots=True)
class ChannelLimits:
    """Memory of a channel is ``window`` + ``inbound`` and a few chunks at most; only what is used is resident."""

    window: int = 2 * MiB
    """Bytes from QEMU that are kept until the peer has acknowledged them: what can be replayed. Full, QEMU waits.

    What is in it when the guest stops has still to travel while it stands still; and memory that is used again soon
    is in the processor's cache, so that less is faster too (0.63 instead of 0.70 CPU seconds per GiB with 2 MiB
    instead of 8, both ends together)."""
    inbound: int = 1 * MiB
    """Bytes from the peer that wait for QEMU. Full, the peer waits."""
    chunk: int = 1 * MiB
    """The most payload of one frame."""
    heartbeat: float = 2.0
    """Seconds of silence after which the peer is told that this side lives."""
    dead: float = 10.0
    """Seconds in which nothing at all has been heard from the peer: the connection is lost."""

    def __post_init__(self) -> None:
        if not 1 <= self.chunk <= frame.MAX_PAYLOAD:
            raise errors.InvalidArgument(f"a chunk is 1 to {frame.MAX_PAYLOAD} bytes, not {self.chunk}")
        if self.window < 1 or self.inbound < 1:
            raise errors.InvalidArgument("the window and the inbound buffer of a channel hold at least one byte")
        if not 0 < self.heartbeat < self.dead:
            raise errors.InvalidArgument(
                f"heartbeats every {self.heartbeat} s do not keep a peer alive that is dead after {self.dead} s"
            )
