"""What a real QEMU is told before a migration, what it refuses, and what can be changed at any time."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from culvert.drivers.qemu import migration_setup
from culvert.drivers.qemu import migration_tuning as tuning
from culvert.drivers.qemu.domain import Domain
from culvert.drivers.qemu.monitor import CommandRefused, Monitor
from culvert.ground import errors
from culvert.ground.units import MiB
from culvert.hypervisor.setup import Setup
from tests.drivers.support import domain_xml, needs_qemu, running_driver
from tests.migration.fakes import FakeMonitor

pytestmark = needs_qemu
ON = frozenset({"events"})


@pytest.fixture
async def domain(folder: Path) -> AsyncIterator[Domain]:
    async with running_driver(folder) as driver:
        yield await driver.create_xml(domain_xml("g"), paused=True)


async def switched_on(monitor: Monitor) -> set[str]:
    return {item["capability"] for item in await monitor.execute("query-migrate-capabilities") if item["state"]}


async def parameters(monitor: Monitor) -> dict[str, Any]:
    answer = await monitor.execute("query-migrate-parameters")
    assert isinstance(answer, dict)
    return answer


SETUPS = [
    (Setup(), set(), {}),
    (Setup(return_path=True), {"return-path"}, {}),
    (
        Setup(return_path=True, postcopy=True, preempt=True, postcopy_bandwidth=MiB),
        {"return-path", "postcopy-ram", "postcopy-preempt"},
        {"max-postcopy-bandwidth": MiB},
    ),
    (
        Setup(auto_converge=True, throttle_initial=30, throttle_increment=7, throttle_max=80),
        {"auto-converge"},
        {"cpu-throttle-initial": 30, "cpu-throttle-increment": 7, "max-cpu-throttle": 80},
    ),
    (Setup(xbzrle=True, xbzrle_cache=4 * MiB), {"xbzrle"}, {"xbzrle-cache-size": 4 * MiB}),
    (
        Setup(connections=3, compression="zlib", zlib_level=1),
        {"multifd"},
        {"multifd-channels": 3, "multifd-compression": "zlib", "multifd-zlib-level": 1},
    ),
    (Setup(connections=3, compression="zstd"), {"multifd"}, {"multifd-compression": "zstd"}),
]


@pytest.mark.parametrize(("setup", "capabilities", "values"), SETUPS)
async def test_qemu_has_exactly_what_was_asked_for(
    domain: Domain, setup: Setup, capabilities: set[str], values: dict[str, Any]
) -> None:
    before = await parameters(domain.monitor)
    await migration_setup.tell(domain.monitor, setup, ON)
    assert await switched_on(domain.monitor) == capabilities | ON
    found = await parameters(domain.monitor)
    assert {name: found[name] for name in values} == values
    await migration_setup.tell(domain.monitor, Setup(), frozenset())
    assert await switched_on(domain.monitor) == set()
    kept = {"max-postcopy-bandwidth", "xbzrle-cache-size"}  # what people also set by calls of their own
    assert {**await parameters(domain.monitor), **{name: before[name] for name in kept}} == before


async def test_what_people_set_is_given_back_where_nobody_has_changed_it_since(domain: Domain) -> None:
    monitor = domain.monitor
    await tuning.set_postcopy_speed(monitor, 12)
    await tuning.set_cache(monitor, 8 * MiB)
    setup = Setup(postcopy=True, return_path=True, postcopy_bandwidth=MiB, xbzrle=True, xbzrle_cache=MiB)
    before = await tuning.personal(monitor, setup)
    await migration_setup.tell(monitor, setup, ON)
    assert (await tuning.postcopy_speed(monitor), await tuning.cache(monitor)) == (1, MiB)
    await tuning.set_cache(monitor, 2 * MiB)
    await tuning.put_back(monitor, before, setup)
    assert (await tuning.postcopy_speed(monitor), await tuning.cache(monitor)) == (12, 2 * MiB)
    assert await tuning.personal(monitor, Setup(return_path=True)) == {}
    assert setup.for_destination() == Setup(postcopy=True, return_path=True, xbzrle=True)


async def test_what_qemu_does_not_take_is_told_in_its_words(domain: Domain) -> None:
    with pytest.raises(CommandRefused, match=r"(?i)postcopy"):
        await migration_setup.tell(domain.monitor, Setup(preempt=True), ON)
    with pytest.raises(CommandRefused, match="zip"):
        await migration_setup.tell(domain.monitor, Setup(compression="zip"), ON)


async def test_a_level_is_had_or_refused(domain: Domain) -> None:
    """7.2 answers well and does not take it; nobody is to believe that it did."""
    setup = Setup(connections=2, compression="zlib", zlib_level=9)
    refused = ""
    try:
        await migration_setup.tell(domain.monitor, setup, ON)
    except errors.OperationUnsupported as err:
        refused = str(err)
    had = (await parameters(domain.monitor))["multifd-zlib-level"] == 9
    assert had is not ("takes no notice of migration parameter multifd-zlib-level" in refused)


async def test_a_host_without_userfaultfd_says_what_it_lacks() -> None:
    class RefusingMonitor(FakeMonitor):
        async def execute(self, command: str, *args: Any, **more: Any) -> Any:
            if command == "migrate-set-capabilities":
                raise CommandRefused("Postcopy is not supported", error_class="GenericError", reply={})
            return await super().execute(command)

    with pytest.raises(errors.OperationUnsupported, match=r"refuses post-copy \(Postcopy is not.*userfaultfd"):
        await migration_setup.tell(RefusingMonitor(), Setup(postcopy=True, return_path=True), ON)
    with pytest.raises(CommandRefused):
        await migration_setup.tell(RefusingMonitor(), Setup(), ON)


async def test_what_an_older_qemu_does_not_know_is_refused_by_name() -> None:
    class OldMonitor(FakeMonitor):
        async def execute(self, command: str, *args: Any, **more: Any) -> Any:
            await super().execute(command)
            answers: dict[str, Any] = {
                "query-migrate-capabilities": [{"capability": "events", "state": False}],
                "query-migrate-parameters": {"cpu-throttle-initial": 20},
            }
            return answers.get(command, {})

    with pytest.raises(errors.OperationUnsupported, match="no migration capability postcopy-preempt, postcopy-ram"):
        await migration_setup.tell(OldMonitor(), Setup(postcopy=True, preempt=True), ON)
    with pytest.raises(errors.OperationUnsupported, match="no migration parameter multifd-compression"):
        await migration_setup.tell(OldMonitor(), Setup(compression="zstd"), ON)
    await migration_setup.tell(OldMonitor(), Setup(throttle_initial=20), ON)


async def test_what_can_be_changed_at_any_time(domain: Domain) -> None:
    monitor = domain.monitor
    assert await tuning.version(monitor) >= 7_002_000
    assert await tuning.postcopy_speed(monitor) == 0
    await tuning.set_postcopy_speed(monitor, 12)
    assert await tuning.postcopy_speed(monitor) == 12
    with pytest.raises(errors.InvalidArgument, match="bandwidth must be less than"):
        await tuning.set_postcopy_speed(monitor, 2**50)
    await tuning.set_cache(monitor, 8 * MiB)
    assert await tuning.cache(monitor) == 8 * MiB
    with pytest.raises(CommandRefused):
        await tuning.set_cache(monitor, 3)
