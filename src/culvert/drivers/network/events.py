"""What happens to networks, told to whoever wants to know: ``virNetworkEventLifecycleType``."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from uuid import UUID

log = logging.getLogger(__name__)


class NetworkEvent(IntEnum):
    """VIR_NETWORK_EVENT_*."""

    DEFINED = 0
    UNDEFINED = 1
    STARTED = 2
    STOPPED = 3


@dataclass(frozen=True, slots=True)
class NetworkLifecycle:
    name: str
    uuid: UUID
    event: NetworkEvent


class NetworkEvents:
    """Callbacks are called in the turn in which the thing happened; they must not block."""

    def __init__(self) -> None:
        self._subscribers: list[Callable[[NetworkLifecycle], None]] = []

    def subscribe(self, callback: Callable[[NetworkLifecycle], None]) -> Callable[[], None]:
        """Call ``callback`` from now on. Returns what ends that; calling it twice does no harm."""
        self._subscribers.append(callback)

        def leave() -> None:
            if callback in self._subscribers:
                self._subscribers.remove(callback)

        return leave

    def emit(self, event: NetworkLifecycle) -> None:
        """A subscriber that fails is logged and disturbs nobody else."""
        log.info("network=%s uuid=%s event=%s", event.name, event.uuid, event.event.name)
        for callback in tuple(self._subscribers):
            try:
                callback(event)
            except Exception:
                log.exception("network=%s an event subscriber failed", event.name)
