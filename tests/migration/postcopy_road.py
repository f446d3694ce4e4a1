"""Two real QEMUs, and a road of pumps between them that a test can cut, for post-copy."""

from __future__ import annotations

import contextlib
import itertools
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from uuid import UUID

from culvert.channels.landing import Landing
from culvert.channels.lifeline import Lifeline
from culvert.channels.plan import Channel
from culvert.channels.pump_path import PumpPath
from culvert.channels.work import Background
from culvert.domain import parse
from culvert.drivers.qemu.domain import Domain
from culvert.drivers.qemu.migration import QemuIncoming, QemuOutgoing
from culvert.ground import errors
from culvert.hypervisor.setup import Entrance, Setup
from culvert.io.detached import Detached
from culvert.migration.options.settings import Settings
from culvert.protocol.constants_flag import XMLFlag
from guests import domain_xml, tiny
from tests.drivers.support import PATIENCE, running_driver

SETTINGS = Settings("host-a", UUID(int=1), reattach_seconds=PATIENCE)
BUSY = tiny.TinyParameters(mib=64, dirty_mib=32, dirty_mib_s=100, pass_s=0.5)
SLOW = 8 << 20  # bytes per second


def setup(*, preempt: bool) -> Setup:
    return Setup(return_path=True, postcopy=True, preempt=preempt)


@dataclass
class Road:
    """A landing, and the connections to it that can be cut. ``recovering``: QEMU is in the middle of a post-copy."""

    landing: Landing
    incoming: QemuIncoming
    recovering: bool = False
    ends: list[socket.socket] = field(default_factory=list)
    attempts: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    async def start(self, entrance: Entrance, setup: Setup) -> None:
        if self.recovering:
            assert await self.incoming.recover(entrance)
        else:
            await self.incoming.start(entrance, setup, continued=True)

    async def dial(self, channel: Channel, received: int) -> tuple[int, Detached]:
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


@dataclass
class Pair:
    """A guest that goes from ``outgoing``'s domain to ``incoming``'s."""

    background: Background
    outgoing: QemuOutgoing
    incoming: QemuIncoming
    setup: Setup
    broken: list[errors.RequestError] = field(default_factory=list)

    @contextlib.asynccontextmanager
    async def road(self, *, recovering: bool = False, resumed: bool = True) -> AsyncIterator[tuple[Road, PumpPath]]:
        """A new one, with QEMU's migration put on it, or taken up on it again. Broken for good at the end.

        ``resumed``: the source comes by it, too.
        """

        def note(error: errors.RequestError) -> None:
            self.broken.append(error)

        landing = Landing(
            "postcopy",
            Lifeline(lambda: None),
            setup=self.setup,
            limits=SETTINGS.pump,
            directory=self.incoming.domain.require_active().runtime,
            spawn=self.background.spawn,
            broken=note,
            recovering=recovering,
        )
        road = Road(landing, self.incoming, recovering)
        directory = self.outgoing.domain.require_active().runtime
        data_path = PumpPath(
            *("postcopy", road.dial, directory),
            setup=self.setup,
            compression="off",
            limits=SETTINGS.pump,
            patience=SETTINGS.reattach_seconds,
        )
        await data_path.open()
        with data_path.entrance() as entrance:
            carrying = self.background.spawn("carry", data_path.carry())
            if recovering and resumed:
                assert await self.outgoing.recover(entrance)
            elif not recovering:
                await self.outgoing.start(entrance, self.setup)
        try:
            yield road, data_path
        finally:
            carrying.cancel()
            data_path.abort("over")
            data_path.close()
            landing.abort("over")
            road.cut()


@contextlib.asynccontextmanager
async def two_domains(root: Path, guest: domain_xml.Guest) -> AsyncIterator[tuple[Domain, Domain]]:
    """The guest running at one driver, and expected at another."""
    async with running_driver(root / "a") as here, running_driver(root / "b") as there:
        source = await here.create_xml(guest.xml)
        yield source, await there.launch_incoming(parse.parse(await source.xml(XMLFlag.MIGRATABLE)))


@contextlib.asynccontextmanager
async def pair(root: Path, guest: domain_xml.Guest, setup: Setup) -> AsyncIterator[Pair]:
    """Both QEMUs, the guest running at the source."""
    async with Background() as background, two_domains(root, guest) as (source, destination):
        with (
            contextlib.closing(QemuOutgoing(source)) as outgoing,
            contextlib.closing(QemuIncoming(destination)) as incoming,
        ):
            yield Pair(background, outgoing, incoming, replace(setup))
