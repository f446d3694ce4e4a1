"""Every order in which sending can fail: the first cause is kept, QEMU gives up, and the way is aborted."""

from __future__ import annotations

import asyncio
import time
from typing import Any
from uuid import UUID

import pytest

from culvert.ground import errors
from culvert.migration.convergence.budget import Budget
from culvert.migration.options.parameters import Options
from culvert.migration.options.settings import Settings
from culvert.migration.progress.statistics import JobRecord
from culvert.migration.source import sending
from culvert.migration.source.cause import Cause
from culvert.migration.source.sending import Sending
from culvert.protocol.constants_migrate import JobOperation, JobType, MigrateFlag
from tests.migration.fakes import FakeDomain, FakeStream

SETTINGS = Settings("host-a", UUID(int=1), stall_seconds=0)


class Sender:
    """A sending with everything around it."""

    def __init__(
        self, domain: FakeDomain, flags: MigrateFlag = MigrateFlag.LIVE, settings: Settings = SETTINGS
    ) -> None:
        self.cause = Cause("test")
        self.record = JobRecord(operation=JobOperation.MIGRATION_OUT, type=JobType.UNBOUNDED, clock=time.monotonic)
        self.sending = Sending(
            *("test", domain.as_domain, Options(flags=flags), settings),
            cause=self.cause,
            record=self.record,
            budget=Budget(),
        )

    def cancel(self) -> None:
        """Somebody wants it no longer."""
        self.cause.set(errors.OperationAborted("canceled by client"))

    async def run(self, stream: FakeStream) -> None:
        """Send."""
        await self.sending.run(stream.as_data_path)

    async def fails(self, domain: FakeDomain, stream: FakeStream, words: str) -> None:
        """Send, which comes to nothing because of what ``words`` say; nothing of it is left."""
        with pytest.raises(errors.RequestError, match=words) as caught:
            await self.run(stream)
        assert caught.value is self.cause.error
        assert stream.ended[-1] == "abort"
        assert not any(line.startswith("kill") for line in domain.history)
        assert domain.run.stop_reason is None
        assert domain.run.resume_reason is None


@pytest.fixture
def domain() -> FakeDomain:
    return FakeDomain()


@pytest.fixture
def stream() -> FakeStream:
    return FakeStream()


async def test_all_is_well(domain: FakeDomain, stream: FakeStream) -> None:
    sender = Sender(domain)
    domain.monitor.on["migrate"] = domain.complete
    await sender.run(stream)
    assert stream.ended == ["finish"]
    assert sender.sending.stopped_at is not None
    assert (sender.record.route, sender.record.channels) == ("stream", 1)


async def test_qemu_gives_up_by_itself(domain: FakeDomain, stream: FakeStream) -> None:
    domain.monitor.on["migrate"] = lambda: domain.monitor.status("failed")
    await Sender(domain).fails(domain, stream, "ended as 'failed'")


async def test_cancelled_before_qemu_has_started(domain: FakeDomain, stream: FakeStream) -> None:
    sender = Sender(domain)
    sender.cancel()
    await sender.fails(domain, stream, "canceled by client")


async def test_cancelled_while_bytes_flow(domain: FakeDomain, stream: FakeStream) -> None:
    sender = Sender(domain)
    domain.monitor.on["migrate"] = sender.cancel
    domain.monitor.on["migrate_cancel"] = lambda: domain.monitor.status("cancelled")
    await sender.fails(domain, stream, "canceled by client")
    assert "migrate_cancel" in domain.monitor.commands


async def test_qemu_that_hears_of_no_cancel_before_its_way_is_broken(
    domain: FakeDomain, stream: FakeStream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In its last round it holds its lock for as long as nobody takes what it writes: it answers when that ends."""
    monkeypatch.setattr(sending, "HEARS_WITHIN", 0.05)
    broken = asyncio.Event()
    execute = domain.monitor.execute

    async def deaf(command: str, *arguments: Any, **more: Any) -> Any:
        if command == "migrate_cancel":
            async with asyncio.timeout(20):
                while not stream.ended:  # noqa: ASYNC110 - a list has no event
                    await asyncio.sleep(0.01)
            broken.set()
            domain.monitor.status("failed")
        return await execute(command, *arguments, **more)

    monkeypatch.setattr(domain.monitor, "execute", deaf)
    sender = Sender(domain)
    domain.monitor.on["migrate"] = sender.cancel
    await sender.fails(domain, stream, "canceled by client")
    assert broken.is_set()


async def test_cancelled_when_qemu_has_completed_but_the_other_end_has_not(
    domain: FakeDomain, stream: FakeStream
) -> None:
    """The last moment at which the source may still decide: the guest stands still and can be resumed."""
    sender = Sender(domain)
    domain.monitor.on["migrate"] = domain.complete
    stream.go_on.clear()
    stream.on_finish = sender.cancel
    await sender.fails(domain, stream, "canceled by client")


async def test_late_error_of_the_other_end(domain: FakeDomain, stream: FakeStream) -> None:
    domain.monitor.on["migrate"] = domain.complete

    def fail() -> None:
        stream.error = errors.RemoteError("could not load", code=9, domain=10)

    stream.on_finish = fail
    await Sender(domain).fails(domain, stream, "could not load")


async def test_the_first_cause_is_the_one_that_is_told(domain: FakeDomain, stream: FakeStream) -> None:
    sender = Sender(domain)

    def both() -> None:
        assert sender.cause.set(errors.ConnectionLost("first"))
        assert not sender.cause.set(errors.OperationFailed("second"))
        domain.monitor.status("failed")

    domain.monitor.on["migrate"] = both
    await sender.fails(domain, stream, "first")


async def test_an_io_error_ends_it_only_when_that_was_asked(domain: FakeDomain, stream: FakeStream) -> None:
    def trouble() -> None:
        domain.monitor.happen("BLOCK_IO_ERROR", device="vda", action="report")
        domain.complete()

    domain.monitor.on["migrate"] = trouble
    await Sender(domain).run(stream)

    other, aborted = FakeDomain(), FakeStream()
    other.monitor.on["migrate"] = lambda: other.monitor.happen("BLOCK_IO_ERROR", device="vda", action="report")
    other.monitor.on["migrate_cancel"] = lambda: other.monitor.status("cancelled")
    await Sender(other, MigrateFlag.LIVE | MigrateFlag.ABORT_ON_ERROR).fails(
        other, aborted, "I/O error of disk 'vda'"
    )


async def test_qemu_ends(domain: FakeDomain, stream: FakeStream) -> None:
    def end() -> None:
        domain.is_active = False
        domain.monitor._end()

    domain.monitor.on["migrate"] = end
    await Sender(domain).fails(domain, stream, "QEMU's last words")


async def test_a_guard_gives_results_refusals_and_the_cause() -> None:
    async def give(value: int) -> int:
        return value

    async def refuse() -> int:
        raise errors.OperationFailed("refused")

    cause = Cause("test")
    assert await cause.guard(give(3)) == 3
    with pytest.raises(errors.OperationFailed, match="refused"):
        await cause.guard(refuse())
    async with asyncio.TaskGroup() as tasks:
        waiting = asyncio.Event()

        async def wait() -> None:
            waiting.set()
            await asyncio.Event().wait()

        async def outer() -> None:
            with pytest.raises(errors.OperationAborted):
                await cause.guard(wait())

        tasks.create_task(outer(), name="outer")
        await waiting.wait()
        cause.set(errors.OperationAborted("no more"))


async def test_a_post_copy_that_is_paused_for_a_new_way_is_not_taken_for_broken_again(
    domain: FakeDomain, stream: FakeStream
) -> None:
    """QEMU has not noticed that its way is lost: what it says when it is told so is not about the new way."""
    monitor = domain.monitor
    monitor.migration = "postcopy-active"
    monitor.on["yank"] = lambda: monitor.status("postcopy-paused")

    def resume() -> None:
        for word in ("postcopy-recover", "postcopy-active", "completed"):
            monitor.status(word)

    monitor.on["migrate"] = resume
    assert await Sender(domain).sending.run(stream.as_data_path, again=True) == "completed"
    assert monitor.commands.count("yank") == 1
    assert stream.ended == ["finish"]


async def test_a_post_copy_that_loses_its_new_way_too_is_broken(domain: FakeDomain, stream: FakeStream) -> None:
    monitor = domain.monitor
    monitor.migration = "postcopy-paused"

    def resume() -> None:
        for word in ("postcopy-recover", "postcopy-paused"):
            monitor.status(word)

    monitor.on["migrate"] = resume
    assert await Sender(domain).sending.run(stream.as_data_path, again=True) == "postcopy-paused"
    assert stream.ended[-1] == "abort"
