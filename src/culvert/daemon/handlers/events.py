"""Events: who has asked for them, and their way from the driver to the client."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable
from uuid import UUID

from culvert.daemon.service import Service
from culvert.drivers.qemu.events import DomainEvent
from culvert.ground import errors
from culvert.protocol import remote, types
from culvert.protocol.constants import EventID
from culvert.rpc.dispatch import Handlers
from culvert.rpc.session import Session
from culvert.xdr.struct import Void

log = logging.getLogger(__name__)

REGISTRATIONS = "event registrations"  # key in Session.data: callback id → what ends the registration
MAX_REGISTRATIONS = 1000  # of one connection


class Events:
    """Handlers of the event group. Only lifecycle events are delivered; a registration for another is refused."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._numbers = itertools.count()

    def register(self, handlers: Handlers) -> None:
        """The procedures served here."""
        handlers.add(remote.CONNECT_DOMAIN_EVENT_CALLBACK_REGISTER_ANY, self.register_any)
        handlers.add(remote.CONNECT_DOMAIN_EVENT_CALLBACK_DEREGISTER_ANY, self.deregister_any)

    async def register_any(self, session: Session, args: remote.DomainEventIDArgs) -> remote.CallbackIDRet:
        if args.event_id != EventID.LIFECYCLE:
            name = EventID(args.event_id).name if args.event_id in list(EventID) else str(args.event_id)
            raise errors.ArgumentUnsupported(f"domain event {name} is not delivered by culvert; LIFECYCLE is")
        registrations: dict[int, Callable[[], None]] = session.data.setdefault(REGISTRATIONS, {})
        if len(registrations) >= MAX_REGISTRATIONS:
            raise errors.OperationFailed(f"too many event registrations on this connection: {MAX_REGISTRATIONS}")
        wanted = None if args.dom is None else self._service.domain(args.dom).uuid
        number = next(self._numbers)
        end = self._service.driver.events.subscribe(_poster(session, number, wanted))
        forget = session.on_close(end)

        def ended() -> None:
            forget()
            end()

        registrations[number] = ended
        log.info("session=%d callback=%d event=LIFECYCLE registered", session.id, number)
        return remote.CallbackIDRet(number)

    async def deregister_any(self, session: Session, args: remote.CallbackIDArgs) -> Void:
        end = session.data.get(REGISTRATIONS, {}).pop(args.callback_id, None)
        if end is None:
            raise errors.InvalidArgument(f"domain event callback {args.callback_id} not registered")
        end()
        return Void()


def _poster(session: Session, number: int, wanted: UUID | None) -> Callable[[DomainEvent], None]:
    def post(event: DomainEvent) -> None:
        if wanted is None or event.uuid == wanted:
            dom = types.Domain(event.name, event.uuid.bytes, event.id)
            session.post(
                remote.DOMAIN_EVENT_CALLBACK_LIFECYCLE, remote.LifecycleEvent(number, dom, event.event, event.detail)
            )

    return post
