"""Which channels a migration has: each with a kind and a name, in the order in which QEMU opens them; pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

from culvert.ground import errors
from culvert.hypervisor.setup import Setup
from culvert.protocol.culvert import ChannelKind

_NAME = re.compile(r"[A-Za-z0-9_-]{0,64}")


@dataclass(frozen=True, slots=True)
class Channel:
    """One byte path between the two QEMUs; ``name`` tells channels of one kind apart."""

    kind: ChannelKind
    name: str = ""

    @classmethod
    def parse(cls, kind: str, name: str) -> Self:
        """The channel that a peer calls so. Raises ``errors.InvalidArgument`` for what is no kind or no name."""
        if kind not in list(ChannelKind):
            raise errors.InvalidArgument(f"channel kind {kind[:64]!r} is not one of {', '.join(ChannelKind)}")
        if not _NAME.fullmatch(name):
            raise errors.InvalidArgument(f"a channel of kind '{kind}' cannot be named {name[:64]!r}")
        return cls(ChannelKind(kind), name)

    def __str__(self) -> str:
        return f"{self.kind} {self.name}" if self.name else str(self.kind)


MAIN = Channel(ChannelKind.MEMORY_MAIN)
PREEMPT = Channel(ChannelKind.MEMORY_PREEMPT)


@dataclass(frozen=True, slots=True)
class ChannelPlan:
    """The channels of one migration, ``MAIN`` first; a channel that is not in it is none of this migration."""

    channels: tuple[Channel, ...]

    @classmethod
    def of(cls, setup: Setup) -> Self:
        """What the QEMUs of both sides open for ``setup``.

        The one for preempted pages is opened with the others by QEMU 7.2, and by later ones only at the switch to
        post-copy (migration/postcopy-ram.c, postcopy_preempt_setup): it is the last in either case.
        """
        several = (Channel(ChannelKind.MEMORY_MULTIFD, str(number)) for number in range(1, setup.connections + 1))
        return cls((MAIN, *several, *([PREEMPT] if setup.preempt else [])))

    def __len__(self) -> int:
        return len(self.channels)

    def __iter__(self) -> Iterator[Channel]:
        return iter(self.channels)

    def __contains__(self, channel: object) -> bool:
        return channel in self.channels

    @property
    def is_single(self) -> bool:
        """Whether one descriptor is enough for QEMU; otherwise it needs an address to connect to."""
        return len(self.channels) == 1

    @property
    def at_once(self) -> tuple[Channel, ...]:
        """Those that QEMU opens when it is told to begin; the rest it may open late, or never."""
        return tuple(channel for channel in self.channels if channel != PREEMPT)

    def number(self, channel: Channel) -> int:
        """What wire 1 calls ``channel``."""
        return self.channels.index(channel)

    def numbered(self, number: int, *, of: str) -> Channel:
        """The channel that wire 1 calls ``number``. Raises ``errors.InvalidStream``, naming whose (``of``)."""
        if not 0 <= number < len(self.channels):
            raise errors.InvalidStream(f"{of}: channel {number} is not one of the {len(self)} that were prepared")
        return self.channels[number]
