"""--auto applies what it decides: to a monitor that records, and to a real guest that is slowed down at work."""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import replace
from pathlib import Path

import pytest

from culvert.drivers.qemu import migration as qemu
from culvert.drivers.qemu import migration_tuning as tuning
from culvert.ground import errors
from culvert.hypervisor.setup import Setup
from culvert.migration.convergence import autopilot, policy
from culvert.migration.convergence.autopilot import Autopilot
from culvert.migration.convergence.policy import Action
from culvert.migration.options.parameters import Options
from culvert.migration.progress.progress import Course, Forecast
from culvert.migration.progress.statistics import JobRecord
from culvert.protocol.constants_migrate import JobOperation, JobType, MigrateFlag
from culvert.tunnel import relay
from guests import domain_xml, tiny, watch
from tests.drivers.support import PATIENCE, needs_qemu
from tests.migration import postcopy_road
from tests.migration.fakes import FakeDomain

LIVE = MigrateFlag.LIVE
WHY = "the guest changes 300 MiB/s, the way carries 110 MiB/s"
STUCK = Forecast(round=4, stuck=WHY, why_not=WHY)


def record(forecast: Forecast = STUCK) -> JobRecord:
    made = JobRecord(operation=JobOperation.MIGRATION_OUT, type=JobType.UNBOUNDED, clock=time.monotonic)
    made.course.forecast = forecast
    return made


class Flight:
    """An autopilot over a monitor that records."""

    def __init__(self, *, postcopy: bool = True, refuses: bool = False) -> None:
        self.domain = FakeDomain()
        self.monitor = self.domain.monitor
        self.notes: list[str] = []
        self.switches = 0
        self.refuses = refuses
        switch = self.switch if postcopy else None
        self.pilot = Autopilot(self.domain.hypervisor, self.look, switch=switch, note=self.notes.append)

    async def look(self) -> JobRecord:
        return record()

    async def switch(self) -> None:
        self.switches += 1
        if self.refuses:
            raise errors.OperationInvalid("not now")


async def test_it_switches_once_and_says_why() -> None:
    flight, made = Flight(), record()
    assert (await flight.pilot.step(made, 0.0)).action is Action.POSTCOPY
    assert flight.switches == 1
    await flight.pilot.step(made, 1.0)
    assert flight.switches == 1
    assert flight.notes[0].startswith("post-copy: the guest changes 300 MiB/s")
    assert made.auto


async def test_a_link_that_has_just_broken_is_not_trusted() -> None:
    flight, made = Flight(), record()
    made.interruptions = 1
    assert (await flight.pilot.step(made, 100.0)).action is Action.THROTTLE
    assert flight.monitor.commands == ["migrate-set-parameters"]
    assert flight.switches == 0
    assert (await flight.pilot.step(made, 131.0)).action is Action.POSTCOPY


async def test_it_is_slowed_down_once_a_round() -> None:
    flight, made = Flight(postcopy=False), record()
    for at in range(3):
        await flight.pilot.step(made, float(at))
    assert flight.monitor.commands == ["migrate-set-parameters"]
    made.course.forecast = replace(STUCK, round=5)
    await flight.pilot.step(made, 4.0)
    assert flight.monitor.commands == ["migrate-set-parameters"] * 2


async def test_the_standstill_is_raised_before_the_guest_is_slowed_down() -> None:
    flight, made = Flight(postcopy=False), record(replace(STUCK, needed=0.1))
    made.course.limit, made.course.most = policy.BRIEF, 0.3
    for number, (action, limit) in enumerate([(Action.ALLOW, 0.12), (Action.ALLOW, 0.3), (Action.THROTTLE, 0.3)]):
        made.course.forecast = replace(STUCK, round=4 + number, needed=0.1 if not number else None)
        assert (await flight.pilot.step(made, float(number))).action is action
        assert made.course.limit == pytest.approx(limit)
    assert flight.monitor.commands == ["migrate-set-parameters"] * 3


async def test_armed_post_copy_gets_what_the_person_allows_when_nobody_switches() -> None:
    domain, made, notes = FakeDomain(), record(Forecast(round=2)), list[str]()

    async def look() -> JobRecord:
        return made

    pilot = Autopilot(domain.hypervisor, look, switch=None, note=notes.append, rows=policy.ARMED)
    made.course.limit, made.course.most = policy.BRIEF, 0.3
    await pilot.step(made, 0.0)
    assert (made.course.limit, notes) == (policy.BRIEF, [])
    made.course.forecast = Forecast(round=3)
    await pilot.step(made, 1.0)
    assert made.course.limit == 0.3
    assert domain.monitor.commands == ["migrate-set-parameters"]
    assert "300 ms" in notes[0]
    assert not made.auto


async def test_it_looks_as_soon_as_a_round_begins() -> None:
    flight, looked = Flight(postcopy=False), asyncio.Event()

    async def look() -> JobRecord:
        looked.set()
        return record(Forecast())

    pilot = Autopilot(flight.domain.hypervisor, look, switch=None, note=flight.notes.append)
    async with asyncio.TaskGroup() as tasks:
        flying = tasks.create_task(pilot.run(), name="flying")
        await asyncio.wait_for(looked.wait(), PATIENCE)
        looked.clear()
        flight.monitor.happen("MIGRATION_PASS", **{"pass": 2})
        began = time.monotonic()
        await asyncio.wait_for(looked.wait(), PATIENCE)
        assert time.monotonic() - began < autopilot.INTERVAL
        flying.cancel()


async def test_what_qemu_refuses_is_told_and_ends_nothing() -> None:
    flight = Flight(refuses=True)
    await flight.pilot.step(record(), 0.0)
    assert any("QEMU has not done it" in note for note in flight.notes)


@needs_qemu
async def test_a_real_guest_is_slowed_down_until_it_arrives(folder: Path) -> None:
    """Auto-converge is armed from the start, and takes no more than one percent until it is decided."""
    busy = tiny.TinyParameters(mib=32, dirty_mib=8, dirty_mib_s=40, pass_s=0.5)
    guest = domain_xml.tiny_guest(folder, "tiny", busy)
    held = autopilot.HELD
    setup = Setup(
        return_path=True, auto_converge=True, throttle_initial=held, throttle_increment=held, throttle_max=held
    )
    made, throttles = record(Forecast()), []
    with watch.SerialWatch(guest.serial) as follow:
        async with postcopy_road.pair(folder, guest, setup) as pair, asyncio.timeout(3 * PATIENCE):
            monitor = pair.outgoing.monitor
            await asyncio.to_thread(follow.wait_running)
            measured = await tuning.dirty_rate(monitor)
            assert measured is None or measured >= 0
            await qemu.set_speed(monitor, 12 << 20)
            here, there = relay.channel()
            with here, there:
                await pair.incoming.start(there, setup, continued=True)
                await pair.outgoing.start(here, setup)

            async def look() -> JobRecord:
                made.update(await pair.outgoing.statistics())
                throttles.append(made.qemu.throttle)
                return made

            pilot = Autopilot(pair.outgoing.domain.hypervisor, look, switch=None, note=lambda words: None)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(15):
                    await pilot.run()
            assert max(throttles) > 1, made
            assert max(throttles) <= 70
            await pair.outgoing.cancel()
            assert await pair.outgoing.settled() in ("cancelled", "completed")
    assert time.monotonic() > made.started


ABOARD = [
    # auto, post-copy allowed → armed by a person, rounds until it switches by itself, what it calls itself
    (True, True, False, policy.ROUNDS, "auto: "),
    (True, False, False, None, "auto: "),
    (False, True, True, None, "post-copy: "),
]


@pytest.mark.parametrize(("auto", "postcopy", "armed", "rounds", "name"), ABOARD)
async def test_the_forecast_knows_what_the_autopilot_is_going_to_do(
    auto: bool, postcopy: bool, armed: bool, rounds: int | None, name: str
) -> None:
    flight, course, notes = Flight(), Course(), list[str]()
    pilot = autopilot.aboard(
        *(flight.domain.hypervisor, flight.look, course),
        auto=auto,
        switch=flight.switch if postcopy else None,
        note=notes.append,
        floor=None,
    )
    assert (course.armed, course.switches_from) == (armed, rounds)
    made = record(Forecast(round=2))
    made.course.limit, made.course.most = policy.BRIEF, 0.3
    await pilot.step(made, 0.0)
    made.course.forecast = Forecast(round=3)
    await pilot.step(made, 1.0)
    assert notes
    assert all(note.startswith(name) for note in notes), notes


async def unmeasured() -> None:
    """No link is known."""


ASKED = [
    (Options(flags=LIVE), (1, 1, 1)),
    (Options(flags=LIVE | MigrateFlag.AUTO_CONVERGE), (1, 1, 1)),
    (Options(flags=LIVE | MigrateFlag.AUTO_CONVERGE, throttle_initial=30), (30, None, None)),
    (Options(flags=LIVE | MigrateFlag.AUTO_CONVERGE, throttle_increment=5), (None, 5, None)),
    (
        Options(flags=LIVE | MigrateFlag.AUTO_CONVERGE, throttle_initial=1, throttle_increment=1),
        (1, 1, None),
    ),
]


@pytest.mark.parametrize(("asked", "throttles"), ASKED)
async def test_what_a_person_says_of_slowing_down_stays(
    asked: Options, throttles: tuple[int | None, int | None, int | None]
) -> None:
    flight = Flight(postcopy=False)
    armed, _ = await autopilot.arm(flight.domain.hypervisor, asked, autopilot.May(postcopy=True), unmeasured)
    assert (armed.throttle_initial, armed.throttle_increment, armed.throttle_max) == throttles
    assert armed.has(MigrateFlag.AUTO_CONVERGE)
    pilot = autopilot.aboard(
        *(flight.domain.hypervisor, flight.look, Course()),
        auto=True,
        switch=None,
        note=flight.notes.append,
        floor=None,
        as_asked=not autopilot.is_held(armed),
    )
    decision = await pilot.step(record(), 0.0)
    held = throttles[2] is not None
    assert decision.action is (Action.THROTTLE if held else Action.GO_ON)
    assert ("migrate-set-parameters" in flight.monitor.commands) is held
