"""The worker of one channel: a loop of its own over QEMU's socket, the network's and a queue of commands.

Theory of operation. The worker is the only one who touches the sockets, the windows and the TLS session; who wants
something of it posts a command, which the worker calls between two turns. A turn reads QEMU, reads the network,
writes to QEMU, writes to the network: each only as far as it goes without waiting. Both directions are in one thread,
because a TLS session bears no two at once and a migration's bytes flow one way at a time.

A thread and not a process, measured with ``benchmarks/micro_pump.py``: both take the same processor time within the
spread (clear text 0.57 and 0.64 s per GiB with one channel, 0.62 and 0.66 with two; TLS 2.4 and 2.2, 2.3 and 2.5;
two cores that had other work too), because the interpreter's lock is given up in every system call and in OpenSSL,
and what remains is a few per cent. A process would cost some 20 MiB per channel, and a TLS session cannot be handed
to one.
"""

from __future__ import annotations

import contextlib
import logging
import time
from typing import Protocol

from culvert.ground import errors
from culvert.io.detached import Detached
from culvert.tunnel import data_connection, frame, watch
from culvert.tunnel.compression import Chooser, Second
from culvert.tunnel.inbox import Inbox
from culvert.tunnel.limits import ChannelLimits
from culvert.tunnel.network_end import NetworkEnd
from culvert.tunnel.pace import Pace
from culvert.tunnel.phase import STATES, Phase
from culvert.tunnel.qemu_end import QemuEnd
from culvert.tunnel.statistics import PumpState, PumpStatistics
from culvert.tunnel.window import IncomingWindow, OutgoingWindow
from culvert.tunnel.zstd import Compressor

_LOG = logging.getLogger(__name__)

# Seconds for the last frame, and for the peer to close first.
_PARTING = 1.0
# Payload the other way within these seconds: somebody waits for answers, and no read is put off.
_QUIET = 0.02
_SECOND = 1.0
_FOREVER = 3600.0


class Tell(Protocol):
    """Whom the worker reports to, from its thread: ``lost``, each time the connection has gone by itself; ``over``
    once, with the error if the channel did not end well; ``ended`` last, with everything closed."""

    def lost(self, error: errors.ConnectionLost) -> None: ...
    def over(self, error: Exception | None) -> None: ...
    def ended(self) -> None: ...


class Worker:
    """One channel's bytes: ``run`` is the thread, ``inbox`` where commands are posted. The other methods are the
    commands, legal in any phase."""

    def __init__(
        self,
        name: str,
        qemu: QemuEnd,
        windows: tuple[OutgoingWindow, IncomingWindow],
        *,
        limits: ChannelLimits,
        compression: str,
        statistics: PumpStatistics,
        tell: Tell,
    ) -> None:
        self.name = name
        self._chooser = Chooser(compression)
        self.inbox = Inbox()
        self._qemu = qemu
        self._outgoing, self._incoming = windows
        self._limits = limits
        self._compressor = Compressor() if compression != "off" else None
        self._statistics = statistics
        self._tell = tell
        self._network: NetworkEnd | None = None
        self._phase = Phase.LIVE
        self._deadline: float | None = None
        self._told = False
        self._well = False  # both directions have ended and are acknowledged
        self._watch = watch.Watch()
        self._watch.want(self.inbox.fd, watch.READ)
        self._pace = Pace(qemu.room)
        self._moved_out = 0.0  # when payload was last read from QEMU
        self._moved_in = 0.0  # and from the network
        self._second = time.monotonic()
        self._blocked = 0.0
        self._idle = 0.0

    # Commands.

    def attach(self, connection: Detached, peer_received: int) -> None:
        """See ``Pump.attach``."""
        try:
            if self._phase is not Phase.LIVE:
                self._too_late(connection)
                return
            self._outgoing.rewind(peer_received)
        except BaseException:
            connection.sock.close()
            raise
        self._drop()
        connection.sock.setblocking(False)
        self._network = NetworkEnd(
            data_connection.over(connection),
            self._outgoing,
            self._incoming,
            self._qemu.pipe,
            limits=self._limits,
            statistics=self._statistics,
            compressor=self._compressor,
            now=time.monotonic(),
        )
        self._network.sender.choice = self._chooser.choice
        self._statistics.state = PumpState.RUNNING

    def _too_late(self, connection: Detached) -> None:
        """The peer may not know yet that the channel has ended well: its last acknowledgement was lost."""
        if not self._well:
            raise errors.OperationInvalid(f"channel {self.name} is over")
        late = data_connection.over(connection)
        late.send(memoryview(frame.ack(self._incoming.received, over=True)), memoryview(b""))
        late.shutdown()
        late.close()

    def detach(self) -> int:
        """See ``Pump.detach``."""
        self._drop()
        if self._phase is Phase.LIVE and self._statistics.connections:
            self._statistics.state = PumpState.LOST
        return self._incoming.received

    def abort(self, reason: str) -> None:
        """See ``Pump.abort``."""
        self._finish(errors.OperationAborted(f"channel {self.name} was given up: {reason}"), reason)

    def close(self, linger: float) -> None:
        """See ``Pump.close``."""
        if self._phase is Phase.LIVE:
            self._enter(Phase.CLOSING, linger)

    # The loop.

    def run(self) -> None:
        """Until the channel is over and everything is closed."""
        try:
            while self._phase is not Phase.OVER:
                try:
                    self._turn()
                except Exception as err:
                    self._fault(err)
        finally:
            self._statistics.cpu_seconds = time.thread_time()
            self._dispose()

    def abandon(self) -> None:
        """Close everything, when there is no thread to run in."""
        self._over(errors.OperationAborted(f"channel {self.name} was closed before it began"))
        self._dispose()

    def _dispose(self) -> None:
        self._over(errors.InternalError(f"channel {self.name}: the worker ended"))  # if it is not told yet
        self._phase = Phase.OVER
        self._statistics.state = PumpState.OVER
        self._drop()
        self._qemu.close()
        self.inbox.close()
        self._tell.ended()

    def _fault(self, error: Exception) -> None:
        """A mistake in this program."""
        _LOG.exception("channel=%s: the worker failed", self.name)
        if self._phase in (Phase.LIVE, Phase.CLOSING):
            self._finish(errors.InternalError(f"channel {self.name}: {error!r}"), "internal error")
        else:
            self._enter(Phase.OVER)

    def _over(self, error: Exception | None) -> None:
        if not self._told:
            self._told = True
            self._tell.over(error)

    def _turn(self) -> None:
        happened = self._wait()
        try:
            if self.inbox.fd in happened:
                self.inbox.run()
            now = time.monotonic()
            if self._phase in (Phase.LIVE, Phase.CLOSING):
                self._move(happened, now)
            if self._phase is Phase.CLOSING:
                self._closing(now)
            elif self._phase is not Phase.LIVE:
                self._part(now)
        except errors.ProtocolViolation as err:
            self._finish(errors.RpcError(f"channel {self.name}: the other end broke the protocol: {err}"), str(err))
        except errors.StreamFailed as err:
            self._finish(errors.StreamFailed(f"channel {self.name}: {err.message}"), None)
        except OSError as err:
            self._lost(err)

    def _wait(self) -> dict[int, int]:
        """Wait until there is something to do; what has happened."""
        moving = self._phase in (Phase.LIVE, Phase.CLOSING)
        network, qemu = self._network, self._qemu
        now = time.monotonic()
        until = now + _FOREVER if self._deadline is None else self._deadline
        blocked = False
        if moving:
            events = (watch.READ if qemu.wants_read else 0) | (watch.WRITE if qemu.blocked else 0)
            self._watch.want(qemu.fd, events)
        if network is not None:
            wants_read = network.receiver.wants_read if moving else self._phase is Phase.PARTING
            events = (watch.READ if wants_read else 0) | (watch.WRITE if network.sender.wants_write else 0)
            self._watch.want(network.fd, events)
            blocked = network.sender.blocked
            if moving:
                until = min(until, network.wake())
                if self._chooser.mode == "auto":
                    until = min(until, self._second + _SECOND)
            if wants_read and network.data_connection.buffered:
                until = now
        if self._phase is Phase.CLOSING and (qemu.wants_read or (network is None and not qemu.blocked)):
            until = now  # what is there is read; what is not is not waited for
        if self._phase is Phase.FLUSHING and (network is None or not network.sender.wants_write):
            until = now
        happened = self._watch.wait(until - now)
        waited = time.monotonic() - now
        self._idle += waited
        if network is not None:
            network.waited(waited)
        if blocked:
            self._blocked += waited
        return happened

    def _move(self, happened: dict[int, int], now: float) -> None:
        """Every byte one step further."""
        network = self._network
        at_qemu = happened.get(self._qemu.fd, 0)
        wait = self._from_qemu(at_qemu, now)
        if network is not None:
            at_network = happened.get(network.fd, 0)
            self._from_network(network, at_network, now)
        if not self._qemu.blocked or at_qemu:
            self._to_qemu()
        if network is not None:
            network.acknowledge(now, delivered=self._qemu.delivered)
            if not network.sender.blocked or at_network & watch.WRITE:
                network.send(now)
            network.keep_alive(now)
            if now - self._second >= _SECOND:
                self._choose(network, now)
            if self._complete(network):
                return
        if wait:
            time.sleep(wait)

    def _from_qemu(self, events: int, now: float) -> float:
        """Read; how long to wait before the next turn, so that the next read is worth it."""
        closing = self._phase is Phase.CLOSING
        if not self._qemu.wants_read or not (events & ~watch.WRITE or closing):
            return 0.0
        count = self._qemu.read()
        if not count:
            self._outgoing.ended = self._outgoing.ended or closing
            return 0.0
        self._moved_out = now
        wait = self._pace.after(count, now)
        return wait if now - self._moved_in > _QUIET else 0.0

    def _from_network(self, network: NetworkEnd, events: int, now: float) -> None:
        """Receive."""
        if events & watch.BROKEN and not network.receiver.wants_read:
            raise ConnectionResetError("the connection broke")
        if not (events & ~watch.WRITE or network.data_connection.buffered):
            return
        before = self._incoming.received
        network.receive(now, patient=now - self._moved_out > _QUIET)
        if self._incoming.received != before:
            self._moved_in = now

    def _to_qemu(self) -> None:
        self._qemu.deliver()
        while self._network is not None and not self._qemu.blocked and self._network.receiver.unpack():
            self._qemu.deliver()

    def _choose(self, network: NetworkEnd, now: float) -> None:
        """A second has passed: whether to compress in the next one."""
        seconds = now - self._second
        sender = network.sender
        if self._compressor is not None:
            if sender.choice is not sender.choice.OFF:
                self._statistics.compressed_seconds += 1
            sender.choice = self._chooser.next(
                Second(
                    seconds,
                    blocked=self._blocked / seconds,
                    busy=max(0.0, 1.0 - self._idle / seconds),
                    raw=sender.raw,
                    wire=sender.payload,
                    sample=self._compressor.measured(),
                )
            )
        sender.raw = sender.payload = 0
        self._second, self._blocked, self._idle = now, 0.0, 0.0
        self._statistics.cpu_seconds = time.thread_time()

    # The end.

    def _complete(self, network: NetworkEnd) -> bool:
        """Whether both directions have ended and each side knows; then the channel has ended well."""
        if not self._outgoing.finished or not network.end_acked:
            return False
        self._well = True
        self._finish(None, None)
        return True

    def _closing(self, now: float) -> None:
        said = self._network is None or self._outgoing.finished
        late = self._deadline is not None and now >= self._deadline
        heard = self._network is None or self._network.end_acked
        if (said and heard and not self._incoming.waiting) or late:
            self._finish(errors.OperationAborted(f"channel {self.name} was closed before both ends had ended"), None)
            if late:
                self._enter(Phase.OVER)

    def _finish(self, error: Exception | None, reason: str | None) -> None:
        """The outcome is known: ``error``, or a good end. ``reason`` is for the peer."""
        if self._phase not in (Phase.LIVE, Phase.CLOSING):
            return
        self._watch.want(self._qemu.fd, 0)
        self._qemu.close()
        self._over(error)
        if self._network is None:
            self._enter(Phase.OVER)
            return
        if error is not None:
            self._network.sender.finish(reason)
        self._enter(Phase.FLUSHING, _PARTING)

    def _part(self, now: float) -> None:
        """One step of parting from the peer."""
        network = self._network
        if network is None or self._deadline is None or now >= self._deadline:
            self._enter(Phase.OVER)
        elif self._phase is Phase.FLUSHING:
            network.send(now)
            if not network.sender.wants_write:
                network.data_connection.shutdown()
                self._enter(Phase.PARTING, _PARTING)
        elif self._phase is Phase.PARTING:
            network.data_connection.discard()

    def _lost(self, error: OSError) -> None:
        """The network connection is gone."""
        if self._phase in (Phase.FLUSHING, Phase.PARTING):
            self._enter(Phase.OVER)
            return
        network = self._network
        assert network is not None
        with contextlib.suppress(OSError):  # sending fails first; the reason may have come in already
            network.receive(time.monotonic())
        if self._complete(network):
            return
        self._drop()
        if self._phase is Phase.LIVE:
            self._statistics.state = PumpState.LOST
            text = error.strerror or str(error)
            self._tell.lost(errors.ConnectionLost(f"channel {self.name}: the connection was lost: {text}"))

    def _enter(self, phase: Phase, seconds: float | None = None) -> None:
        """The one place where the phase changes; ``seconds`` may it last."""
        self._phase = phase
        self._deadline = None if seconds is None else time.monotonic() + seconds
        self._statistics.state = STATES[phase]

    def _drop(self) -> None:
        if self._network is not None:
            self._watch.want(self._network.fd, 0)
            self._network.close()
            self._network = None
