"""The source's side of the pump route: what its waits do while channels come and go."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from pathlib import Path

from culvert.channels.plan import MAIN, PREEMPT, Channel
from culvert.channels.pump_path import PumpPath
from culvert.channels.work import captured
from culvert.hypervisor.setup import Setup
from culvert.io.detached import Detached
from culvert.tunnel.limits import ChannelLimits
from tests.drivers.support import PATIENCE


class Destination:
    """Answers each dial with one end of a socket pair; the first anew only when ``again`` is set."""

    def __init__(self) -> None:
        self.ends: dict[Channel, socket.socket] = {}
        self.again = asyncio.Event()
        self.dialled: list[Channel] = []

    async def dial(self, channel: Channel, received: int) -> tuple[int, Detached]:
        if channel in self.dialled:
            await self.again.wait()
        self.dialled.append(channel)
        ours, theirs = socket.socketpair()
        for end in (ours, theirs):
            end.setblocking(False)
        self.ends[channel] = theirs
        return 0, Detached(ours)


def qemu_connects(entrance: object) -> socket.socket:
    assert isinstance(entrance, Path)
    made = socket.socket(socket.AF_UNIX)
    made.connect(str(entrance))
    return made


async def test_a_channel_may_join_while_another_one_is_waited_for(folder: Path) -> None:
    """With preempt QEMU connects the second channel late, perhaps just when the first is being mended."""
    destination = Destination()
    setup = Setup(return_path=True, postcopy=True, preempt=True)
    path = PumpPath(
        *("test", destination.dial, folder),
        setup=setup,
        compression="off",
        limits=ChannelLimits(),
        patience=PATIENCE,
    )
    await path.open()
    assert destination.dialled == [MAIN, PREEMPT]
    async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as tasks:
        with path.entrance() as entrance, contextlib.ExitStack() as sockets:
            carrying = tasks.create_task(captured(path.carry()), name="carry")
            sockets.enter_context(qemu_connects(entrance))
            while MAIN not in path._tended or not path._tended[MAIN].connected.is_set():  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            destination.ends[MAIN].close()
            while path._tended[MAIN].connected.is_set():  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            holding = tasks.create_task(path.hold_on(), name="hold on")
            await asyncio.sleep(0)
            sockets.enter_context(qemu_connects(entrance))
            while PREEMPT not in path._tended:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            assert not holding.done()
            destination.again.set()
            await holding
            assert all(tended.connected.is_set() for tended in path._tended.values())
            assert destination.dialled == [MAIN, PREEMPT, MAIN]
            carrying.cancel()
            path.abort("over")
            path.close()
    for end in destination.ends.values():
        end.close()
