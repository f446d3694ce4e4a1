"""Keepalive: is the other end still there? A value machine; the caller owns the clock.

Facts (libvirt src/rpc/virkeepalive.c, docs/kbase/internals/rpc "Keepalive"): any packet received restarts the
count. After ``interval`` seconds of silence a PING goes out, at most ``count`` of them, and one more silent interval
later the connection is dead: ``(count + 1) * interval`` seconds in all.

An end that has stopped reading, because what it has read waits to be consumed, can neither see the other's PINGs nor
judge its silence. While *held* it says PONG unasked every interval, so that the other end lives, and counts nothing.
"""

from __future__ import annotations

from enum import Enum

PROGRAM = 0x6B656570  # KEEPALIVE_PROGRAM, "keep"
VERSION = 1  # KEEPALIVE_PROTOCOL_VERSION
PING = 1  # KEEPALIVE_PROC_PING
PONG = 2  # KEEPALIVE_PROC_PONG

DEFAULT_INTERVAL = 5.0  # keepalive_interval of libvirtd.conf and qemu.conf, seconds
DEFAULT_COUNT = 5  # keepalive_count


class KeepaliveAction(Enum):
    """What the caller has to do now."""

    NOTHING = "nothing"
    PING = "ping"  # send a PING
    PONG = "pong"  # send a PONG nobody asked for
    DEAD = "dead"  # close the connection


class Keepalive:
    """The count for one connection. Times are seconds of any one monotonic clock.

    ``wake_at`` is when ``tick`` has something to say; calling it earlier does no harm and answers ``NOTHING``.
    """

    def __init__(self, interval: float, count: int, now: float) -> None:
        self.interval = interval
        self.count = count
        self._since = now  # the last sign of life, or the last PING or PONG of ours
        self._pings = 0
        self._held = False

    @property
    def wake_at(self) -> float:
        """When to call ``tick`` next."""
        return self._since + self.interval

    @property
    def limit(self) -> float:
        """Seconds of silence after which the other end counts as dead."""
        return (self.count + 1) * self.interval

    def received(self, now: float) -> None:
        """A packet came, of whatever kind."""
        self._since = now
        self._pings = 0

    def hold(self, now: float) -> None:
        """We have stopped reading."""
        self._held = True
        self._since = now

    def release(self, now: float) -> None:
        """We read again; the silence until now is nobody's fault."""
        self._held = False
        self.received(now)

    def tick(self, now: float) -> KeepaliveAction:
        """What is due at ``now``."""
        if now < self.wake_at:
            return KeepaliveAction.NOTHING
        self._since = now
        if self._held:
            return KeepaliveAction.PONG
        if self._pings >= self.count:
            return KeepaliveAction.DEAD
        self._pings += 1
        return KeepaliveAction.PING
