"""A migration as a program sees it: progress, the verdict, and what a cancelled or failing block leaves behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from culvert import client
from culvert.client import Host, Location, MigrateOptions, Migration, Notice, Result, Verdict
from culvert.ground import errors
from culvert.ground.uri import ConnectionURI
from tests.client.fake import FakeDaemon, Guest, serving

NOT_WAITED_FOR = 5.0  # seconds: far less than a call's or an answer's own deadline


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[tuple[FakeDaemon, FakeDaemon]]:
    """The source, with a guest "g", and the destination."""
    there = FakeDaemon(tmp_path / "b", host="b")
    here = FakeDaemon(tmp_path / "a", host="a", destination=there)
    here.add(Guest("g"))
    async with serving(here), serving(there):
        yield here, there


Pair = tuple[FakeDaemon, FakeDaemon]


async def nothing(migration: Migration) -> None:
    """A block that only waits."""


async def not_arrived(
    host: Host, destination: ConnectionURI, block: Callable[[Migration], Awaitable[object]], **more: Any
) -> Verdict:
    """Migrate the guest with ``block`` in the block; the verdict of the end, which is not a good one."""
    with pytest.raises(client.NotArrived) as caught:
        async with host.migrate("g", destination, **more) as migration:
            await block(migration)
    assert str(caught.value) == caught.value.verdict.words
    return caught.value.verdict


class Mover:
    """Moves the guest in a task that a test can cancel; keeps the migration and how it ended."""

    def __init__(self, pair: Pair, *, iterate: bool = True) -> None:
        self.here, self.there = pair
        self.iterate = iterate
        self.migration: Migration | None = None
        self.raised: BaseException | None = None

    async def run(self) -> None:
        async with client.connect(self.here.uri) as host:
            try:
                async with host.migrate("g", self.there.uri) as self.migration:
                    if self.iterate:
                        async for _ in self.migration:
                            pass
            except BaseException as err:
                self.raised = err
                raise


@asynccontextmanager
async def under_way(pair: Pair, *, iterate: bool = True) -> AsyncIterator[tuple[Mover, asyncio.Task[None]]]:
    """A move that does not end by itself, in a task of its own."""
    pair[0].endless = True
    mover = Mover(pair, iterate=iterate)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(mover.run(), name="mover")
        await pair[0].performing.wait()
        yield mover, task


async def test_progress_and_a_verdict(pair: Pair) -> None:
    here, there = pair
    async with client.connect(here.uri) as host:
        async with host.migrate("g", str(there.uri)) as migration:
            with pytest.raises(errors.OperationInvalid, match="not been asked"):
                _ = migration.verdict
            looks = [progress async for progress in migration]
        verdict = migration.verdict
        assert [(look.phase, look.percent) for look in looks] == [("perform", 60.0)]
        assert (verdict.result, verdict.location, verdict.arrived) == (Result.COMPLETED, Location.DESTINATION, True)
        assert verdict.words == f"guest 'g' is running (migrated) at {there.uri}"
        assert migration.final is not None
        assert migration.final.downtime_ms == 12
        assert (await host.where("g")).place is client.Place.ABSENT
    async with client.connect(there.uri) as host:
        assert (await host.where("g")).running


async def test_who_does_not_look_waits_all_the_same(pair: Pair) -> None:
    here, there = pair
    here.looked.set()  # nobody will
    async with client.connect(here.uri) as host, host.migrate("g", there.uri) as migration:
        pass
    assert migration.verdict.arrived


async def test_a_look_taken_and_no_more_does_not_abort(pair: Pair) -> None:
    here, there = pair
    async with client.connect(here.uri) as host:
        async with host.migrate("g", there.uri) as migration:
            async for _ in migration:
                break
        assert migration.verdict.arrived
        assert not here.aborted.is_set()


async def test_a_refusal_is_raised_with_the_verdict(pair: Pair) -> None:
    here, there = pair
    here.looked.set()
    here.refusal = errors.OperationFailed("no space left")
    async with client.connect(here.uri) as host:
        verdict = await not_arrived(host, there.uri, nothing)
        assert (verdict.result, verdict.location) == (Result.FAILED, Location.SOURCE)
        assert "no space left" in verdict.words
        assert (await host.where("g")).running  # the connection lives on


async def test_nothing_is_begun_that_makes_no_sense(pair: Pair) -> None:
    here, there = pair
    async with client.connect(here.uri) as host:
        for domain, destination, options, kind in (
            ("g", str(there.uri), MigrateOptions(offline=True), errors.InvalidArgument),
            ("g", str(there.uri), MigrateOptions(bandwidth=-1), errors.InvalidArgument),
            ("g", str(there.uri), MigrateOptions(timeout=0), errors.InvalidArgument),
            ("g", "nonsense", MigrateOptions(), errors.InvalidArgument),
            ("x", str(there.uri), MigrateOptions(), errors.RemoteError),
        ):
            with pytest.raises(kind):
                async with host.migrate(domain, destination, options):
                    raise AssertionError("it has begun")
    assert here.calls == []


async def test_cancel_is_told_and_waited_for(pair: Pair) -> None:
    here, there = pair
    here.endless = True
    notices: list[Notice] = []

    async def cancel(migration: Migration) -> None:
        await here.performing.wait()
        migration.cancel()

    async with client.connect(here.uri) as host:
        verdict = await not_arrived(host, there.uri, cancel, notice=notices.append)
    assert (verdict.result, verdict.location) == (Result.CANCELLED, Location.SOURCE)
    assert "canceled by client" in verdict.words
    assert notices == [Notice("cancelling the migration of 'g'", cancelling=True)]


async def test_an_abort_from_elsewhere_is_a_cancel(pair: Pair) -> None:
    here, there = pair
    here.endless = True
    async with client.connect(here.uri) as host:

        async def abort(migration: Migration) -> None:
            await here.performing.wait()
            assert (await host.abort("g")).seen.running

        assert (await not_arrived(host, there.uri, abort)).result is Result.CANCELLED


@pytest.mark.parametrize("iterate", [True, False], ids=["looking on", "waiting"])
async def test_a_cancelled_task_aborts_waits_and_knows(pair: Pair, iterate: bool) -> None:
    async with under_way(pair, iterate=iterate) as (mover, task):
        await asyncio.sleep(0.05)  # into the loop over the progress, or the wait at the end of the block
        task.cancel()
    assert task.cancelled()
    assert pair[0].aborted.is_set()
    assert mover.migration is not None
    assert mover.migration.verdict.result is Result.CANCELLED
    assert isinstance(mover.raised, asyncio.CancelledError)
    assert f"guest 'g' is running (booted) at {pair[0].uri}" in mover.raised.__notes__[0]


async def test_a_deadline_of_asyncio_comes_out_as_its_own(pair: Pair) -> None:
    here, there = pair
    here.endless = True
    mover = Mover(pair)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await mover.run()
    assert mover.migration is not None
    assert mover.migration.verdict.result is Result.CANCELLED
    assert here.aborted.is_set()
    assert there.guests == {}


async def test_what_the_block_raises_aborts_and_comes_out_as_it_is(pair: Pair) -> None:
    here, there = pair
    here.endless = True
    known: list[Migration] = []

    async def fail(migration: Migration) -> None:
        known.append(migration)
        await here.performing.wait()
        raise ZeroDivisionError

    async with client.connect(here.uri) as host:
        with pytest.raises(ZeroDivisionError) as caught:
            await not_arrived(host, there.uri, fail)
    assert here.aborted.is_set()
    assert known[0].verdict.result is Result.CANCELLED
    assert caught.value.__notes__ == [known[0].verdict.words]


async def test_cancelled_twice_it_is_left_to_itself(pair: Pair) -> None:
    pair[0].deaf = True
    async with under_way(pair) as (mover, task):
        task.cancel()
        await pair[0].asked_to_abort.wait()
        async with asyncio.timeout(NOT_WAITED_FOR):
            task.cancel()
            await asyncio.wait([task])
        pair[0].released.set()
    assert task.cancelled()
    assert mover.migration is not None
    verdict = mover.migration.verdict
    assert (verdict.result, verdict.location, verdict.going_on) == (Result.UNKNOWN, Location.SOURCE, True)


async def test_cancelled_three_times_nobody_is_waited_for(pair: Pair) -> None:
    pair[0].deaf = True
    pair[1].mute = True
    async with under_way(pair) as (mover, task):
        task.cancel()
        await pair[0].asked_to_abort.wait()
        task.cancel()
        await pair[1].asked_to_look.wait()
        async with asyncio.timeout(NOT_WAITED_FOR):
            task.cancel()
            await asyncio.wait([task])
        pair[0].released.set()
    assert task.cancelled()
    assert mover.migration is not None
    assert not mover.migration.is_known


async def test_an_interrupt_cancels_and_the_next_one_leaves(pair: Pair) -> None:
    here, there = pair
    here.endless = here.deaf = True

    async def interrupt_twice(migration: Migration) -> None:
        await here.performing.wait()
        migration.interrupt()
        await here.asked_to_abort.wait()
        migration.interrupt()
        assert [progress async for progress in migration] == []

    async with client.connect(here.uri) as host:
        assert (await not_arrived(host, there.uri, interrupt_twice)).going_on
    here.released.set()


async def test_a_deadline_of_the_options_suspends(pair: Pair) -> None:
    here, there = pair
    here.endless = True
    notices: list[Notice] = []
    options = MigrateOptions(timeout=0.05, timeout_suspend=True)
    async with client.connect(here.uri) as host:
        async with host.migrate("g", there.uri, options, notice=notices.append) as migration:
            pass
        assert migration.verdict.arrived
    assert here.calls[-1] == "suspend"
    assert [notice.words for notice in notices] == ["suspending 'g': not ended within 0.05 s"]


async def test_a_lost_connection_is_not_the_end_of_the_migration(pair: Pair) -> None:
    here, there = pair
    here.lose_connection = True
    async with client.connect(here.uri) as host:
        verdict = await not_arrived(host, there.uri, nothing)
    assert (verdict.result, verdict.going_on) == (Result.UNKNOWN, True)


async def test_the_connection_is_free_meanwhile(pair: Pair) -> None:
    here, there = pair
    here.endless = True
    async with client.connect(here.uri) as host:
        async with host.migrate("g", there.uri) as migration:
            await here.performing.wait()
            async with asyncio.TaskGroup() as group:
                asked = [group.create_task(host.where("g"), name="where") for _ in range(3)]
            assert all(task.result().running for task in asked)
            here.released.set()
        assert migration.verdict.arrived
