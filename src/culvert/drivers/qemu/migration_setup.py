"""What the QEMUs of both sides are told before a migration: capabilities and parameters (qapi/migration.json)."""

from __future__ import annotations

import socket
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from culvert.drivers.qemu.monitor import CommandRefused, Monitor
from culvert.ground import errors

_FD_NAME = "migrate"

# What either side switches on; every other capability is switched off (qemuMigrationParamsAlwaysOn).
SOURCE_CAPABILITIES = frozenset({"events"})
DESTINATION_CAPABILITIES = frozenset({"events", "late-block-activate"})
_TOUCHED_CAPABILITIES = (
    *("xbzrle", "auto-converge", "rdma-pin-all", "events", "postcopy-ram", "postcopy-preempt", "compress"),
    *("pause-before-switchover", "late-block-activate", "multifd", "dirty-bitmaps", "return-path", "zero-copy-send"),
)

PERSONAL = frozenset({"max-postcopy-bandwidth", "xbzrle-cache-size"})
"""Parameters that people set by calls of their own."""

Entrance = socket.socket | Path
"""QEMU's end of the way: a socket for one channel; for many the UNIX socket at which the source's QEMU connects, or
the destination's listens, once for each."""

# What QEMU has when nobody has told it anything (qapi/migration.json, MigrationParameters).
_DEFAULTS: dict[str, int | str] = {
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
    def channels(self) -> int:
        """Connections besides the main one.

        The one for preempted pages is opened with the others by QEMU 7.2, and by later ones only at the switch to
        post-copy (migration/postcopy-ram.c, postcopy_preempt_setup).
        """
        return self.connections + self.preempt

    @property
    def several(self) -> bool:
        """Whether QEMU needs an address to connect to, because one descriptor is not enough."""
        return self.channels > 0

    @property
    def capabilities(self) -> frozenset[str]:
        """To be switched on."""
        wanted = {
            "return-path": self.return_path,
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
        return {**_DEFAULTS, **self.asked}


async def _set_capabilities(monitor: Monitor, on: frozenset[str]) -> None:
    """Switch on exactly ``on`` of what libvirt touches. Raises ``OperationUnsupported`` for what QEMU has not got."""
    known = {item["capability"] for item in await monitor.execute("query-migrate-capabilities")}
    wanted = [{"capability": name, "state": name in on} for name in _TOUCHED_CAPABILITIES if name in known]
    if known and (missing := sorted(on - known)):
        raise errors.OperationUnsupported(
            f"domain '{monitor.name}': its QEMU has no migration capability {', '.join(missing)}"
        )
    try:
        await monitor.execute("migrate-set-capabilities", {"capabilities": wanted})
    except CommandRefused as err:
        if "postcopy-ram" in on:
            raise errors.OperationUnsupported(
                f"domain '{monitor.name}': its QEMU refuses post-copy ({err}); the destination's needs userfaultfd "
                "(sysctl vm.unprivileged_userfaultfd=1, or root) and memory that userfaultfd can serve"
            ) from err
        raise


async def _set_parameters(monitor: Monitor, parameters: dict[str, int | str]) -> None:
    known = await monitor.execute("query-migrate-parameters")
    missing = sorted(
        name for name, value in parameters.items() if known and name not in known and value != _DEFAULTS.get(name)
    )
    if missing:
        raise errors.OperationUnsupported(
            f"domain '{monitor.name}': its QEMU has no migration parameter {', '.join(missing)}"
        )
    changed = {name: value for name, value in parameters.items() if name in known and known[name] != value}
    if not changed:
        return
    await monitor.execute("migrate-set-parameters", changed)
    found = await monitor.execute("query-migrate-parameters")
    if ignored := sorted(name for name, value in changed.items() if found.get(name) != value):
        # 7.2.22 answers well and keeps the level of multifd's compression that it had.
        raise errors.OperationUnsupported(
            f"domain '{monitor.name}': its QEMU takes no notice of migration parameter {', '.join(ignored)}"
        )


async def tell(monitor: Monitor, setup: Setup, capabilities: frozenset[str]) -> None:
    """Have exactly ``capabilities`` and those of ``setup`` on, and its parameters set.

    Raises ``OperationUnsupported`` naming what this QEMU cannot do, ``CommandRefused`` with its words.
    """
    await _set_capabilities(monitor, capabilities | setup.capabilities)
    await _set_parameters(monitor, setup.parameters)


async def uri(monitor: Monitor, entrance: Entrance) -> str:
    """``entrance`` as QEMU's migration commands take it; the descriptor of a socket is handed over for that."""
    if isinstance(entrance, Path):
        return f"unix:{entrance}"
    await monitor.send_fd(_FD_NAME, entrance.fileno())
    return f"fd:{_FD_NAME}"
