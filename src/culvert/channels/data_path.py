"""What a data path is, whatever its route."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Protocol

from culvert.channels.plan import ChannelPlan
from culvert.channels.route import Route
from culvert.hypervisor.setup import Entrance, Setup
from culvert.tunnel.relay import Meter


class DataPath(Protocol):
    """How one migration's data goes: QEMU's end of it, and what the source's daemon does at its own."""

    @property
    def route(self) -> Route:
        """Which kind it is."""

    @property
    def setup(self) -> Setup:
        """What QEMU has to be told for it."""

    @property
    def plan(self) -> ChannelPlan:
        """Its channels."""

    @property
    def meter(self) -> Meter | None:
        """Bytes moved; ``None`` where only QEMU knows."""

    @property
    def interruptions(self) -> int:
        """How often a connection of it was lost and opened anew."""

    @property
    def is_whole(self) -> bool:
        """Whether all of it is connected now, as far as is known without QEMU."""

    @property
    def outlives_connection(self) -> bool:
        """Whether it goes on when the connection of the calls is lost."""

    def entrance(self) -> AbstractContextManager[Entrance]:
        """QEMU's end; our copy of a socket is closed when the block ends."""

    async def carry(self) -> None:
        """Work until QEMU has closed its end, or until it is cancelled. Raises what breaks it."""

    async def hold_on(self) -> None:
        """From now on QEMU may not see its end while there is hope: wait until all of it is connected, as far as is
        known, and let nothing but the other end's word end it."""

    async def finish(self) -> None:
        """QEMU has said that it is done: the other end has consumed everything on return. Raises its late errors."""

    def abort(self, reason: str) -> None:
        """The end is abnormal: the other end is told, and a QEMU that is blocked in a write is woken. Idempotent."""

    def close(self) -> None:
        """Let go of everything. Idempotent."""
