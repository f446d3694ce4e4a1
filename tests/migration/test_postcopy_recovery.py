"""A post-copy whose way is broken for good, and taken up again by another one, between two real QEMUs."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from culvert.drivers.qemu import migration as qemu
from culvert.drivers.qemu import migration_tuning as tuning
from culvert.drivers.qemu.abilities.ability import Ability
from culvert.ground import errors
from culvert.ground.units import MiB
from culvert.hypervisor import status
from culvert.hypervisor.setup import Setup
from culvert.migration.handover.machine_recovery import Qemu
from culvert.migration.recovery import witness
from culvert.tunnel import relay
from guests import domain_xml, watch
from tests.drivers.support import PATIENCE, needs_qemu
from tests.migration import postcopy_road
from tests.migration.postcopy_road import SLOW
from tests.support import generation

pytestmark = needs_qemu
SWITCHED = frozenset({"postcopy-active"})
PAUSED = frozenset({status.PAUSED})
BREAKS = 5


def held_back(*, preempt: bool) -> Setup:
    """So slow that it is not over before it has been broken as often as is wanted, however slow the machine is."""
    return replace(postcopy_road.setup(preempt=preempt), postcopy_bandwidth=MiB)


@pytest.mark.parametrize("preempt", [False, True], ids=["one channel", "preempt"])
@generation.needs_postcopy
async def test_as_often_as_needed(folder: Path, preempt: bool) -> None:
    guest = domain_xml.tiny_guest(folder, "tiny", postcopy_road.BUSY)
    with watch.SerialWatch(guest.serial) as follow:
        async with (
            postcopy_road.pair(folder, guest, held_back(preempt=preempt)) as pair,
            asyncio.timeout(4 * PATIENCE),
        ):
            source, destination = pair.outgoing.domain, pair.incoming.domain
            await asyncio.to_thread(follow.wait_running)
            assert await witness.source_says(source) is Qemu.HERE
            assert await witness.destination_says(destination) is Qemu.WAITING
            await qemu.set_speed(pair.outgoing.monitor, SLOW)
            async with pair.road():
                assert await pair.outgoing.next_status(frozenset({"active"}))
                assert await witness.source_says(source) is Qemu.SENDING
                with pytest.raises(errors.OperationInvalid, match="not in post-copy"):
                    await pair.outgoing.recover(folder)
                await pair.outgoing.switch_to_postcopy()
                await pair.outgoing.next_status(SWITCHED)
                await pair.incoming.next_status(SWITCHED)
                assert await witness.source_says(source) is Qemu.SWITCHED
                assert await witness.destination_says(destination) is Qemu.SWITCHED
                await pair.incoming.monitor.execute("cont")
            for _ in range(BREAKS - 1):
                async with pair.road(recovering=True):
                    await pair.outgoing.next_status(SWITCHED)
                    await pair.incoming.next_status(SWITCHED)
                    assert await witness.destination_says(destination) is Qemu.RUNNING_SWITCHED
                await pair.outgoing.next_status(PAUSED)
                assert await witness.source_says(source) is Qemu.SWITCHED
            await tuning.set_postcopy_speed(pair.outgoing.monitor, 0)
            async with pair.road(recovering=True):
                assert await pair.outgoing.settled() == "completed"
                assert await pair.incoming.settled() == "completed"
                assert not await pair.outgoing.recover(folder)
                assert not await pair.incoming.recover(folder)
                assert await witness.source_says(source) is Qemu.HERE
                assert await witness.destination_says(destination) is Qemu.RUNNING
                await asyncio.to_thread(follow.wait_verified)


@generation.needs_postcopy
async def test_a_descriptor_will_do_and_a_break_need_not_be_noticed(folder: Path) -> None:
    """QEMU has the socket itself, as on the direct route; nothing is said of the break to either of them."""
    guest = domain_xml.tiny_guest(folder, "tiny", postcopy_road.BUSY)
    setup = held_back(preempt=False)
    with watch.SerialWatch(guest.serial) as follow:
        async with postcopy_road.pair(folder, guest, setup) as pair, asyncio.timeout(4 * PATIENCE):
            await asyncio.to_thread(follow.wait_running)
            await qemu.set_speed(pair.outgoing.monitor, SLOW)
            here, there = relay.channel()
            with here, there:
                await pair.incoming.start(there, setup, continued=True)
                await pair.outgoing.start(here, setup)
            await pair.outgoing.next_status(frozenset({"active"}))
            await pair.outgoing.switch_to_postcopy()
            await pair.incoming.next_status(SWITCHED)
            await pair.incoming.monitor.execute("cont")
            for _ in range(BREAKS):
                here, there = relay.channel()
                with here, there:
                    assert await pair.incoming.recover(there)
                    assert await pair.outgoing.recover(here)
                await pair.outgoing.next_status(frozenset({"postcopy-recover"}))
                await pair.outgoing.next_status(SWITCHED)
            await tuning.set_postcopy_speed(pair.outgoing.monitor, 0)
            assert await pair.outgoing.settled() == "completed"
            await asyncio.to_thread(follow.wait_verified)


@generation.needs_postcopy
async def test_a_way_that_nobody_has_come_by_is_given_up_for_the_next(folder: Path) -> None:
    guest = domain_xml.tiny_guest(folder, "tiny", postcopy_road.BUSY)
    with watch.SerialWatch(guest.serial) as follow:
        async with (
            postcopy_road.pair(folder, guest, held_back(preempt=False)) as pair,
            asyncio.timeout(4 * PATIENCE),
        ):
            await asyncio.to_thread(follow.wait_running)
            await qemu.set_speed(pair.outgoing.monitor, SLOW)
            async with pair.road():
                await pair.outgoing.next_status(frozenset({"active"}))
                await pair.outgoing.switch_to_postcopy()
                await pair.incoming.next_status(SWITCHED)
                await pair.incoming.monitor.execute("cont")
            await pair.incoming.next_status(PAUSED)
            for _ in range(2):
                assert await pair.incoming.recover(folder / "nobody.sock")
            await tuning.set_postcopy_speed(pair.outgoing.monitor, 0)
            async with pair.road(recovering=True):
                assert await pair.outgoing.settled() == "completed"
                await asyncio.to_thread(follow.wait_verified)


@pytest.mark.parametrize("preempt", [False, True], ids=["one channel", "preempt"])
@generation.needs_postcopy
async def test_a_new_way_may_end_before_the_source_has_come_by_it(folder: Path, preempt: bool) -> None:
    """The destination's QEMU waits to be told to go on. One of 7.2 that lost its way then died, and the guest."""
    guest = domain_xml.tiny_guest(folder, "tiny", postcopy_road.BUSY)
    with watch.SerialWatch(guest.serial) as follow:
        async with (
            postcopy_road.pair(folder, guest, held_back(preempt=preempt)) as pair,
            asyncio.timeout(4 * PATIENCE),
        ):
            await asyncio.to_thread(follow.wait_running)
            await qemu.set_speed(pair.outgoing.monitor, SLOW)
            async with pair.road():
                await pair.outgoing.next_status(frozenset({"active"}))
                await pair.outgoing.switch_to_postcopy()
                await pair.incoming.next_status(SWITCHED)
                await pair.incoming.monitor.execute("cont")
            # A QEMU that tells several channels apart by their first bytes (8.0 on) comes no further without them.
            looks = preempt and Ability.MIGRATE_CHANNELS in pair.incoming.domain.require_active().abilities
            for _ in range(BREAKS):
                async with pair.road(recovering=True, resumed=False):
                    if not looks:
                        await pair.incoming.next_status(frozenset({"postcopy-recover"}))
            await tuning.set_postcopy_speed(pair.outgoing.monitor, 0)
            async with pair.road(recovering=True):
                assert await pair.outgoing.settled() == "completed"
                await asyncio.to_thread(follow.wait_verified)
