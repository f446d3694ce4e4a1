"""From a call on the wire to the function that serves it, and back to an answer.

Handlers are declared beside the table rows they serve, and mypy checks their signatures against the row::

    handlers = Handlers(remote.PROGRAM)

    @handlers.serves(remote.CONNECT_GET_HOSTNAME)
    async def hostname(session: Session, args: Void) -> remote.HostnameRet: ...

    @handlers.streams(remote.DOMAIN_SCREENSHOT)
    async def screenshot(session: Session, args: ...) -> tuple[remote.ScreenshotRet, StreamBody]: ...

``handlers.add`` and ``handlers.add_stream`` do the same for bound methods. A row without a handler is answered
"not supported", and a number that nobody knows "unknown procedure", which clients turn into the same.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import Any, TypeVar

from culvert.ground import errors
from culvert.protocol import errors as wire_errors
from culvert.protocol.procedure import Procedure, Program, StreamDirection
from culvert.rpc.answer import Answer, StreamBody, refusal
from culvert.rpc.programs import Index
from culvert.rpc.session import Session
from culvert.wire import events
from culvert.wire.packet import PAYLOAD_MAX, PacketStatus
from culvert.xdr.codec import XdrError
from culvert.xdr.struct import decode, encode

log = logging.getLogger(__name__)

A = TypeVar("A")
R = TypeVar("R")

Handler = Callable[[Session, A], Awaitable[R]]


class Doorkeeper:
    """Who stands before the handlers; this one lets everybody in and keeps no record."""

    async def permit(self, session: Session, row: Procedure[Any, Any], args: object) -> None:
        """Whether ``session`` may make this call; raises ``errors.RequestError`` where not."""

    def record(
        self, session: Session, row: Procedure[Any, Any], args: object | None, came: object | errors.RequestError
    ) -> None:
        """The call is over: ``came`` is its result, or why there is none. ``args``: None where nobody read them."""


StreamHandler = Callable[[Session, A], Awaitable[tuple[R, StreamBody]]]
PassingHandler = Callable[[Session, A], Awaitable[tuple[R, socket.socket]]]
"""Its socket is passed to the client and closed here."""


class Handlers:
    """The functions that serve one program."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self._functions: dict[int, Callable[[Session, Any], Awaitable[Any]]] = {}

    def add(self, row: Procedure[A, R], function: Handler[A, R]) -> None:
        """Serve ``row`` with ``function``. Raises ``ValueError`` when it is served already or is not for calls."""
        if row.stream is not StreamDirection.NONE:
            raise ValueError(f"{row.name} opens a stream: use streams() or add_stream()")
        if row.passes:
            raise ValueError(f"{row.name} passes a descriptor: use add_passing()")
        self._put(row, function)

    def add_stream(self, row: Procedure[A, R], function: StreamHandler[A, R]) -> None:
        """Serve ``row``, which opens a stream, with ``function``. Raises ``ValueError`` as ``add`` does."""
        if row.stream is StreamDirection.NONE:
            raise ValueError(f"{row.name} opens no stream: use serves() or add()")
        self._put(row, function)

    def add_passing(self, row: Procedure[A, R], function: PassingHandler[A, R]) -> None:
        """Serve ``row``, which passes a descriptor, with ``function``. Raises ``ValueError`` as ``add`` does."""
        if not row.passes:
            raise ValueError(f"{row.name} passes no descriptor: use serves() or add()")
        self._put(row, function)

    def serves(self, row: Procedure[A, R]) -> Callable[[Handler[A, R]], Handler[A, R]]:
        """Decorator form of ``add``."""

        def decorate(function: Handler[A, R]) -> Handler[A, R]:
            self.add(row, function)
            return function

        return decorate

    def streams(self, row: Procedure[A, R]) -> Callable[[StreamHandler[A, R]], StreamHandler[A, R]]:
        """Decorator form of ``add_stream``."""

        def decorate(function: StreamHandler[A, R]) -> StreamHandler[A, R]:
            self.add_stream(row, function)
            return function

        return decorate

    def get(self, number: int) -> Callable[[Session, Any], Awaitable[Any]] | None:
        """The function for a procedure number."""
        return self._functions.get(number)

    def __iter__(self) -> Iterator[Procedure[Any, Any]]:
        """The rows that are served, in the table's order."""
        return iter([row for row in self.program if row.number in self._functions])

    def _put(self, row: Procedure[Any, Any], function: Callable[[Session, Any], Awaitable[Any]]) -> None:
        if self.program.procedures.get(row.number) is not row:
            raise ValueError(f"{row.name} is not a row of program {self.program.name}")
        if row.number in self._functions:
            raise ValueError(f"{row.name} is served already")
        self._functions[row.number] = function


class Dispatcher:
    """All handlers of a server, and the rules that hold before any of them is asked (rpc/virnetserverprogram.c)."""

    def __init__(self, handlers: Iterable[Handlers], gate: Doorkeeper | None = None) -> None:
        self._gate = gate or Doorkeeper()
        self._handlers = {(each.program.number, each.program.version): each for each in handlers}
        self.index = Index(each.program for each in self._handlers.values())

    async def answer(self, session: Session, call: events.CallReceived) -> Answer:
        """Serve ``call``. Raises nothing but cancellation: whatever goes wrong is the answer."""
        name = f"{call.program:#x}/{call.procedure}"
        try:
            row, function = self._find(call)
        except errors.RequestError as err:
            log.debug("call refused session=%d procedure=%s error=%s", session.id, name, err)
            return refusal(err)
        args = None
        try:
            name = row.name
            self._permit(session, row)
            try:
                args = decode(row.args, call.payload)
            except XdrError as err:
                raise errors.RpcError(f"Unable to decode message payload of {name}: {err}") from err
            log.debug("call session=%d procedure=%s serial=%d", session.id, name, call.serial)
            await self._gate.permit(session, row, args)
            found = await function(session, args)
            ret, more = found if row.stream is not StreamDirection.NONE or row.passes else (found, None)
            if not isinstance(ret, row.ret):
                raise TypeError(f"the handler of {name} answered {type(ret).__name__}, not {row.ret.__name__}")
            payload = encode(ret)
            if len(payload) > PAYLOAD_MAX:
                raise errors.RpcError(f"the result of {name} is {len(payload)} bytes long, too long for a packet")
            self._gate.record(session, row, args, ret)
            return Answer(True, payload, row, None if row.passes else more, more if row.passes else None)
        except errors.RequestError as err:
            log.debug("call refused session=%d procedure=%s error=%s", session.id, name, err)
            self._gate.record(session, row, args, err)
            return refusal(err)
        except Exception as err:
            log.exception("call failed session=%d procedure=%s", session.id, name)
            internal = errors.InternalError(f"internal error: {name}: {err or type(err).__name__}")
            self._gate.record(session, row, args, internal)
            return refusal(internal)

    def _find(
        self, call: events.CallReceived
    ) -> tuple[Procedure[Any, Any], Callable[[Session, Any], Awaitable[Any]]]:
        handlers = self._handlers.get((call.program, call.version))
        if handlers is None:
            raise errors.RpcError(f"Cannot find program {call.program} version {call.version}")
        if call.status is not PacketStatus.OK:
            raise errors.RpcError(f"unexpected message status {int(call.status)} in a call")
        row = handlers.program.procedures.get(call.procedure)
        function = handlers.get(call.procedure)
        if row is None or function is None:
            raise _unserved(handlers.program, call.procedure)
        return row, function

    def _permit(self, session: Session, row: Procedure[Any, Any]) -> None:
        if not session.authenticated and not row.before_auth:
            raise errors.RpcError("authentication required")
        if not session.opened and not (row.before_open or row.before_auth):
            raise errors.NotOpen("hypervisor connection not open")
        if session.read_only and not row.read_only:
            raise errors.OperationDenied(f"operation {row.name} forbidden: the connection is read-only")
        if row.passes and session.transport != "unix":
            raise errors.OperationUnsupported(
                f"{row.name} passes a file descriptor: that takes the daemon's UNIX socket"
            )


def _unserved(program: Program, number: int) -> errors.RequestError:
    """What is said of a procedure that nobody serves; of libvirt's, what virReportUnsupportedError says."""
    name = program.name_of(number)
    if name and program.function is not None:
        return errors.NoSupport(f"this function is not supported by the connection driver: {program.function(name)}")
    said = f" ({name} is not served by culvert)" if name else ""
    return errors.RpcError(f"{wire_errors.UNKNOWN_PROCEDURE}: {number}{said}")
