"""What the migration side must be told of this host and its configuration."""

from __future__ import annotations

from dataclasses import dataclass, field
from uuid import UUID

from culvert.io.tls_side import ClientSide


@dataclass(frozen=True, slots=True)
class Settings:
    """``hostname`` and ``host_uuid`` go into cookies; seconds as in the configuration, 0 for no limit.

    ``route`` is a word of ``route.choose``; ``security`` is what this daemon shows the destinations it connects to.
    """

    hostname: str
    host_uuid: UUID
    connect_seconds: float = 20.0
    deadline_seconds: float = 0.0
    stall_seconds: float = 120.0
    route: str = "stream"
    security: ClientSide = field(default_factory=ClientSide)
