"""QEMU's end of a channel: its socket, read into the outgoing window and written from the incoming one.

A QEMU that closes its socket has ended, however it does so: one that is through with its channels leaves the last
bytes in them unread (multifd, seen with 7.2.22), and then the kernel says "reset" (unix(7)). Whether it was through
or has died its monitor knows, not its socket. What still comes for it is for nobody.
"""

from __future__ import annotations

import contextlib
import socket
import time

from culvert.ground.units import MiB
from culvert.tunnel.pipe import Pipe
from culvert.tunnel.resumption import Resumption
from culvert.tunnel.statistics import PumpStatistics
from culvert.tunnel.window import IncomingWindow, OutgoingWindow

_READ = 1 * MiB
# Room in the kernel for what QEMU has not read, so that QEMU and the worker run in turns of some hundred KiB.
_SOCKET_BUFFER = 1 * MiB

# For QEMU to have woken the threads that a resumption wakes: one that wakes after the end of its way does not live.
_REMEDY_SECONDS = 0.1


class QemuEnd:
    """Owns ``sock``, non-blocking. ``blocked``: QEMU takes nothing now. ``resumption`` is kept where a post-copy is
    taken up."""

    def __init__(
        self,
        sock: socket.socket,
        outgoing: OutgoingWindow,
        incoming: IncomingWindow,
        statistics: PumpStatistics,
        resumption: Resumption | None = None,
    ) -> None:
        self.sock = sock
        self.fd = sock.fileno()
        self.blocked = False
        self.pipe = Pipe()
        self.pipe.barred = resumption is not None
        self._resumption = resumption
        self._outgoing = outgoing
        self._incoming = incoming
        self._statistics = statistics
        self._closed = False  # QEMU takes nothing any more
        self._shut = False
        # What its other end holds cannot be asked for; a pair's ends are alike as they are made.
        self.room = sock.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) // 2
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SOCKET_BUFFER)

    @property
    def wants_read(self) -> bool:
        return not self._outgoing.ended and not self._outgoing.full

    @property
    def delivered(self) -> bool:
        """QEMU has everything and reads end of file behind it, or it has closed."""
        return self._shut

    def read(self) -> int:
        """Read once from QEMU: how many bytes."""
        room = self._outgoing.room(_READ)
        try:
            count = self.sock.recv_into(room)
        except BlockingIOError:
            return 0
        except OSError:
            self._closed = True
            count = 0
        if not count:
            self._outgoing.ended = True
        self._outgoing.filled(count)
        self._statistics.bytes_in += count
        return count

    def deliver(self) -> None:
        """Write to QEMU what there is for it."""
        self.blocked = False
        while self._incoming.waiting:
            if self._closed:
                self._discard()
                continue
            try:
                count = self._write()
            except BlockingIOError:
                self.blocked = True
                return
            except OSError:
                self._closed = True
                continue
            if not count:
                return  # a command that has not come whole
            self._statistics.bytes_out += count
        if self._incoming.finished and not self._shut:
            self._shut = True
            with contextlib.suppress(OSError):  # QEMU has gone already
                self._tell_to_go_on()
                self.sock.shutdown(socket.SHUT_WR)

    def _write(self) -> int:
        """Write once: what was put aside came first."""
        if self._incoming.aside:
            count = self.pipe.drain(self.fd)
            self._incoming.aside -= count
        else:
            waiting = self._incoming.pending(self._incoming.held)
            count = self._resume(self._resumption, waiting) if self._resumption else self.sock.send(waiting)
            del waiting  # the window may begin anew
            self._incoming.taken(count)
        return count

    def _resume(self, resumption: Resumption, waiting: memoryview) -> int:
        """Write what QEMU may hear of ``waiting``."""
        admitted = waiting[: resumption.next(waiting)]
        if not admitted:
            return 0  # half a command: the rest is to come
        count = self.sock.send(admitted)
        resumption.given(admitted, count)
        if resumption.over:
            self._resumption, self.pipe.barred = None, False
        return count

    def _tell_to_go_on(self) -> None:
        """A post-copy that is still being taken up is to stand still at the end of its way, which comes next."""
        if self._resumption is not None and (remedy := self._resumption.remedy()):
            self._resumption = None
            self.sock.send(remedy)
            time.sleep(_REMEDY_SECONDS)

    def _discard(self) -> None:
        if self._incoming.aside:
            self._incoming.aside -= self.pipe.discard()
        else:
            self._incoming.taken(self._incoming.held)

    def close(self) -> None:
        """QEMU reads end of file, if it did not before, and writes to nobody. Idempotent."""
        with contextlib.suppress(OSError):
            self._tell_to_go_on()
            self.sock.shutdown(socket.SHUT_RDWR)
        self.sock.close()
        self.pipe.close()
