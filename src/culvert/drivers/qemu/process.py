"""One QEMU process: started detached, watched through a pidfd, ended only when it is surely the one that was meant.

A process is known by pid *and* start time *and* boot, so that a number that was given out again is never mistaken for
the guest. Once the pidfd is open it refers to that process for ever, and signals go through it. A process started by
an earlier daemon is watched the same way; only its exit status is unknown, because it is not our child.

The process holds nothing of the daemon's: own session, no pipes, output appended to a file.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import signal
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from culvert.drivers.qemu import environment
from culvert.ground import errors
from culvert.io import blocking

log = logging.getLogger(__name__)

TERM_TIMEOUT = 10.0  # seconds between SIGTERM and SIGKILL; libvirt waits as long (virProcessKillPainfully)
KILL_TIMEOUT = 30.0  # seconds for the kernel to end a killed process
TAIL = 4096  # bytes of output that an error message carries at most

NS_PER_TICK = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
STDERR = 2
UNRESET_SIGNALS = (signal.SIGKILL, signal.SIGSTOP)


@dataclass(frozen=True, slots=True)
class ProcessIdentity:
    """Which process: ``started`` is field 22 of /proc/PID/stat (clock ticks), ``boot`` the kernel's boot id."""

    pid: int
    started: int
    boot: str


def boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def _stat_fields(pid: int) -> list[str]:
    # proc(5): the second field may hold spaces and brackets; what follows the last ')' starts with field 3.
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def identify(pid: int) -> ProcessIdentity:
    """Raises ``OSError`` when there is no such process."""
    return ProcessIdentity(pid, int(_stat_fields(pid)[19]), boot_id())


class Output:
    """The part of a log file that belongs to one run: what was appended behind ``offset``."""

    def __init__(self, path: Path, offset: int) -> None:
        self.path = path
        self.offset = offset

    async def tail(self, limit: int = TAIL) -> str:
        """The last ``limit`` bytes of it as text; empty when it cannot be read."""
        return await asyncio.to_thread(self._tail, limit)

    def _tail(self, limit: int) -> str:
        try:
            with self.path.open("rb") as file:
                size = file.seek(0, os.SEEK_END)
                begin = self.offset if self.offset <= size else 0  # it has been cut since: all of it is of this run
                file.seek(max(begin, size - limit))
                return file.read(limit).decode(errors="replace")
        except OSError:
            return ""


class Process:
    """A running or ended process. ``exited`` is set once it has ended; ``status`` is its wait status where known."""

    def __init__(self, name: str, identity: ProcessIdentity, pidfd: int, output: Output) -> None:
        self.name = name
        self.identity = identity
        self.output = output
        self.exited = asyncio.Event()
        self.status: int | None = None
        self._pidfd = pidfd
        asyncio.get_running_loop().add_reader(pidfd, self._ended)

    @property
    def pid(self) -> int:
        return self.identity.pid

    @property
    def exit_text(self) -> str:
        """How it ended, in words."""
        if not self.exited.is_set():
            return "still running"
        if self.status is None:
            return "ended"
        code = os.waitstatus_to_exitcode(self.status)
        return f"exit status {code}" if code >= 0 else f"killed by {signal.Signals(-code).name}"

    def cpu_time_ns(self) -> int:
        """User and system time of all its threads, in nanoseconds; 0 once it has ended."""
        try:
            fields = _stat_fields(self.pid)
        except (OSError, IndexError):
            return 0
        return (int(fields[11]) + int(fields[12])) * NS_PER_TICK

    def signal(self, number: signal.Signals) -> None:
        """Send a signal; nothing happens when the process has ended."""
        if self._pidfd >= 0:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, number)

    async def terminate(self, *, force_after: float | None = TERM_TIMEOUT) -> None:
        """Ask it to end (SIGTERM), then make it end (SIGKILL) after ``force_after`` seconds; ``None``: never force.

        It has ended on return. Raises ``errors.OperationTimeout`` when it has not ended in time.
        """
        self.signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(TERM_TIMEOUT if force_after is None else force_after):
                await self.exited.wait()
                return
        except TimeoutError:
            if force_after is None:
                raise errors.OperationTimeout(
                    f"domain '{self.name}': QEMU (pid {self.pid}) has not ended within {TERM_TIMEOUT:g} s"
                ) from None
        log.warning("domain=%s pid=%d did not end on SIGTERM, sending SIGKILL", self.name, self.pid)
        self.signal(signal.SIGKILL)
        try:
            async with asyncio.timeout(KILL_TIMEOUT):
                await self.exited.wait()
        except TimeoutError:
            raise errors.OperationTimeout(
                f"domain '{self.name}': QEMU (pid {self.pid}) has been killed but the kernel still holds it"
            ) from None

    def forget(self) -> None:
        """Stop watching; the process runs on. Idempotent."""
        if self._pidfd >= 0:
            asyncio.get_running_loop().remove_reader(self._pidfd)
            os.close(self._pidfd)
            self._pidfd = -1

    def _ended(self) -> None:
        with contextlib.suppress(ChildProcessError):  # started by an earlier daemon: init has its status
            _, self.status = os.waitpid(self.pid, os.WNOHANG)
        self.forget()
        self.exited.set()


async def launch(
    name: str,
    argv: Sequence[str],
    *,
    log_file: Path,
    folder: Path,
    pass_fds: Collection[int] = (),
    variables: Mapping[str, str] = MappingProxyType({}),
) -> Process:
    """Start ``argv`` in a session of its own with nothing open but ``pass_fds``, its output appended to ``log_file``.

    ``folder`` is its own, and its home when the daemon is root's; see ``environment`` for what else it is told,
    beside ``variables``.

    ``pass_fds`` stay the caller's to close. Raises ``errors.SystemCallError`` when the program cannot be started.
    """
    output_fd, output = await blocking.made(
        lambda: _open_output(name, argv, log_file), undo=lambda opened: os.close(opened[0])
    )
    try:
        told = environment.of_qemu(os.environ, uid=os.geteuid(), folder=folder)
        pid = _spawn(argv, output_fd, pass_fds, {**told, **variables})
    except OSError as err:
        raise errors.SystemCallError(
            f"domain '{name}': cannot start '{argv[0]}': {os.strerror(err.errno or errno.EIO)}", errno=err.errno
        ) from err
    finally:
        os.close(output_fd)
    # Not reaped before ``_ended`` has seen it, so the number cannot have been given to another process yet.
    return Process(name, identify(pid), os.pidfd_open(pid), output)


def _spawn(argv: Sequence[str], output_fd: int, pass_fds: Collection[int], env: Mapping[str, str]) -> int:
    # It blocks for the few milliseconds of a vfork. In a thread it would too: it keeps the interpreter lock.
    return os.posix_spawn(
        argv[0],
        list(argv),
        dict(env),
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_DUP2, output_fd, 1),
            (os.POSIX_SPAWN_DUP2, output_fd, 2),
            # Duplicating a descriptor onto itself is how posix_spawn takes its close-on-exec away.
            *((os.POSIX_SPAWN_DUP2, fd, fd) for fd in pass_fds),
            *((os.POSIX_SPAWN_CLOSE, fd) for fd in _strays(pass_fds)),
        ],
        setsid=True,
        # Python ignores SIGPIPE; QEMU must not inherit that.
        setsigdef=[number for number in signal.valid_signals() if number not in UNRESET_SIGNALS],
        setsigmask=[],
    )


def _open_output(name: str, argv: Sequence[str], log_file: Path) -> tuple[int, Output]:
    """The log file, with the line that begins a run, open for what comes behind."""
    try:
        output_fd = os.open(log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NONBLOCK, 0o600)
    except OSError as err:
        raise errors.SystemCallError(
            f"domain '{name}': cannot open log file '{log_file}': {err.strerror}", errno=err.errno
        ) from err
    try:
        stamp = time.strftime("%Y-%m-%d %H:%M:%S%z")
        os.write(output_fd, f"{stamp}: starting up: {' '.join(argv)}\n".encode(errors="replace"))
        return output_fd, Output(log_file, os.lseek(output_fd, 0, os.SEEK_END))
    except OSError as err:
        os.close(output_fd)
        raise errors.SystemCallError(
            f"domain '{name}': cannot write log file '{log_file}': {err.strerror}", errno=err.errno
        ) from err


def _strays(pass_fds: Collection[int]) -> list[int]:
    """Descriptors that whoever started the daemon left inheritable; Python's own are not."""
    strays = []
    for name in os.listdir("/proc/self/fd"):
        fd = int(name)
        with contextlib.suppress(OSError):  # the one that lists them is closed by now
            if fd > STDERR and fd not in pass_fds and os.get_inheritable(fd):
                strays.append(fd)
    return strays


def adopt(name: str, identity: ProcessIdentity, output: Output) -> Process | None:
    """Watch a process that an earlier daemon has started; ``None`` when it has ended meanwhile."""
    try:
        pidfd = os.pidfd_open(identity.pid)
    except OSError:
        return None
    try:
        same = identify(identity.pid) == identity
    except (OSError, IndexError):
        same = False
    if not same:
        os.close(pidfd)
        return None
    return Process(name, identity, pidfd, output)
