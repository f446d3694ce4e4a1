"""The network's end of a channel: one connection, with what has been heard and said on it and when."""

from __future__ import annotations

from culvert.tunnel import frame
from culvert.tunnel.ahead import Ahead
from culvert.tunnel.data_connection import DataConnection
from culvert.tunnel.frame import Kind
from culvert.tunnel.limits import ChannelLimits
from culvert.tunnel.pipe import Pipe
from culvert.tunnel.receiver import Receiver
from culvert.tunnel.sender import Sender
from culvert.tunnel.statistics import PumpStatistics
from culvert.tunnel.window import IncomingWindow, OutgoingWindow
from culvert.tunnel.zstd import Compressor

# In full flow each so-many-th part of the window is acknowledged, and what remains when this has passed.
_ACKS = 8
_ACK_DELAY = 0.05


class NetworkEnd:
    """Owns ``data_connection``. Times are seconds of one clock; what ends the connection is raised as ``OSError``."""

    def __init__(
        self,
        data_connection: DataConnection,
        outgoing: OutgoingWindow,
        incoming: IncomingWindow,
        pipe: Pipe,
        *,
        limits: ChannelLimits,
        statistics: PumpStatistics,
        compressor: Compressor | None,
        now: float,
    ) -> None:
        self.data_connection = data_connection
        self.fd = data_connection.sock.fileno()
        self.sender = Sender(data_connection, outgoing, limits.chunk, statistics, compressor)
        self.receiver = Receiver(data_connection, outgoing, incoming, pipe)
        self._outgoing = outgoing
        self._ahead = Ahead(limits.window, now, outgoing.sent)
        outgoing.ahead = self._ahead.bound
        self._incoming = incoming
        self._limits = limits
        self._statistics = statistics
        self._wire = (statistics.wire_in, statistics.wire_out)
        self._heard = now
        self._said = now
        self._acked = incoming.received  # the peer has been told when the connection was attached
        self._ack_due: float | None = None
        self._end_said = False
        statistics.connections += 1

    @property
    def end_acked(self) -> bool:
        """The peer has been sent word that QEMU here has everything, and the end; or has said that it knows."""
        return self.receiver.over or (self._end_said and not self.sender.wants_write)

    def receive(self, now: float, *, patient: bool = False) -> int:
        """What ``Receiver.run`` does; a peer that is heard lives. ``patient``: the next time may be put off until a
        good part of the frame under way is there."""
        try:
            count = self.receiver.run()
        finally:
            self._statistics.wire_in = self._wire[0] + self.data_connection.received
        self.data_connection.expect(self.receiver.due if patient else 0)
        if count:
            self._heard = now
        return count

    def acknowledge(self, now: float, *, delivered: bool) -> None:
        """Tell the peer what has been received, if it is time; ``delivered``: QEMU has it all, with its end."""
        if self.receiver.ended and delivered:
            if not self._end_said:
                self._end_said = True
                over = self._outgoing.finished  # was told on an earlier connection, and is not told again
                self.sender.say(Kind.ACK, frame.ack(self._incoming.received, end=True, over=over))
            return
        news = self._incoming.received - self._acked
        if not news:
            return
        if self._ack_due is None:
            self._ack_due = now + _ACK_DELAY
        if now >= self._ack_due or news * _ACKS >= self._limits.window:
            self._acked += news
            self._ack_due = None
            self.sender.say(Kind.ACK, frame.ack(self._acked))

    def waited(self, seconds: float) -> None:
        """So long nothing happened; the network may have been what was waited for."""
        if self.sender.blocked:
            self._ahead.waited(seconds)

    def send(self, now: float) -> None:
        """What ``Sender.run`` does, and no more is taken ahead of it than the link needs."""
        if self.sender.run():
            self._said = now
        if self._ahead.look(now, self._outgoing.sent):
            bound = self._outgoing.ahead = self._ahead.bound
            self.data_connection.hold(bound if bound < self._limits.window else 0)
        self._statistics.wire_out = self._wire[1] + self.data_connection.sent

    def keep_alive(self, now: float) -> None:
        """Say that this side lives, if nothing else has; raise ``TimeoutError`` when nothing is heard of the other.

        A side that does not read, because QEMU does not take what it has, hears nothing: that says nothing.
        """
        if not self.receiver.wants_read:
            self._heard = now
        if now - self._heard >= self._limits.dead and not self.receive(now):
            raise TimeoutError(f"nothing was heard of the other end for {self._limits.dead:g} s")
        if now - self._said >= self._limits.heartbeat and not self.sender.wants_write:
            self.sender.say(Kind.HEARTBEAT, frame.heartbeat())
            self.send(now)
            self._said = now

    def wake(self) -> float:
        """When something is to be done although nothing happens."""
        times = [self._heard + self._limits.dead]
        if not self.sender.wants_write:
            times.append(self._said + self._limits.heartbeat)
        if self._ack_due is not None:
            times.append(self._ack_due)
        return min(times)

    def close(self) -> None:
        self.data_connection.close()
