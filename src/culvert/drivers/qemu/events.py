"""What happens to domains, told to whoever wants to know.

Callbacks are called in the turn in which the thing happened and in its order; they must not block.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar
from uuid import UUID

from culvert.protocol.constants_state import EventID

log = logging.getLogger(__name__)

E = TypeVar("E")


@dataclass(frozen=True, slots=True)
class DomainLifecycle:
    """A lifecycle event (``VIR_DOMAIN_EVENT_ID_LIFECYCLE``): ``event`` and ``detail`` are libvirt's numbers.

    ``id`` is the domain's at the time of the event, -1 when it is not running.
    """

    name: str
    uuid: UUID
    id: int
    event: int
    detail: int


@dataclass(frozen=True, slots=True)
class Happening:
    """An event of any other kind: ``members`` are what its message holds behind the domain, by their names there."""

    kind: EventID
    name: str
    uuid: UUID
    id: int
    members: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Heard:
    """An event of QEMU's monitor, as it came: ``seconds`` and ``micros`` since the epoch by QEMU's clock."""

    name: str
    uuid: UUID
    id: int
    event: str
    data: Mapping[str, Any] | None
    seconds: int
    micros: int


class Events:
    """The subscribers of a driver: to lifecycle events, to all others, and to what QEMU's monitors say."""

    def __init__(self) -> None:
        self._subscribers: list[Callable[[DomainLifecycle], None]] = []
        self._listeners: list[Callable[[Happening], None]] = []
        self._eavesdroppers: list[Callable[[Heard], None]] = []

    def subscribe(self, callback: Callable[[DomainLifecycle], None]) -> Callable[[], None]:
        """Call ``callback`` with every event from now on. Returns what ends that; calling it twice does no harm."""
        return _join(self._subscribers, callback)

    def listen(self, callback: Callable[[Happening], None]) -> Callable[[], None]:
        """The same for everything that is not the lifecycle."""
        return _join(self._listeners, callback)

    def eavesdrop(self, callback: Callable[[Heard], None]) -> Callable[[], None]:
        """The same for every event of every QEMU's monitor."""
        return _join(self._eavesdroppers, callback)

    def emit(self, event: DomainLifecycle) -> None:
        """Tell everybody; a subscriber that fails is logged and disturbs nobody else."""
        log.info(
            "domain=%s uuid=%s id=%d event=%d detail=%d", event.name, event.uuid, event.id, event.event, event.detail
        )
        _tell(self._subscribers, event, event.name)

    def happened(self, event: Happening) -> None:
        """Tell the listeners, as ``emit``."""
        log.info("domain=%s uuid=%s id=%d event=%s", event.name, event.uuid, event.id, event.kind.name)
        _tell(self._listeners, event, event.name)

    def heard(self, event: Heard) -> None:
        """Tell the eavesdroppers, as ``emit``."""
        _tell(self._eavesdroppers, event, event.name)


def _join(group: list[Callable[[E], None]], callback: Callable[[E], None]) -> Callable[[], None]:
    group.append(callback)

    def leave() -> None:
        if callback in group:
            group.remove(callback)

    return leave


def _tell(group: list[Callable[[E], None]], event: E, name: str) -> None:
    for callback in tuple(group):
        try:
            callback(event)
        except Exception:
            log.exception("domain=%s an event subscriber failed", name)
