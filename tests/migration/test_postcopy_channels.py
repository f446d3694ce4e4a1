"""Post-copy through pumps, with and without a preempt channel, between two real QEMUs that the test itself drives.

The bytes of post-copy go both ways: the destination asks for pages, and each answer is waited for by the guest.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from culvert.channels.plan import ChannelPlan
from culvert.channels.pump_path import PumpPath
from culvert.drivers.qemu import migration as qemu
from culvert.drivers.qemu import migration_tuning as tuning
from guests import domain_xml, watch
from tests.drivers.support import PATIENCE, eventually, needs_qemu
from tests.migration import postcopy_road
from tests.migration.postcopy_road import SLOW
from tests.support import generation

pytestmark = needs_qemu
SWITCHED = frozenset({"postcopy-active"})


async def interrupted(data_path: PumpPath, times: int) -> None:
    async with asyncio.timeout(PATIENCE):
        await eventually(lambda: data_path.interruptions >= times)


@pytest.mark.parametrize("cuts", [0, 3])
@pytest.mark.parametrize("preempt", [False, True], ids=["one channel", "preempt"])
@generation.needs_postcopy
async def test_a_guest_arrives_page_by_page(folder: Path, preempt: bool, cuts: int) -> None:
    guest = domain_xml.tiny_guest(folder, "tiny", postcopy_road.BUSY)
    setup = replace(postcopy_road.setup(preempt=preempt), postcopy_bandwidth=SLOW)
    with watch.SerialWatch(guest.serial) as follow:
        async with postcopy_road.pair(folder, guest, setup) as pair, asyncio.timeout(3 * PATIENCE):
            await asyncio.to_thread(follow.wait_running)
            await qemu.set_speed(pair.outgoing.monitor, SLOW)
            async with pair.road() as (road, data_path):
                assert await pair.outgoing.next_status(frozenset({"active"})) == "active"
                await pair.outgoing.switch_to_postcopy()
                await pair.outgoing.next_status(SWITCHED)
                await pair.incoming.next_status(SWITCHED)
                await pair.incoming.monitor.execute("cont")
                # Held back, or all of it may be there before the guest has asked for anything.
                while not (await pair.outgoing.statistics()).postcopy_requests:  # noqa: ASYNC110  # nobody tells
                    await asyncio.sleep(0.05)
                for count in range(1, cuts + 1):
                    road.cut()
                    await interrupted(data_path, count * len(ChannelPlan.of(setup)))
                await tuning.set_postcopy_speed(pair.outgoing.monitor, 0)
                assert await pair.outgoing.settled() == "completed"
                assert not pair.broken
                assert data_path.interruptions == cuts * len(ChannelPlan.of(setup))
                figures = await pair.outgoing.statistics()
                assert figures.postcopy_bytes
                assert figures.postcopy_requests
                await asyncio.to_thread(follow.wait_verified)
