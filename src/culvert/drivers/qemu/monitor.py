"""QEMU's monitor: commands, answers, events. The one module that knows ``qemu.qmp``.

Every wait here ends by one of four things: the answer, its deadline, the end of the connection, or cancellation.
An end of the connection is an end of QEMU as far as commands go, so the error carries the tail of QEMU's output:
that is where the reason stands.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Coroutine, Mapping
from pathlib import Path
from typing import Any, Protocol

from qemu.qmp import ExecuteError, QMPClient, QMPError, Runstate
from qemu.qmp.events import EventListener
from qemu.qmp.message import Message

from culvert.ground import errors, json_text
from culvert.io import unix_sockets

log = logging.getLogger(__name__)

# Whatever this library logs as an error also reaches the caller as an exception, with the domain's name.
logging.getLogger("qemu.qmp").setLevel(logging.CRITICAL)

CONNECT_TIMEOUT = 30.0  # seconds until QEMU greets; libvirt gives it the same (qemuMonitorOpen)
RETRY_PAUSE = 0.05  # seconds until the next attempt to connect
COMMAND_TIMEOUT = 30.0  # seconds until a command is answered
MUTE_TIMEOUT = 10.0  # the same for a QEMU that has left such a one unanswered and has said nothing since
MAX_DEPTH = 500  # of an answer; each image of a chain is within the one above it, and QEMU itself reads 1024
CLOSE_TIMEOUT = 5.0  # seconds for what is still in our buffers when the connection is closed

Event = Mapping[str, Any]
Callback = Callable[[Event], None]


class Tasks(Protocol):
    """Owns tasks; an ``asyncio.TaskGroup`` does."""

    def create_task(self, coro: Coroutine[Any, Any, None], /, *, name: str) -> object: ...


class MonitorGone(errors.OperationFailed):
    """The monitor connection has ended, or never came up; the text holds what QEMU said last."""


class CommandRefused(errors.OperationFailed):
    """QEMU answered a command with an error; ``error_class`` is QMP's class of it, ``reply`` the whole answer."""

    def __init__(self, message: str, *, error_class: str, reply: Mapping[str, Any]) -> None:
        super().__init__(message)
        self.error_class = error_class
        self.reply = reply


class _Tap(EventListener):
    """Hands every event over in the reader's own turn, so that events and answers keep QEMU's order; queues none."""

    def __init__(self, deliver: Callback) -> None:
        super().__init__()
        self._deliver = deliver

    def accept(self, event: Message) -> bool:
        self._deliver(event)
        return False


class _Client(QMPClient):
    """Lets go of a QEMU that sends what is deeper than ``MAX_DEPTH``: Python 3.13 reads deeper than those before."""

    async def _do_recv(self) -> Message:
        message = await super()._do_recv()
        json_text.check_depth(dict(message), MAX_DEPTH)
        return message


async def silent() -> str:
    """The last output of what is not known to write any."""
    return ""


class Monitor:
    """A connected, negotiated monitor. Made by ``connect``; over when ``closed`` is set."""

    def __init__(self, name: str, qmp: QMPClient, last_output: Callable[[], Awaitable[str]]) -> None:
        self.name = name
        self.closed = asyncio.Event()
        self._qmp = qmp
        self._last_output = last_output
        self._subscribers: list[Callback] = []
        self._waiting: set[asyncio.Timeout] = set()
        self._mute = False
        self._handing_over = asyncio.Lock()
        self._ending = asyncio.Lock()

    @classmethod
    async def connect(
        cls,
        path: Path,
        tasks: Tasks,
        *,
        name: str,
        last_output: Callable[[], Awaitable[str]] = silent,
        subscriber: Callback | None = None,
        timeout: float = CONNECT_TIMEOUT,
        ended: asyncio.Event | None = None,
    ) -> Monitor:
        """Connect to the monitor socket at ``path`` and negotiate.

        ``ended`` is set when the process has ended; until then, if it is given, a connection that QEMU drops before
        it has greeted is made anew.

        ``tasks`` owns the task that watches the connection; ``last_output`` gives the tail of QEMU's log for errors;
        ``subscriber`` misses no event from the first on. Raises ``MonitorGone``, or ``errors.OperationTimeout``.
        """
        qmp = _Client(f"monitor of {name}")
        qmp.events.names = {""}  # the library's own listener keeps every event for ever: let it want none
        monitor = cls(name, qmp, last_output)
        if subscriber is not None:
            monitor.subscribe(subscriber)
        qmp.register_listener(_Tap(monitor._deliver))
        try:
            async with asyncio.timeout(timeout):
                while not await monitor._try_connect(path, ended):
                    pass
        except TimeoutError as err:
            raise errors.OperationTimeout(
                f"domain '{name}': QEMU did not greet on its monitor within {timeout:g} s"
            ) from err
        except (QMPError, OSError, EOFError) as err:
            raise await monitor._gone("process exited while connecting to monitor") from err
        tasks.create_task(monitor._watch(), name=f"monitor-{name}")
        return monitor

    async def _try_connect(self, path: Path, ended: asyncio.Event | None) -> bool:
        """One attempt. False: QEMU has let go of the connection while it started, and lives.

        Its main thread and its monitor thread may both be woken for the first connection; the one that comes second
        then throws it away (seen with 7.2.22, about once in a thousand starts).
        """
        try:
            await self._connect(path)
        except (QMPError, OSError, EOFError):
            if ended is None or ended.is_set():
                raise
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(RETRY_PAUSE):
                    await ended.wait()
            return False
        return True

    async def _connect(self, path: Path) -> None:
        try:
            await self._qmp.connect(unix_sockets.connect(path))
        except AssertionError as err:
            # The library's last line says that the connection stands; QEMU may have ended just then.
            if self._qmp.runstate is not Runstate.DISCONNECTING:
                raise
            with contextlib.suppress(QMPError, OSError, EOFError):
                await self._qmp.disconnect()
            raise EOFError("QEMU has let go of its monitor as soon as it had greeted") from err

    async def execute(
        self,
        command: str,
        arguments: Mapping[str, Any] | None = None,
        *,
        timeout: float = COMMAND_TIMEOUT,
        out_of_band: bool = False,
    ) -> Any:
        """Run one QMP command and return the ``return`` member of its answer.

        ``out_of_band``: also when QEMU's main thread hangs (docs/interop/qmp-spec.txt, 2.3.1); few commands may.
        A QEMU that hangs has ``timeout`` seconds once, and then ``MUTE_TIMEOUT`` for each command: what is made of
        many does not take many times as long, and one that has come to again is as before.

        Raises ``CommandRefused`` with QEMU's text, ``MonitorGone``, ``errors.OperationTimeout``. After a timeout or a
        cancellation QEMU may still carry the command out; its late answer is dropped.
        """
        message = Message({"exec-oob" if out_of_band else "execute": command})
        if arguments is not None:
            message["arguments"] = dict(arguments)
        try:
            if out_of_band:
                return await self._run(message, command, timeout)
            return await self._in_turn(message, command, timeout)
        except ExecuteError as err:
            raise CommandRefused(
                f"internal error: unable to execute QEMU command '{command}': {err}",
                error_class=err.error_class,
                reply=dict(err.received),
            ) from err

    async def raw(self, text: str, *, timeout: float = COMMAND_TIMEOUT) -> str:
        """Run a command given as JSON text and return the whole answer as JSON text, errors included.

        Raises ``errors.InvalidArgument`` for text that is no QMP command, and ``MonitorGone``.
        """
        try:
            parsed = json_text.read(text)
        except ValueError as err:
            raise errors.InvalidArgument(f"cannot parse json {text}: {err}") from err
        if not isinstance(parsed, dict) or not isinstance(parsed.get("execute"), str):
            raise errors.InvalidArgument("a monitor command must be a JSON object with an 'execute' member")
        wanted_id = parsed.pop("id", None)
        try:
            answer: dict[str, Any] = {"return": await self._in_turn(Message(parsed), parsed["execute"], timeout)}
        except ExecuteError as err:
            answer = {"error": err.received["error"]}
        if wanted_id is not None:
            answer["id"] = wanted_id
        return json.dumps(answer, separators=(",", ":"))

    async def human(self, line: str, *, timeout: float = COMMAND_TIMEOUT) -> str:
        """Run one line of the human monitor and return what it prints."""
        return str(await self.execute("human-monitor-command", {"command-line": line}, timeout=timeout))

    async def send_fd(self, name: str, fd: int) -> None:
        """Give QEMU a copy of descriptor ``fd``, known to it as ``name`` until a command takes it (QMP ``getfd``).

        ``fd`` stays the caller's. Raises what ``execute`` raises.
        """
        await self._hand_over(fd, "getfd", {"fdname": name})

    async def add_fd(self, fd: int) -> int:
        """Give QEMU a copy of ``fd`` that it opens as ``/dev/fdset/NUMBER``: the number (QMP ``add-fd``).

        It is there until ``remove-fd``. ``fd`` stays the caller's. Raises what ``execute`` raises.
        """
        return int((await self._hand_over(fd, "add-fd", {}))["fdset-id"])

    async def _hand_over(self, fd: int, command: str, arguments: Mapping[str, Any]) -> Any:
        # QEMU keeps the descriptors of the newest message only: nobody may send between the two halves.
        async with self._handing_over:
            try:
                self._qmp.send_fd_scm(fd)
            except (QMPError, OSError) as err:
                raise await self._gone("cannot hand over a descriptor") from err
            return await self.execute(command, arguments)

    def subscribe(self, callback: Callback) -> Callable[[], None]:
        """Call ``callback`` with every QMP event, in order, from now on. Returns what ends that."""
        self._subscribers.append(callback)

        def unsubscribe() -> None:
            with contextlib.suppress(ValueError):
                self._subscribers.remove(callback)

        return unsubscribe

    @contextlib.asynccontextmanager
    async def events(self, names: Collection[str] = ()) -> AsyncIterator[EventQueue]:
        """Collect events from here on, of these names or of all; enter it before the command that causes them."""
        queue = EventQueue(self, names)
        unsubscribe = self.subscribe(queue.put)
        try:
            yield queue
        finally:
            unsubscribe()

    async def wait_event(
        self, names: Collection[str], timeout: float, *, where: Callable[[Event], bool] = lambda event: True
    ) -> Event:
        """The next event that has one of ``names`` and satisfies ``where``.

        Raises ``errors.OperationTimeout`` after ``timeout`` seconds and ``MonitorGone`` when the monitor ends first.
        """
        async with self.events(names) as queue:
            return await queue.get(timeout, where=where)

    async def close(self) -> None:
        """End the connection; QEMU runs on and listens again. Idempotent."""
        async with self._ending:
            # How the reader ended does not matter to the one who ends it, and everybody else is told by ``closed``.
            with contextlib.suppress(Exception):
                async with asyncio.timeout(CLOSE_TIMEOUT):
                    if self._qmp.runstate is not Runstate.IDLE:
                        await self._qmp.disconnect()
            self._end()

    @contextlib.asynccontextmanager
    async def deadline(self, timeout: float, what: str) -> AsyncIterator[None]:
        """Bound what happens inside by ``timeout`` seconds and by the life of this monitor.

        Raises ``errors.OperationTimeout`` naming ``what``, or ``MonitorGone``.
        """
        if self.closed.is_set():
            raise await self._gone()
        try:
            async with asyncio.timeout(timeout) as scope:
                self._waiting.add(scope)
                try:
                    yield
                finally:
                    self._waiting.discard(scope)
        except TimeoutError as err:
            if self.closed.is_set():
                raise await self._gone() from err
            raise errors.OperationTimeout(
                f"domain '{self.name}': QEMU did not answer '{what}' within {timeout:g} s"
            ) from err

    async def _in_turn(self, message: Message, what: str, timeout: float) -> object:
        """Run a command that QEMU's main thread carries out."""
        try:
            answer = await self._run(message, what, min(timeout, MUTE_TIMEOUT) if self._mute else timeout)
        except errors.OperationTimeout:
            self._mute = self._mute or timeout >= COMMAND_TIMEOUT
            raise
        except ExecuteError:
            self._mute = False
            raise
        self._mute = False
        return answer

    async def _run(self, message: Message, what: str, timeout: float) -> object:
        try:
            async with self.deadline(timeout, what):
                return await self._qmp.execute_msg(message)
        except ExecuteError:
            raise
        except QMPError as err:
            raise await self._gone() from err

    async def _gone(self, what: str = "qemu unexpectedly closed the monitor") -> MonitorGone:
        output = (await self._last_output()).strip()
        return MonitorGone(f"internal error: {what} of domain '{self.name}'" + (f": {output}" if output else ""))

    def _deliver(self, event: Event) -> None:
        self._mute = False
        for callback in tuple(self._subscribers):
            try:
                callback(event)
            except Exception:  # one subscriber's fault must end neither the reader nor the others
                log.exception("domain=%s event=%s a subscriber failed", self.name, event.get("event"))

    async def _watch(self) -> None:
        while self._qmp.runstate is Runstate.RUNNING:
            await self._qmp.runstate_changed()
        await self.close()

    def _end(self) -> None:
        self.closed.set()
        now = asyncio.get_running_loop().time()
        for scope in tuple(self._waiting):
            if not scope.expired():
                scope.reschedule(now)


class EventQueue:
    """Events of some names since ``Monitor.events`` was entered, in order."""

    def __init__(self, monitor: Monitor, names: Collection[str]) -> None:
        self._monitor = monitor
        self._names = frozenset(names)
        self._queue: asyncio.Queue[Event] = asyncio.Queue()

    def put(self, event: Event) -> None:
        if not self._names or event["event"] in self._names:
            self._queue.put_nowait(event)

    async def get(self, timeout: float, *, where: Callable[[Event], bool] = lambda event: True) -> Event:
        """The next event that satisfies ``where``; those before it are dropped. Raises as ``Monitor.wait_event``."""
        while not self._queue.empty():
            event = self._queue.get_nowait()
            if where(event):
                return event
        async with self._monitor.deadline(timeout, f"event {', '.join(sorted(self._names))}"):
            while True:
                event = await self._queue.get()
                if where(event):
                    return event
