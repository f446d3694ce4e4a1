"""QEMU as the hypervisor of one guest: the contract of a migration, fulfilled."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence

from culvert.drivers.qemu import migration, shared, viewers
from culvert.drivers.qemu import migration_tuning as tuning
from culvert.drivers.qemu.abilities.ability import Ability
from culvert.drivers.qemu.migration import QemuGuest, QemuIncoming, QemuOutgoing
from culvert.drivers.qemu.monitor import Event, MonitorGone
from culvert.ground import errors
from culvert.hypervisor.setup import Setup
from culvert.hypervisor.viewer import Screen
from culvert.protocol.constants_state import RunningReason


class QemuHypervisor:
    """The QEMU of ``domain``, as ``hypervisor.contract.Hypervisor``: what each call means is said there."""

    def __init__(self, domain: QemuGuest) -> None:
        self._domain = domain

    def outgoing(self) -> QemuOutgoing:
        return QemuOutgoing(self._domain)

    def incoming(self) -> QemuIncoming:
        return QemuIncoming(self._domain)

    async def resume(self, reason: RunningReason) -> None:
        await migration.resume(self._domain, reason)

    async def announce(self) -> None:
        await migration.announce(self._domain)

    async def version(self) -> int:
        return await tuning.version(self._domain.monitor)

    async def status(self) -> str:
        return str((await self._domain.monitor.execute("query-migrate")).get("status", ""))

    async def run_state(self) -> str:
        return str((await self._domain.monitor.execute("query-status"))["status"])

    async def blockers(self) -> Sequence[str]:
        if self._domain.has_snapshots:
            raise errors.OperationInvalid(f"cannot migrate domain with {self._domain.has_snapshots} snapshots")
        return await self.blocked_reasons()

    async def blocked_reasons(self) -> Sequence[str]:
        """Why QEMU cannot pass its state on now."""
        found: list[str] = (await self._domain.monitor.execute("query-migrate")).get("blocked-reasons", [])
        return found

    async def missing_cpu_features(self) -> Sequence[str]:
        monitor = self._domain.monitor
        first = (await monitor.execute("query-cpus-fast"))[0]["qom-path"]
        found: list[str] = await monitor.execute("qom-get", {"path": first, "property": "unavailable-features"})
        return sorted(set(found))

    async def has_cpu_feature(self, name: str) -> bool:
        """Whether the guest's processors have it, by QEMU's name."""
        monitor = self._domain.monitor
        first = (await monitor.execute("query-cpus-fast"))[0]["qom-path"]
        return bool(await monitor.execute("qom-get", {"path": first, "property": name}))

    async def is_shared(self, path: str) -> bool:
        return await asyncio.to_thread(shared.is_shared, path)

    async def dirty_rate(self) -> float | None:
        return await tuning.dirty_rate(self._domain.monitor)

    def screen(self) -> Screen | None:
        return viewers.screen(self._domain)

    async def send_viewers(self, screen: Screen) -> None:
        await viewers.send(self._domain, screen)

    async def viewers_gone(self) -> None:
        await viewers.gone(self._domain)

    async def has_preempt(self) -> bool:
        return await tuning.preempt(self._domain.monitor)

    async def gone(self, side: str, cause: Exception) -> errors.OperationFailed:
        return await migration.process_gone(self._domain, side, cause)

    async def behind(self, side: str, error: errors.RequestError) -> errors.RequestError:
        return await self.gone(side, error) if isinstance(error, MonitorGone) else error

    def ended(self, side: str) -> errors.GuestEnded | None:
        return migration.ended(self._domain, side)

    def on_round(self, begun: Callable[[], None]) -> Callable[[], object]:
        def heard(event: Event) -> None:
            if event["event"] == "MIGRATION_PASS":
                begun()

        return self._domain.monitor.subscribe(heard)

    @property
    def max_speed(self) -> int:
        return migration.max_speed(self._domain)

    async def set_speed(self, bytes_per_second: int) -> None:
        await migration.set_speed(self._domain.monitor, bytes_per_second)

    def can_expect_speed(self) -> bool:
        return Ability.AVAIL_SWITCHOVER_BANDWIDTH in self._domain.require_active().abilities

    async def expect_speed(self, bytes_per_second: int) -> None:
        if self.can_expect_speed():
            await tuning.expect_speed(self._domain.monitor, bytes_per_second)

    async def postcopy_speed(self) -> int:
        return await tuning.postcopy_limit(self._domain.monitor)

    async def set_postcopy_speed(self, bytes_per_second: int) -> None:
        await tuning.limit_postcopy(self._domain.monitor, bytes_per_second)

    async def max_downtime(self) -> int:
        return await migration.max_downtime(self._domain.monitor)

    async def set_max_downtime(self, milliseconds: int) -> None:
        await migration.set_max_downtime(self._domain.monitor, milliseconds)

    async def allow_throttle(self, percent: int, *, step: int) -> None:
        await tuning.allow_throttle(self._domain.monitor, percent, step=step)

    async def personal(self, setup: Setup) -> Mapping[str, int]:
        return await tuning.personal(self._domain.monitor, setup)

    async def put_back(self, before: Mapping[str, int], setup: Setup) -> None:
        await tuning.put_back(self._domain.monitor, before, setup)
