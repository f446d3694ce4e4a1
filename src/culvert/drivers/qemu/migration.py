"""What QEMU does in a migration, as one object for each side; every fact is QEMU's own (qapi/migration.json).

Where one channel is enough, QEMU gets it as a descriptor over its monitor (``getfd``) and the ``fd:`` transport
(migration/fd.c): no port, no path, no helper process. Many channels need an address to connect to or to listen at
(migration/multifd.c): then it is a UNIX socket in the directory of the domain's run.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from culvert.drivers.qemu.domain import Domain
from culvert.drivers.qemu.monitor import Event, EventQueue, Monitor, MonitorGone
from culvert.ground import errors
from culvert.ground.units import MiB
from culvert.protocol.constants import PausedReason, RunningReason

UNLIMITED_SPEED = (2**63 - 1) // MiB  # QEMU_DOMAIN_MIG_BANDWIDTH_MAX, MiB/s: libvirt's default for max-bandwidth
SETTLE_TIMEOUT = 30 * 86400.0  # seconds; a migration is ended by its own deadlines, this one only bounds the wait
NOTICE_TIMEOUT = 1.0  # seconds for the end of a connection or of a process to be seen from here
_FD_NAME = "migrate"
_SPEED = "migration.speed"  # annotation: MiB/s

# Statuses after which a migration does not move any more (qapi MigrationStatus).
_SETTLED = frozenset({"completed", "failed", "cancelled"})

# Statuses in which QEMU works on a migration that can be cancelled.
UNSETTLED = frozenset({"setup", "active", "pre-switchover", "device", "wait-unplug", "cancelling"})

# What either side switches on; every other capability is switched off (qemuMigrationParamsAlwaysOn).
_SOURCE_CAPABILITIES = frozenset({"events"})
_DESTINATION_CAPABILITIES = frozenset({"events", "late-block-activate"})
_TOUCHED_CAPABILITIES = (
    *("xbzrle", "auto-converge", "rdma-pin-all", "events", "postcopy-ram", "compress", "pause-before-switchover"),
    *("late-block-activate", "multifd", "dirty-bitmaps", "return-path", "zero-copy-send"),
)

Entrance = socket.socket | Path
"""QEMU's end of the way: a socket for one channel; for many the UNIX socket at which the source's QEMU connects, or
the destination's listens, once for each."""


@dataclass(frozen=True, slots=True)
class Setup:
    """What the QEMUs of both sides must have in common.

    ``return_path``: the destination's QEMU answers on the way, so that "completed" at the source means "loaded" at
    the destination. ``connections``: channels for memory besides the main one (``multifd-channels``), 0 for none.
    """

    return_path: bool = False
    connections: int = 0

    @property
    def capabilities(self) -> frozenset[str]:
        """To be switched on."""
        return frozenset({"return-path"} if self.return_path else ()) | ({"multifd"} if self.connections else set())

    @property
    def parameters(self) -> dict[str, int]:
        """For ``migrate-set-parameters``; may be empty."""
        return {"multifd-channels": self.connections} if self.connections else {}


@dataclass(frozen=True, slots=True)
class Statistics:
    """``query-migrate`` in one flat record: bytes, milliseconds, pages per second, bytes per second."""

    status: str = "none"
    total_ms: int = 0
    setup_ms: int = 0
    downtime_ms: int | None = None
    expected_downtime_ms: int | None = None
    ram_total: int = 0
    ram_transferred: int = 0
    ram_remaining: int = 0
    ram_bps: int = 0
    constant_pages: int = 0
    normal_pages: int = 0
    normal_bytes: int = 0
    dirty_pages_rate: int = 0
    dirty_sync_count: int = 0
    page_size: int = 4096
    error: str = ""


def read_statistics(answer: dict[str, Any]) -> Statistics:
    """The record in an answer of ``query-migrate``; what QEMU leaves out is 0."""
    ram = answer.get("ram", {})
    return Statistics(
        status=answer.get("status", "none"),
        total_ms=answer.get("total-time", 0),
        setup_ms=answer.get("setup-time", 0),
        downtime_ms=answer.get("downtime"),
        expected_downtime_ms=answer.get("expected-downtime"),
        ram_total=ram.get("total", 0),
        ram_transferred=ram.get("transferred", 0),
        ram_remaining=ram.get("remaining", 0),
        ram_bps=int(ram.get("mbps", 0) * 1_000_000 / 8),
        constant_pages=ram.get("duplicate", 0),
        normal_pages=ram.get("normal", 0),
        normal_bytes=ram.get("normal-bytes", 0),
        dirty_pages_rate=ram.get("dirty-pages-rate", 0),
        dirty_sync_count=ram.get("dirty-sync-count", 0),
        page_size=ram.get("page-size", 4096),
        error=answer.get("error-desc", ""),
    )


async def set_speed(monitor: Monitor, bytes_per_second: int) -> None:
    """Limit the migration (also a running one); 0 and everything above ``UNLIMITED_SPEED`` mean no limit."""
    most = UNLIMITED_SPEED * MiB
    await monitor.execute("migrate-set-parameters", {"max-bandwidth": min(bytes_per_second or most, most)})


async def set_max_downtime(monitor: Monitor, milliseconds: int) -> None:
    """How long the guest may stand still at the end (``downtime-limit``), also of a running migration."""
    await monitor.execute("migrate-set-parameters", {"downtime-limit": milliseconds})


async def max_downtime(monitor: Monitor) -> int:
    """``downtime-limit`` in milliseconds."""
    return int((await monitor.execute("query-migrate-parameters"))["downtime-limit"])


def max_speed(domain: Domain) -> int:
    """What ``keep_speed`` has kept for the domain's migrations, in MiB/s."""
    return int(domain.annotations.get(_SPEED, UNLIMITED_SPEED))


async def keep_speed(domain: Domain, mib_per_second: int) -> None:
    """Limit every later migration of the running guest.

    Raises ``InvalidArgument`` for more than QEMU can hold, ``OperationInvalid`` when the guest does not run.
    """
    if mib_per_second > UNLIMITED_SPEED:
        raise errors.InvalidArgument(f"bandwidth must be less than {UNLIMITED_SPEED + 1}")
    domain.require_active()
    await annotate(domain, _SPEED, str(mib_per_second))


async def annotate(domain: Domain, key: str, value: str) -> None:
    """Keep ``value`` with the running domain, on the disk on return; an empty one is forgotten."""
    if value:
        domain.annotations[key] = value
    else:
        domain.annotations.pop(key, None)
    await domain.persist()


async def resume(domain: Domain, reason: RunningReason) -> None:
    """Let a guest run that a migration has paused; state and event then say ``reason``."""
    run = domain.require_active()
    run.resume_reason = reason
    try:
        await domain.monitor.execute("cont")
    finally:
        run.resume_reason = None


async def _set_capabilities(monitor: Monitor, on: frozenset[str]) -> None:
    """Switch on exactly ``on`` of what libvirt touches and this QEMU knows."""
    known = {item["capability"] for item in await monitor.execute("query-migrate-capabilities")}
    wanted = [{"capability": name, "state": name in on} for name in _TOUCHED_CAPABILITIES if name in known]
    await monitor.execute("migrate-set-capabilities", {"capabilities": wanted})


async def _prepare(monitor: Monitor, entrance: Entrance, setup: Setup, capabilities: frozenset[str]) -> str:
    """Tell QEMU all that has to be told first; the URI for its migration command."""
    await _set_capabilities(monitor, capabilities | setup.capabilities)
    if setup.parameters:
        await monitor.execute("migrate-set-parameters", setup.parameters)
    if isinstance(entrance, Path):
        return f"unix:{entrance}"
    await monitor.send_fd(_FD_NAME, entrance.fileno())
    return f"fd:{_FD_NAME}"


def process_gone(domain: Domain, side: str, cause: Exception) -> errors.OperationFailed:
    """The error for a QEMU that ended in mid-migration, with its last output."""
    output = domain.last_output().strip()
    return errors.OperationFailed(
        f"domain '{domain.name}': QEMU at the {side} ended during the migration: {output or cause}"
    )


class _Migration:
    """What both sides share: the MIGRATION events from here on, and the wait for the last of them."""

    side: ClassVar[str]

    def __init__(self, domain: Domain) -> None:
        self.domain = domain
        self.monitor = domain.monitor
        self._statuses = EventQueue(self.monitor, ["MIGRATION"])
        self._unsubscribe = self.monitor.subscribe(self._statuses.put)
        self._status = ""

    def close(self) -> None:
        """Stop listening to QEMU's events. Idempotent."""
        self._unsubscribe()

    async def settled(self) -> str:
        """Wait until the migration is completed, failed or cancelled, and say which; may be asked again.

        Raises ``OperationFailed`` with QEMU's last words when QEMU ends first.
        """
        if not self._status:
            try:
                event = await self._statuses.get(
                    SETTLE_TIMEOUT, where=lambda event: event["data"]["status"] in _SETTLED
                )
            except MonitorGone as err:
                raise process_gone(self.domain, self.side, err) from err
            self._status = event["data"]["status"]
        return self._status


class Outgoing(_Migration):
    """One migration of ``domain`` out of this host."""

    side = "source"

    def __init__(self, domain: Domain) -> None:
        super().__init__(domain)
        self.stopped_at: float | None = None
        """When the guest last stopped, on the monotonic clock; ``None`` while it has not."""
        self.on_io_error: Callable[[str], None] = lambda device: None
        """Called with the device when a disk of the guest fails meanwhile."""
        self._unsubscribe_stop = self.monitor.subscribe(self._heard)

        # Until this is over, what QEMU does with the CPUs by itself is the migration's doing.
        self._run = domain.require_active()
        self._run.stop_reason = PausedReason.MIGRATION
        self._run.resume_reason = RunningReason.MIGRATION_CANCELED

    def close(self) -> None:
        super().close()
        self._unsubscribe_stop()
        self._run.stop_reason = self._run.resume_reason = None

    def _heard(self, event: Event) -> None:
        if event["event"] in ("STOP", "RESUME"):
            self.stopped_at = time.monotonic() if event["event"] == "STOP" else None
        elif event["event"] == "BLOCK_IO_ERROR":
            self.on_io_error(str(event["data"].get("device", "")))

    async def start(self, entrance: Entrance, setup: Setup) -> None:
        """Begin to write the guest's state into ``entrance``; the caller closes its own copy of a socket.

        The limit is what ``set_speed`` has been told last. Raises ``OperationFailed`` with QEMU's words when it
        refuses.
        """
        uri = await _prepare(self.monitor, entrance, setup, _SOURCE_CAPABILITIES)
        await self.monitor.execute("migrate", {"uri": uri})

    async def cancel(self) -> None:
        """Ask QEMU to give up; ``settled`` says when it has. Harmless when there is nothing to cancel."""
        await self.monitor.execute("migrate_cancel")

    async def statistics(self) -> Statistics:
        """How far it is."""
        return read_statistics(await self.monitor.execute("query-migrate"))


class Incoming(_Migration):
    """The migration that a QEMU started with ``-incoming defer`` waits for."""

    side = "destination"

    async def start(self, entrance: Entrance, setup: Setup, *, continued: bool) -> None:
        """Let QEMU read the guest's state from ``entrance``; the caller closes its own copy of a socket.

        ``continued``: the guest will run at the end. Then its disks are activated only by ``cont``; a guest that
        stays paused gets them at once, because a QEMU with inactive disks aborts when it is migrated again
        (seen with 7.2.22 in bdrv_inactivate_recurse).
        """
        on = _DESTINATION_CAPABILITIES if continued else _DESTINATION_CAPABILITIES - {"late-block-activate"}
        uri = await _prepare(self.monitor, entrance, setup, on)
        await self.monitor.execute("migrate-incoming", {"uri": uri})

    async def failed(self) -> bool:
        """Whether QEMU could not load what came, or has ended; waits ``NOTICE_TIMEOUT`` for it to notice."""
        try:
            async with asyncio.timeout(NOTICE_TIMEOUT):
                return await self.settled() != "completed"
        except TimeoutError:
            return False
        except errors.OperationFailed:
            return True

    async def loaded(self) -> None:
        """Wait until the whole state is loaded; may be asked again.

        Raises ``OperationFailed`` with QEMU's words when it could not load it, or ended.
        """
        if (status := await self.settled()) != "completed":
            raise errors.OperationFailed(
                f"domain '{self.domain.name}': QEMU at the destination could not load the migration ({status}): "
                f"{self.domain.last_output().strip()}"
            )
