"""The ssh that carries one connection: started, heard, and ended with the connection it carries.

::

    asyncio, or a pump ═ socket pair ═ stdin and stdout of ssh ═ … ═ the other host's socket
                          a second hold of ssh's end, kept here

The second hold is what makes both ends seen in order. As long as it is there our end sees no end of file, so ssh's
last words are read before the connection is found to be lost. And it tells when nobody here has the connection any
more, through however many descriptors that was handed on: ssh then has some seconds to end by itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import subprocess
from collections.abc import Sequence
from functools import partial

from culvert.ground import errors
from culvert.io.hangup import HangupWatch

log = logging.getLogger(__name__)

LEAVE_SECONDS = 5.0  # for ssh to end when its connection has been let go; then SIGTERM, and as long again SIGKILL
WORDS_MAX = 2000  # bytes of what ssh says that are kept, the last ones
_ENDINGS = (signal.SIGTERM, signal.SIGKILL)
# ssh would ask by these, of whoever sits before the daemon's display.
_NOT_FOR_SSH = ("SSH_ASKPASS", "SSH_ASKPASS_REQUIRE", "DISPLAY", "WAYLAND_DISPLAY")


class SshProcess:
    """A running ssh. ``sock`` is our end of the connection, the receiver's to close."""

    def __init__(self, process: subprocess.Popen[bytes], sock: socket.socket, theirs: socket.socket) -> None:
        self.sock = sock
        self.ended = asyncio.Event()
        """Set when the process has ended; our end then sees the end of file."""
        self._process = process
        self._theirs = theirs
        self._said = b""
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._signals = iter(_ENDINGS)
        assert process.stderr is not None, "it is a pipe"
        self._stderr = process.stderr
        os.set_blocking(self._stderr.fileno(), False)
        self._loop.add_reader(self._stderr.fileno(), self._hear)
        self._hangup = HangupWatch(theirs.fileno(), self._let_go)
        self._pidfd = os.pidfd_open(process.pid)
        self._loop.add_reader(self._pidfd, self._reap)

    @property
    def words(self) -> str:
        """The last of what ssh, or the command at the other end, has said; one line, empty when nothing."""
        lines = [line.strip() for line in self._said.decode("utf-8", "replace").splitlines()]
        text = "; ".join(line for line in lines if line)
        return "".join(character if character.isprintable() else "?" for character in text)

    async def finish(self, seconds: float) -> None:
        """Wait for the end of a connection that has been let go; after ``seconds`` make an end. It has been asked to
        end on return, or is killed."""
        try:
            async with asyncio.timeout(seconds):
                await self.ended.wait()
        except TimeoutError:
            self.kill()

    def kill(self) -> None:
        """SIGKILL, unless it has ended."""
        if not self.ended.is_set():
            self._process.kill()

    def _hear(self) -> None:
        try:
            said = os.read(self._stderr.fileno(), WORDS_MAX)
        except BlockingIOError:
            return
        except OSError:
            said = b""
        if said:
            self._said = (self._said + said)[-WORDS_MAX:]
        else:
            self._loop.remove_reader(self._stderr.fileno())

    def _let_go(self) -> None:
        """Nobody here has our end any more: see to it that ssh ends."""
        if not self.ended.is_set():
            self._timer = self._loop.call_later(LEAVE_SECONDS, self._urge)

    def _urge(self) -> None:
        if (number := next(self._signals, None)) is not None and not self.ended.is_set():
            log.warning("ssh pid=%d does not end by itself: %s", self._process.pid, number.name)
            self._process.send_signal(number)
            self._let_go()

    def _reap(self) -> None:
        if self._process.poll() is None:
            return
        self._loop.remove_reader(self._pidfd)
        os.close(self._pidfd)
        if self._timer is not None:
            self._timer.cancel()
        with contextlib.suppress(OSError):
            while said := os.read(self._stderr.fileno(), WORDS_MAX):  # what is there now; it does not block
                self._said = (self._said + said)[-WORDS_MAX:]
        self._loop.remove_reader(self._stderr.fileno())
        self._stderr.close()
        self._hangup.stop()
        log.debug('ssh pid=%d status=%d said="%s"', self._process.pid, self._process.returncode, self.words)
        self.ended.set()
        self._theirs.close()


async def start(arguments: Sequence[str]) -> SshProcess:
    """Run ``arguments``, which are ssh and its words. Raises ``errors.SystemCallError`` when that cannot be started.

    After an error or cancellation nothing runs.
    """
    ours, theirs = socket.socketpair()
    starting = asyncio.get_running_loop().run_in_executor(None, _spawn, arguments, theirs)
    try:
        process = await asyncio.shield(starting)
    except asyncio.CancelledError:
        # The thread goes on: what it starts is ended as soon as it is there.
        starting.add_done_callback(partial(_discard, theirs))
        ours.close()
        raise
    except OSError as err:
        ours.close()
        theirs.close()
        raise errors.SystemCallError(
            f"cannot start '{arguments[0]}': {err.strerror or err}", errno=err.errno
        ) from err
    ours.setblocking(False)
    return SshProcess(process, ours, theirs)


def _spawn(arguments: Sequence[str], theirs: socket.socket) -> subprocess.Popen[bytes]:
    environment = {name: value for name, value in os.environ.items() if name not in _NOT_FOR_SSH}
    # A session of its own: without a terminal it can ask nobody, and an interrupt from the keyboard is not for it.
    return subprocess.Popen(
        list(arguments),
        stdin=theirs.fileno(),
        stdout=theirs.fileno(),
        stderr=subprocess.PIPE,
        env=environment,
        start_new_session=True,
    )


def _discard(theirs: socket.socket, starting: asyncio.Future[subprocess.Popen[bytes]]) -> None:
    theirs.close()
    if starting.cancelled() or starting.exception() is not None:
        return
    process = starting.result()
    process.kill()
    process.wait()
    if process.stderr is not None:
        process.stderr.close()
