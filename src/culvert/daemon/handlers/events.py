"""Events: who has asked for them, and their way from the driver to the client."""

from __future__ import annotations

import itertools
import json
import logging
import re
from collections.abc import Callable, Mapping
from typing import Any
from uuid import UUID

from culvert.daemon.handlers.job import typed
from culvert.daemon.service import Service, no_flags
from culvert.drivers.qemu.events import DomainLifecycle, Happening, Heard
from culvert.ground import errors
from culvert.protocol import qemu, remote_event, remote_object, remote_register, shapes, types
from culvert.protocol.constants_state import EventID
from culvert.protocol.procedure import Procedure
from culvert.protocol.shapes import CallbackIDArgs, CallbackIDRet
from culvert.rpc.dispatch import Handlers
from culvert.rpc.session import Session
from culvert.xdr.struct import Void

log = logging.getLogger(__name__)

REGISTRATIONS = "event registrations"  # key in Session.data: callback id → what ends the registration
MAX_REGISTRATIONS = 1000  # of one connection
PATTERN_MAX = 256  # characters of a name or an expression that monitor events are chosen by
Told = Callable[[UUID, str], bool]
"""Whether a client is told what happens to the guest of that UUID and name."""
REGEX, NOCASE = 1, 2  # VIR_CONNECT_DOMAIN_QEMU_MONITOR_EVENT_REGISTER_*

# Registrations for what culvert keeps none of: accepted, and nothing ever comes of them.
SILENT: tuple[tuple[Procedure[Any, CallbackIDRet], Procedure[CallbackIDArgs, Void]], ...] = (
    (
        remote_register.CONNECT_STORAGE_POOL_EVENT_REGISTER_ANY,
        remote_register.CONNECT_STORAGE_POOL_EVENT_DEREGISTER_ANY,
    ),
    (
        remote_register.CONNECT_NODE_DEVICE_EVENT_REGISTER_ANY,
        remote_register.CONNECT_NODE_DEVICE_EVENT_DEREGISTER_ANY,
    ),
    (remote_object.CONNECT_SECRET_EVENT_REGISTER_ANY, remote_object.CONNECT_SECRET_EVENT_DEREGISTER_ANY),
)

# What a driver tells in terms of its own → the members of the message.
CONVERTED: dict[EventID, Callable[[Mapping[str, Any]], dict[str, Any]]] = {
    EventID.JOB_COMPLETED: lambda members: {"params": typed(members["record"])},
}

_numbers = itertools.count()  # callback ids, over all programs


class EventHandlers:
    """Handlers of the event group. A kind that nothing in culvert causes is registered for like any other."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def register(self, handlers: Handlers) -> None:
        """The procedures served here."""
        handlers.add(remote_register.CONNECT_DOMAIN_EVENT_CALLBACK_REGISTER_ANY, self.register_any)
        handlers.add(remote_register.CONNECT_DOMAIN_EVENT_CALLBACK_DEREGISTER_ANY, deregister)
        for silent, over in SILENT:
            handlers.add(silent, self.register_silent)
            handlers.add(over, deregister)

    async def register_any(self, session: Session, args: shapes.DomainEventIDArgs) -> shapes.CallbackIDRet:
        if args.event_id not in list(EventID):
            raise errors.InvalidArgument(f"unsupported event ID {args.event_id}")
        kind = EventID(args.event_id)
        wanted = None if args.dom is None else self._service.domain(args.dom).uuid
        events = self._service.driver.events
        return keep(
            session,
            kind.name,
            lambda number: (
                events.subscribe(_lifecycle(session, number, self._told(session, wanted)))
                if kind is EventID.LIFECYCLE
                else events.listen(_happening(session, number, self._told(session, wanted), kind))
            ),
        )

    def _told(self, session: Session, wanted: UUID | None) -> Told:
        return told(self._service, session, wanted)

    async def register_silent(self, session: Session, args: object) -> shapes.CallbackIDRet:
        return keep(session, type(args).__name__.removesuffix("RegisterArgs"), lambda number: _nothing)


class MonitorEventHandlers:
    """Handlers of the QEMU program's events: what QEMU's monitors say, word for word."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def register(self, handlers: Handlers) -> None:
        """The procedures served here."""
        handlers.add(qemu.CONNECT_DOMAIN_MONITOR_EVENT_REGISTER, self.register_monitor)
        handlers.add(qemu.CONNECT_DOMAIN_MONITOR_EVENT_DEREGISTER, deregister)

    async def register_monitor(self, session: Session, args: qemu.MonitorEventRegisterArgs) -> CallbackIDRet:
        no_flags(args.flags, "qemuConnectDomainQemuMonitorEventRegister", REGEX | NOCASE)
        wanted = None if args.dom is None else self._service.domain(args.dom).uuid
        chosen = _chooser(args.event, args.flags)

        def begin(number: int) -> Callable[[], None]:
            return self._service.driver.events.eavesdrop(
                _monitor(session, number, told(self._service, session, wanted), chosen)
            )

        return keep(session, f"monitor {args.event or 'all'!r}", begin)


def keep(session: Session, what: str, begin: Callable[[int], Callable[[], None]]) -> CallbackIDRet:
    """Register under a new number; ``begin`` gets it and returns what ends it. It ends with the connection.

    Raises ``errors.OperationFailed`` for a connection that has too many.
    """
    registrations: dict[int, Callable[[], None]] = session.data.setdefault(REGISTRATIONS, {})
    if len(registrations) >= MAX_REGISTRATIONS:
        raise errors.OperationFailed(f"too many event registrations on this connection: {MAX_REGISTRATIONS}")
    number = next(_numbers)
    end = begin(number)
    forget = session.on_close(end)

    def ended() -> None:
        forget()
        end()

    registrations[number] = ended
    log.info("session=%d callback=%d event=%s registered", session.id, number, what)
    return CallbackIDRet(number)


async def deregister(session: Session, args: CallbackIDArgs) -> Void:
    """End the registration of that number."""
    end = session.data.get(REGISTRATIONS, {}).pop(args.callback_id, None)
    if end is None:
        raise errors.InvalidArgument(f"domain event callback {args.callback_id} not registered")
    end()
    return Void()


def _nothing() -> None:
    """There is nothing to end."""


def told(service: Service, session: Session, wanted: UUID | None) -> Told:
    """Whether an event of a guest is for this client: the guest asked for, or any, of those it may know of."""
    for domain in service.driver.domains():
        service.rights.sees_still(session, domain.uuid, domain.name)

    def is_told(uuid: UUID, name: str) -> bool:
        return (wanted is None or uuid == wanted) and service.rights.sees_still(session, uuid, name)

    return is_told


def _lifecycle(session: Session, number: int, wanted: Told) -> Callable[[DomainLifecycle], None]:
    def post(event: DomainLifecycle) -> None:
        if wanted(event.uuid, event.name):
            dom = types.Domain(event.name, event.uuid.bytes, event.id)
            session.post(
                remote_event.DOMAIN_EVENT_CALLBACK_LIFECYCLE,
                remote_event.LifecycleEvent(number, dom, event.event, event.detail),
            )

    return post


def _happening(session: Session, number: int, wanted: Told, kind: EventID) -> Callable[[Happening], None]:
    row = remote_event.DOMAIN_EVENTS[kind]

    def post(event: Happening) -> None:
        if event.kind is kind and wanted(event.uuid, event.name):
            dom = types.Domain(event.name, event.uuid.bytes, event.id)
            members = CONVERTED[kind](event.members) if kind in CONVERTED else event.members
            session.post(row, row.body(callback_id=number, dom=dom, **members))

    return post


def _chooser(name: str | None, flags: int) -> Callable[[str], bool]:
    """Whether an event's name is one that was asked for. Raises ``errors.InvalidArgument`` for a bad expression."""
    if name is None:
        return lambda told: True
    if len(name) > PATTERN_MAX:
        raise errors.InvalidArgument(f"invalid argument: an event's name has at most {PATTERN_MAX} characters")
    try:
        pattern = name if flags & REGEX else rf"\A{re.escape(name)}\Z"
        expression = re.compile(pattern, re.IGNORECASE if flags & NOCASE else 0)
    except re.error as err:
        raise errors.InvalidArgument(f"invalid argument: failed to compile regex '{name}': {err}") from err
    return lambda told: expression.search(told) is not None


def _monitor(session: Session, number: int, wanted: Told, chosen: Callable[[str], bool]) -> Callable[[Heard], None]:
    def post(event: Heard) -> None:
        if chosen(event.event) and wanted(event.uuid, event.name):
            dom = types.Domain(event.name, event.uuid.bytes, event.id)
            details = None if event.data is None else json.dumps(event.data, separators=(",", ":"))
            session.post(
                qemu.DOMAIN_MONITOR_EVENT,
                qemu.MonitorEvent(number, dom, event.event, event.seconds, event.micros, details),
            )

    return post
