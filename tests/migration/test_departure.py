"""Every order in which a departure can fail: the first cause is kept and the guest runs on at the source."""

from __future__ import annotations

import asyncio
from uuid import UUID

import pytest

from culvert.ground import errors
from culvert.migration.departure import ANNOTATION, Departure
from culvert.migration.parameters import Options
from culvert.migration.phases import Phase, PhaseError
from culvert.migration.settings import Settings
from culvert.protocol.constants import DomainState, JobType, MigrateFlag
from tests.migration.fakes import FakeDomain, FakeStream

SETTINGS = Settings("host-a", UUID(int=1), stall_seconds=0)


def depart(domain: FakeDomain, flags: MigrateFlag = MigrateFlag.LIVE, settings: Settings = SETTINGS) -> Departure:
    return Departure(domain.as_domain, Options(flags=flags), settings)


@pytest.fixture
def domain() -> FakeDomain:
    return FakeDomain()


@pytest.fixture
def stream() -> FakeStream:
    return FakeStream()


async def test_all_is_well(domain: FakeDomain, stream: FakeStream) -> None:
    departure = depart(domain)
    domain.monitor.on["migrate"] = domain.complete
    await departure.perform(stream.as_way)
    assert departure.phase is Phase.PERFORM3_DONE
    assert stream.ended == ["finish"]
    assert domain.annotations[ANNOTATION].startswith("perform3_done ")
    await departure.confirm(arrived=True)
    assert domain.history[-1] == "kill MIGRATED"
    assert departure.record.type is JobType.COMPLETED
    assert departure.record.downtime is not None


async def assert_runs_on(departure: Departure, domain: FakeDomain, stream: FakeStream, cause: str) -> None:
    """It has failed with ``cause``, the stream is aborted, and after the confirmation the guest runs here."""
    assert departure.cause is not None
    assert cause in str(departure.cause)
    assert stream.ended[-1] == "abort"
    await departure.confirm(arrived=False)
    assert domain.state is DomainState.RUNNING
    assert ANNOTATION not in domain.annotations
    assert not any(line.startswith("kill") for line in domain.history)
    assert domain.run.stop_reason is None
    assert domain.run.resume_reason is None


async def test_qemu_gives_up_by_itself(domain: FakeDomain, stream: FakeStream) -> None:
    departure = depart(domain)
    domain.monitor.on["migrate"] = lambda: domain.monitor.status("failed")
    with pytest.raises(errors.OperationFailed, match="ended as 'failed'"):
        await departure.perform(stream.as_way)
    await assert_runs_on(departure, domain, stream, "failed")
    assert departure.record.type is JobType.FAILED


async def test_cancelled_before_qemu_has_started(domain: FakeDomain, stream: FakeStream) -> None:
    departure = depart(domain)
    departure.cancel()
    with pytest.raises(errors.OperationAborted):
        await departure.perform(stream.as_way)
    await assert_runs_on(departure, domain, stream, "canceled by client")
    assert departure.record.type is JobType.CANCELLED


async def test_cancelled_while_bytes_flow(domain: FakeDomain, stream: FakeStream) -> None:
    departure = depart(domain)
    domain.monitor.on["migrate"] = departure.cancel
    domain.monitor.on["migrate_cancel"] = lambda: domain.monitor.status("cancelled")
    with pytest.raises(errors.OperationAborted):
        await departure.perform(stream.as_way)
    assert "migrate_cancel" in domain.monitor.commands
    await assert_runs_on(departure, domain, stream, "canceled by client")


async def test_cancelled_when_qemu_has_completed_but_the_other_end_has_not(
    domain: FakeDomain, stream: FakeStream
) -> None:
    """The last moment at which the source may still decide: the guest stands still and must be resumed."""
    departure = depart(domain)
    domain.monitor.on["migrate"] = domain.complete
    stream.go_on.clear()
    stream.on_finish = departure.cancel
    with pytest.raises(errors.OperationAborted):
        await departure.perform(stream.as_way)
    await assert_runs_on(departure, domain, stream, "canceled by client")
    assert domain.history.count("cont") == 1


async def test_after_that_only_the_destination_decides(domain: FakeDomain, stream: FakeStream) -> None:
    departure = depart(domain)
    domain.monitor.on["migrate"] = domain.complete
    await departure.perform(stream.as_way)
    with pytest.raises(errors.OperationInvalid, match="destination decides"):
        departure.cancel()
    departure.fail(errors.OperationFailed("too late"))
    assert departure.cause is None


async def test_late_error_of_the_other_end(domain: FakeDomain, stream: FakeStream) -> None:
    departure = depart(domain)
    domain.monitor.on["migrate"] = domain.complete

    def fail() -> None:
        stream.error = errors.RemoteError("could not load", code=9, domain=10)

    stream.on_finish = fail
    with pytest.raises(errors.RemoteError, match="could not load"):
        await departure.perform(stream.as_way)
    await assert_runs_on(departure, domain, stream, "could not load")


async def test_the_first_cause_is_the_one_that_is_told(domain: FakeDomain, stream: FakeStream) -> None:
    departure = depart(domain)

    def both() -> None:
        departure.fail(errors.ConnectionLost("first"))
        departure.fail(errors.OperationFailed("second"))
        domain.monitor.status("failed")

    domain.monitor.on["migrate"] = both
    with pytest.raises(errors.ConnectionLost, match="first"):
        await departure.perform(stream.as_way)
    await assert_runs_on(departure, domain, stream, "first")


async def test_an_io_error_ends_it_only_when_that_was_asked(domain: FakeDomain, stream: FakeStream) -> None:
    def trouble() -> None:
        domain.monitor.happen("BLOCK_IO_ERROR", device="vda", action="report")
        domain.complete()

    domain.monitor.on["migrate"] = trouble
    await depart(domain).perform(stream.as_way)

    other, aborted = FakeDomain(), FakeStream()

    def trouble_again() -> None:
        other.monitor.happen("BLOCK_IO_ERROR", device="vda", action="report")

    other.monitor.on["migrate"] = trouble_again
    other.monitor.on["migrate_cancel"] = lambda: other.monitor.status("cancelled")
    departure = depart(other, MigrateFlag.LIVE | MigrateFlag.ABORT_ON_ERROR)
    with pytest.raises(errors.OperationFailed, match="vda"):
        await departure.perform(aborted.as_way)
    await assert_runs_on(departure, other, aborted, "I/O error")


async def test_qemu_ends(domain: FakeDomain, stream: FakeStream) -> None:
    departure = depart(domain)

    def end() -> None:
        domain.is_active = False
        domain.monitor._end()

    domain.monitor.on["migrate"] = end
    with pytest.raises(errors.OperationFailed, match="QEMU's last words"):
        await departure.perform(stream.as_way)
    await departure.confirm(arrived=False)
    assert "cont" not in domain.history


async def test_a_disk_that_is_full_stops_it_before_anything_is_given_away(
    domain: FakeDomain, stream: FakeStream
) -> None:
    departure = depart(domain)

    def fill() -> None:
        domain.full_disk = True
        domain.complete()

    domain.monitor.on["migrate"] = fill
    with pytest.raises(errors.SystemCallError, match="no space"):
        await departure.perform(stream.as_way)
    domain.full_disk = False
    await assert_runs_on(departure, domain, stream, "no space")


async def test_a_decision_is_carried_out_even_if_it_cannot_be_written_down(
    domain: FakeDomain, stream: FakeStream
) -> None:
    departure = depart(domain)
    domain.monitor.on["migrate"] = domain.complete
    await departure.perform(stream.as_way)
    domain.full_disk = True
    await departure.confirm(arrived=True)
    assert domain.history[-1] == "kill MIGRATED"


async def test_a_guest_that_was_paused_stays_paused(domain: FakeDomain, stream: FakeStream) -> None:
    domain.pause()
    departure = depart(domain)
    domain.monitor.on["migrate"] = lambda: domain.monitor.status("failed")
    with pytest.raises(errors.OperationFailed):
        await departure.perform(stream.as_way)
    await departure.confirm(arrived=False)
    assert "cont" not in domain.history


async def test_what_was_confirmed_cannot_be_confirmed_the_other_way(domain: FakeDomain, stream: FakeStream) -> None:
    """A guest that runs at the destination is never resumed here, whatever goes wrong with its old copy."""
    departure = depart(domain)
    domain.monitor.on["migrate"] = domain.complete
    await departure.perform(stream.as_way)
    await departure.confirm(arrived=True)
    with pytest.raises(PhaseError):
        await departure.confirm(arrived=False)
    assert "cont" not in domain.history


async def test_until_failed_gives_results_refusals_and_the_cause(domain: FakeDomain) -> None:
    async def give(value: int) -> int:
        return value

    async def refuse() -> int:
        raise errors.OperationFailed("refused")

    departure = depart(domain)
    assert await departure.until_failed(give(3)) == 3
    with pytest.raises(errors.OperationFailed, match="refused"):
        await departure.until_failed(refuse())
    async with asyncio.TaskGroup() as tasks:
        waiting = asyncio.Event()

        async def wait() -> None:
            waiting.set()
            await asyncio.Event().wait()

        async def outer() -> None:
            with pytest.raises(errors.OperationAborted):
                await departure.until_failed(wait())

        tasks.create_task(outer(), name="outer")
        await waiting.wait()
        departure.cancel()


@pytest.mark.parametrize("phase", ["perform3", "perform3_done"])
async def test_what_an_earlier_daemon_left_is_read_again(domain: FakeDomain, phase: str) -> None:
    domain.annotations[ANNOTATION] = f"{phase} 0123456789abcdef running qemu+tcp://b:1/system"
    left = Departure.left_behind(domain.as_domain, SETTINGS)
    assert left is not None
    assert (left.phase.value, left.attempt, left.was_running) == (phase, "0123456789abcdef", True)
    assert left.destination_uri == "qemu+tcp://b:1/system"


async def test_nothing_is_left_of_a_domain_without_a_migration(domain: FakeDomain) -> None:
    assert Departure.left_behind(domain.as_domain, SETTINGS) is None
