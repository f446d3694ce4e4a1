"""Who takes a migration through its steps, as the source's machine sees them."""

from __future__ import annotations

from typing import Protocol

from culvert.channels.data_path import DataPath
from culvert.migration.handover.machine_source import Event


class Driving(Protocol):
    """Who takes a migration through its steps: this daemon, or a client."""

    async def prepare(self) -> DataPath:
        """The destination is ready: the way to its QEMU. Raises why not."""

    async def grant(self) -> Event:
        """Hand the grant out; what came of it: YES, NO, CUT, CLAIMED. ``departure.doubt`` says why it is no YES."""

    def call_off(self) -> None:
        """Begin to tell the destination that it is off, if it can be told."""

    async def close(self) -> None:
        """Let go of everything, when what was begun to be told has been, or could not be."""


class Rescuing(Driving, Protocol):
    """Who can take up a post-copy that has lost its way, or call off one that its QEMU has given up."""

    async def reopen(self) -> DataPath:
        """A new way. Raises why there is none."""

    async def recall(self) -> tuple[Event, str]:
        """Tell the destination by a new connection that it is off: its word then, and in words why (``ask.word``)."""
