"""What the migration side must be told of this host and its configuration."""

from __future__ import annotations

from dataclasses import dataclass, field
from uuid import UUID

from culvert.tunnel.limits import ChannelLimits


@dataclass(frozen=True, slots=True)
class Settings:
    """``hostname`` and ``host_uuid`` go into cookies; seconds as in the configuration, 0 for no limit.

    ``route`` and ``compression`` are words of ``route.choose``; ``auto``: migrations are flown by ``autopilot``, and
    a guest keeps ``auto_floor`` percent of its CPU time at least (``None``: as many as the policy says);
    ``attach_seconds`` is how long after prepare the data may begin to come, ``reattach_seconds`` how long a migration
    on the pump route lives without a connection; ``give_up_seconds`` is how long a prepared migration waits for a
    source that says nothing at all; ``pump`` are the limits of each channel on it. ``host_speed`` is what all
    migrations out of this host may send together, in bytes per second.
    """

    hostname: str
    host_uuid: UUID
    deadline_seconds: float = 0.0
    stall_seconds: float = 120.0
    route: str = "auto"
    compression: str = "off"
    auto: bool = False
    auto_floor: int | None = None
    attach_seconds: float = 30.0
    reattach_seconds: float = 60.0
    give_up_seconds: float = 300.0
    host_speed: int = 0
    pump: ChannelLimits = field(default_factory=ChannelLimits)
