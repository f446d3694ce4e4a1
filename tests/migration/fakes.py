"""A domain whose QEMU does what the test says: for orders of events that the real one cannot be made to show.

The monitor is the real class without a process behind it: commands are recorded and answered from a table, events are
delivered by ``happen``. Everything above it is the real thing. The real QEMU is in ``tests/system``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID

from qemu.qmp import QMPClient

from culvert.channels.simple_paths import StreamPath
from culvert.drivers.qemu.abilities.ability import NONE
from culvert.drivers.qemu.domain import Domain
from culvert.drivers.qemu.hypervisor import QemuHypervisor
from culvert.drivers.qemu.monitor import Monitor, silent
from culvert.drivers.qemu.run import Ending
from culvert.ground import errors
from culvert.hypervisor.setup import Setup
from culvert.protocol.constants_state import DomainState, PausedReason, RunningReason, ShutoffReason, StoppedDetail
from culvert.rpc.stream import Stream

ANSWERS: dict[str, Any] = {
    "query-migrate-capabilities": [],
    "query-migrate-parameters": {"downtime-limit": 300},
}


class FakeMonitor(Monitor):
    """Records commands; ``on`` runs when a command of that name comes."""

    def __init__(self) -> None:
        super().__init__("fake", QMPClient("fake"), silent)
        self.commands: list[str] = []
        self.migration = "active"
        self.on: dict[str, Callable[[], None]] = {}

    async def execute(
        self,
        command: str,
        arguments: Mapping[str, Any] | None = None,
        *,
        timeout: float = 1.0,
        out_of_band: bool = False,
    ) -> Any:
        self.commands.append(command)
        if command in self.on:
            self.on[command]()
        await asyncio.sleep(0)
        if command == "query-migrate":
            return {"status": self.migration}
        return ANSWERS.get(command, {})

    async def send_fd(self, name: str, fd: int) -> None:
        self.commands.append("getfd")

    def happen(self, event: str, **data: Any) -> None:
        """QEMU says this."""
        self._deliver({"event": event, "data": data})

    def status(self, word: str) -> None:
        """The migration is now in this status."""
        self.migration = word
        self.happen("MIGRATION", status=word)


class FakeDomain:
    """What the migration asks of a domain. ``as_domain`` is for the type checker."""

    def __init__(self, name: str = "g") -> None:
        self.name = name
        self.uuid = UUID(int=7)
        self.id = 1
        self.monitor = FakeMonitor()
        self.run = SimpleNamespace(
            stop_reason=None, resume_reason=None, abilities=NONE, viewers_sent=False, spice_subject=""
        )
        self.state = DomainState.RUNNING
        self.reason: int = RunningReason.BOOTED
        self.job: object | None = None
        self.annotations: dict[str, str] = {}
        self.history: list[str] = []
        self.is_active = True
        self.is_persistent = False
        self.persistent = None
        self.exited = asyncio.Event()
        self.ending: Ending | None = None
        self.full_disk = False
        self.monitor.on["cont"] = self._continued

    def _continued(self) -> None:
        self.history.append("cont")
        self.state, self.reason = DomainState.RUNNING, RunningReason.MIGRATION_CANCELED

    def pause(self) -> None:
        """QEMU stops the guest for the last round."""
        self.state, self.reason = DomainState.PAUSED, PausedReason.MIGRATION
        self.monitor.happen("STOP")

    def complete(self) -> None:
        """QEMU has written everything."""
        self.pause()
        self.monitor.status("completed")

    def require_active(self) -> Any:
        return self.run

    @property
    def hypervisor(self) -> QemuHypervisor:
        return QemuHypervisor(self.as_domain)

    @property
    def runtime(self) -> Path:
        return Path(self.require_active().runtime)

    async def annotate(self, key: str, value: str) -> None:
        await Domain.annotate(self.as_domain, key, value)

    async def persist(self) -> None:
        if self.full_disk:
            raise errors.SystemCallError("no space left on device", errno=28)
        self.history.append("persist " + " ".join(value.split(" ")[0] for value in self.annotations.values()))

    async def kill(self, reason: ShutoffReason, detail: StoppedDetail) -> None:
        self.history.append(f"kill {reason.name}")
        self.is_active = False
        self.exited.set()

    exit_text = ""

    async def last_output(self) -> str:
        return "QEMU's last words"

    @property
    def as_domain(self) -> Domain:
        return cast(Domain, self)


class FakeStream:
    """The stream to the destination: keeps what is sent, and can fail in each of its three calls."""

    def __init__(self) -> None:
        self.sent = bytearray()
        self.ended: list[str] = []
        self.error: errors.RequestError | None = None
        self.on_finish: Callable[[], None] = lambda: None
        self.finishing = asyncio.Event()
        self.go_on = asyncio.Event()
        self.go_on.set()

    async def send(self, data: bytes) -> None:
        if self.error is not None:
            raise self.error
        self.sent += data

    async def finish(self, timeout: float = 1.0) -> None:
        self.finishing.set()
        self.on_finish()
        await self.go_on.wait()
        if self.error is not None:
            raise self.error
        self.ended.append("finish")

    def abort_now(self) -> None:
        self.ended.append("abort")

    @property
    def as_data_path(self) -> StreamPath:
        return StreamPath(cast(Stream, self), Setup())
