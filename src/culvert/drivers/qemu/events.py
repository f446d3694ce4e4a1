"""What happens to domains, told to whoever wants to know.

Callbacks are called in the turn in which the thing happened and in its order; they must not block.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class DomainEvent:
    """A lifecycle event (``VIR_DOMAIN_EVENT_ID_LIFECYCLE``): ``event`` and ``detail`` are libvirt's numbers.

    ``id`` is the domain's at the time of the event, -1 when it is not running.
    """

    name: str
    uuid: UUID
    id: int
    event: int
    detail: int


class Events:
    """The subscribers of a driver."""

    def __init__(self) -> None:
        self._subscribers: list[Callable[[DomainEvent], None]] = []

    def subscribe(self, callback: Callable[[DomainEvent], None]) -> Callable[[], None]:
        """Call ``callback`` with every event from now on. Returns what ends that; calling it twice does no harm."""
        self._subscribers.append(callback)

        def unsubscribe() -> None:
            if callback in self._subscribers:
                self._subscribers.remove(callback)

        return unsubscribe

    def emit(self, event: DomainEvent) -> None:
        """Tell everybody; a subscriber that fails is logged and disturbs nobody else."""
        log.info(
            "domain=%s uuid=%s id=%d event=%d detail=%d", event.name, event.uuid, event.id, event.event, event.detail
        )
        for callback in tuple(self._subscribers):
            try:
                callback(event)
            except Exception:
                log.exception("domain=%s an event subscriber failed", event.name)
