"""What the hypervisors of both sides must have in common for a migration, in QEMU's words (qapi/migration.json)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, Self

PERSONAL = frozenset({"max-postcopy-bandwidth", "xbzrle-cache-size"})
"""Parameters that people set by calls of their own."""


class Descriptor(Protocol):
    """What has a file descriptor: a socket, without a word of what sockets are."""

    def fileno(self) -> int: ...


Entrance = Descriptor | Path
"""QEMU's end of the way: a socket for one channel; for many the UNIX socket at which the source's QEMU connects, or
the destination's listens, once for each."""

# What QEMU has when nobody has told it anything (qapi/migration.json, MigrationParameters).
DEFAULTS: dict[str, int | str] = {
    "multifd-channels": 2,
    "multifd-compression": "none",
    "multifd-zlib-level": 1,
    "multifd-zstd-level": 1,
    "cpu-throttle-initial": 20,
    "cpu-throttle-increment": 10,
    "max-cpu-throttle": 99,
}


@dataclass(frozen=True, slots=True)
class Setup:
    """What the QEMUs of both sides must have in common. 0 in a number means QEMU's own default.

    ``return_path``: the destination's QEMU answers on the way, so that "completed" at the source means "loaded" at
    the destination. ``connections``: channels for memory besides the main one (``multifd-channels``), 0 for none.
    ``postcopy``: allowed, not begun. ``preempt``: the page that the guest waits for has a channel of its own
    (``postcopy-preempt``, from QEMU 7.2 on). ``compression``: of multifd, ``none``, ``zlib`` or ``zstd``, with its
    level. ``xbzrle_cache`` in bytes; ``throttle_…`` in percent of the guest's CPU time; ``postcopy_bandwidth`` in
    bytes per second, for what the guest has not asked for.
    """

    return_path: bool = False
    connections: int = 0
    postcopy: bool = False
    preempt: bool = False
    postcopy_bandwidth: int | None = None
    auto_converge: bool = False
    throttle_initial: int = 0
    throttle_increment: int = 0
    throttle_max: int = 0
    xbzrle: bool = False
    xbzrle_cache: int = 0
    compression: str = "none"
    zlib_level: int | None = None
    zstd_level: int | None = None

    def for_destination(self) -> Self:
        """The same without what only who sends heeds, and would find again when it sends one day."""
        return replace(self, postcopy_bandwidth=None, xbzrle_cache=0)

    @property
    def capabilities(self) -> frozenset[str]:
        """To be switched on."""
        wanted = {
            # Who asks for pages needs it, and from 10.2 on the answer that makes the switch final comes by it.
            "return-path": self.return_path or self.postcopy,
            "multifd": self.connections > 0,
            "postcopy-ram": self.postcopy,
            "postcopy-preempt": self.preempt,
            "auto-converge": self.auto_converge,
            "xbzrle": self.xbzrle,
        }
        return frozenset(name for name, on in wanted.items() if on)

    @property
    def asked(self) -> dict[str, int | str]:
        """What is asked for by QEMU's names."""
        named: dict[str, int | str | None] = {
            "multifd-channels": self.connections or None,
            "multifd-compression": self.compression,
            "multifd-zlib-level": self.zlib_level,
            "multifd-zstd-level": self.zstd_level,
            "cpu-throttle-initial": self.throttle_initial or None,
            "cpu-throttle-increment": self.throttle_increment or None,
            "max-cpu-throttle": self.throttle_max or None,
            "xbzrle-cache-size": self.xbzrle_cache or None,
            "max-postcopy-bandwidth": self.postcopy_bandwidth,
        }
        return {name: value for name, value in named.items() if value is not None}

    @property
    def parameters(self) -> dict[str, int | str]:
        """For ``migrate-set-parameters``: what is asked for, and QEMU's defaults for what an earlier one has set;
        ``PERSONAL`` ones only when this migration asks for them."""
        return {**DEFAULTS, **self.asked}
