"""Post-copy through pumps, with and without a preempt channel, between two real QEMUs that the test itself drives.

The bytes of post-copy go both ways: the destination asks for pages, and each answer is waited for by the guest.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from uuid import UUID

import pytest

from culvert.domain import parse
from culvert.drivers.qemu.domain import Domain
from culvert.drivers.qemu.migration import Entrance, Setup
from culvert.drivers.qemu.monitor import Monitor
from culvert.ground import errors
from culvert.io.detached import Detached
from culvert.migration.landing import Landing
from culvert.migration.lifeline import Lifeline
from culvert.migration.pump_way import PumpWay
from culvert.migration.settings import Settings
from culvert.migration.work import Background
from culvert.protocol.constants import XMLFlag
from guests import domain_xml, tiny, watch
from tests.drivers.support import PATIENCE, eventually, needs_qemu, running_driver

pytestmark = needs_qemu
SETTINGS = Settings("host-a", UUID(int=1))
BUSY = tiny.TinyParameters(mib=64, dirty_mib=32, dirty_mib_s=100, pass_s=0.5)
CAPABILITIES = ["events", "return-path", "postcopy-ram"]


async def allow(monitor: Monitor, capabilities: list[str]) -> None:
    states = [{"capability": name, "state": True} for name in capabilities]
    await monitor.execute("migrate-set-capabilities", {"capabilities": states})


async def uri(monitor: Monitor, entrance: Entrance) -> str:
    if isinstance(entrance, Path):
        return f"unix:{entrance}"
    await monitor.send_fd("migrate", entrance.fileno())
    return "fd:migrate"


@dataclass
class Road:
    """A landing, and the connections to it that can be cut."""

    landing: Landing
    incoming: Monitor
    capabilities: list[str]
    ends: list[socket.socket] = field(default_factory=list)
    attempts: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    async def start(self, entrance: Entrance, setup: Setup) -> None:
        await allow(self.incoming, self.capabilities)
        await self.incoming.execute("migrate-incoming", {"uri": await uri(self.incoming, entrance)})

    async def dial(self, channel: int, received: int) -> tuple[int, Detached]:
        attempt = next(self.attempts)
        theirs = await self.landing.expect(channel, attempt, self.start)
        source, destination = socket.socketpair()
        for end in (source, destination):
            end.setblocking(False)
            self.ends.append(end.dup())
        await self.landing.attach(channel, attempt, Detached(destination), received)
        return theirs, Detached(source)

    def cut(self) -> None:
        """End every connection there is, both ways."""
        for end in self.ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
        self.ends.clear()


async def status(monitor: Monitor) -> str:
    return str((await monitor.execute("query-migrate")).get("status"))


async def reached(monitor: Monitor, wanted: str) -> None:
    async with asyncio.timeout(PATIENCE):
        while (found := await status(monitor)) != wanted:
            assert found not in ("failed", "cancelled", "postcopy-paused"), await monitor.execute("query-migrate")
            await asyncio.sleep(0.02)


async def interrupted(way: PumpWay, times: int) -> None:
    async with asyncio.timeout(PATIENCE):
        await eventually(lambda: way.interruptions >= times)


@contextlib.asynccontextmanager
async def pair(root: Path, guest: domain_xml.Guest) -> AsyncIterator[tuple[Domain, Domain]]:
    """The guest running at one driver, and expected at another."""
    async with running_driver(root / "a") as here, running_driver(root / "b") as there:
        source = await here.create_xml(guest.xml)
        yield source, await there.launch_incoming(parse.parse(source.xml(XMLFlag.MIGRATABLE)))


@pytest.mark.parametrize("cuts", [0, 3])
@pytest.mark.parametrize("preempt", [False, True], ids=["one channel", "preempt"])
async def test_a_guest_arrives_page_by_page(folder: Path, preempt: bool, cuts: int) -> None:
    capabilities = [*CAPABILITIES, *(["postcopy-preempt"] if preempt else [])]
    connections = 1 if preempt else 0
    guest = domain_xml.tiny_guest(folder, "tiny", BUSY)
    broken: list[errors.RequestError] = []

    async def note(error: errors.RequestError) -> None:
        broken.append(error)

    with watch.SerialWatch(guest.serial) as follow:
        async with Background() as background, pair(folder, guest) as (source, destination):
            await asyncio.to_thread(follow.wait_running)
            landing = Landing(
                "postcopy",
                Lifeline(lambda: None),
                setup=Setup(return_path=True, connections=connections),
                limits=SETTINGS.pump,
                directory=destination.require_active().runtime,
                spawn=background.spawn,
                broken=note,
            )
            road = Road(landing, destination.monitor, capabilities)
            way = PumpWay(
                "postcopy",
                road.dial,
                replace(SETTINGS, reattach_seconds=PATIENCE),
                source.require_active().runtime,
                connections=connections,
                compression="off",
            )
            await way.open()
            await allow(source.monitor, capabilities)
            await source.monitor.execute("migrate-set-parameters", {"max-bandwidth": 8 << 20})
            with way.entrance() as entrance:
                carrying = background.spawn("carry", way.carry())
                await source.monitor.execute("migrate", {"uri": await uri(source.monitor, entrance)})
            await reached(source.monitor, "active")
            await source.monitor.execute("migrate-start-postcopy")
            await reached(source.monitor, "postcopy-active")
            await destination.monitor.execute("cont")
            for count in range(1, cuts + 1):
                road.cut()
                await interrupted(way, count * (connections + 1))
            await source.monitor.execute("migrate-set-parameters", {"max-bandwidth": 1 << 30})
            await reached(source.monitor, "completed")
            assert not broken
            assert way.interruptions == cuts * (connections + 1)
            await asyncio.to_thread(follow.wait_verified)
            way.close()
            landing.close()
            carrying.cancel()
            road.cut()
