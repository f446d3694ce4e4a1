"""A departure with a driver that does what the test says: who gets the guest, what is told, what is written."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from typing import Any, cast
from uuid import UUID

import pytest

from culvert.channels.data_path import DataPath
from culvert.drivers.qemu.run import Ending
from culvert.ground import errors
from culvert.migration.convergence.budget import Budget
from culvert.migration.handover.machine import Step
from culvert.migration.handover.machine_source import Event, State
from culvert.migration.journal.journal import Journal
from culvert.migration.options.parameters import Options
from culvert.migration.options.settings import Settings
from culvert.migration.peers.peer import Dialler
from culvert.migration.source import ask as asking
from culvert.migration.source import inquiry
from culvert.migration.source.departure import Departure
from culvert.protocol.constants_migrate import JobType, MigrateFlag
from culvert.protocol.constants_state import DomainState, ShutoffReason, StoppedDetail
from tests.migration.fakes import FakeDomain, FakeStream

SETTINGS = Settings("host-a", UUID(int=1), stall_seconds=0)
WHERE = "qemu+tcp://b:1/system"


class Driven:
    """A migration of ``domain`` along ``stream``; ``granted`` is what the grant is answered with."""

    def __init__(self, domain: FakeDomain, journal: Journal) -> None:
        self.domain = domain
        self.stream = FakeStream()
        self.granted = Event.YES
        self.refusal: errors.RequestError | None = None
        self.steps: list[str] = []
        self.on_grant: Callable[[], None] = lambda: None
        self.departure = Departure.of(
            *(domain.as_domain, WHERE, Options(flags=MigrateFlag.LIVE), SETTINGS),
            dialler=Dialler(),
            journal=journal,
            budget=Budget(),
        )
        self.departure.driving = self

    async def prepare(self) -> DataPath:
        self.steps.append("prepare")
        if self.refusal is not None:
            raise self.refusal
        return self.stream.as_data_path

    async def grant(self) -> Event:
        self.steps.append("grant")
        self.on_grant()
        return self.granted

    def call_off(self) -> None:
        self.steps.append("call off")

    async def close(self) -> None:
        self.steps.append("close")

    async def live(self) -> State:
        """To the end."""
        async with asyncio.timeout(10):
            await self.departure.live()
            await self.departure.account.summarise()
        return self.departure.state


@pytest.fixture
def driven(journal: Journal) -> Driven:
    domain = FakeDomain()
    domain.monitor.on["migrate"] = domain.complete
    return Driven(domain, journal)


async def steps(journal: Journal) -> list[Step | None]:
    """What the journal has of the one migration, without notes."""
    (entry,) = await journal.recent(10)
    shown = await journal.show(entry.number)
    assert shown is not None
    return [line.step for line in shown.lines if line.step is not None]


async def test_all_is_well(driven: Driven, journal: Journal) -> None:
    assert await driven.live() is State.LEFT
    assert driven.steps == ["prepare", "grant", "close"]
    assert driven.domain.history[-1] == "kill MIGRATED"
    assert driven.departure.record.type is JobType.COMPLETED
    assert driven.departure.record.downtime is not None
    assert await steps(journal) == [Step.BEGIN3, Step.PERFORM3, Step.PERFORM3_DONE, Step.CONFIRM3, Step.LEFT]
    (entry,) = await journal.recent(1)
    assert (entry.begun.peer, entry.route, entry.cause, entry.is_over) == (WHERE, "stream", "", True)


async def test_the_grant_leaves_when_the_journal_says_so(driven: Driven, journal: Journal) -> None:
    """The row is on the disk, for another reader too, before anything of the grant is made."""

    seen: list[str] = []

    def look() -> None:
        with sqlite3.connect(journal.path) as other:
            seen.extend(row[0] for row in other.execute("SELECT step FROM migration"))

    driven.on_grant = look
    await driven.live()
    assert seen == [Step.PERFORM3_DONE.value]


async def test_prepare_is_refused(driven: Driven, journal: Journal) -> None:
    driven.refusal = errors.RemoteError("no room", code=1, domain=10)
    assert await driven.live() is State.STAYED
    assert driven.departure.cause.error is driven.refusal
    assert driven.domain.state is DomainState.RUNNING
    assert await steps(journal) == [Step.BEGIN3, Step.STAYED]
    (entry,) = await journal.recent(1)
    assert entry.cause == "no room"


async def test_cancelled_while_it_sends(driven: Driven, journal: Journal) -> None:
    driven.domain.monitor.on["migrate"] = driven.departure.cancel
    driven.domain.monitor.on["migrate_cancel"] = lambda: driven.domain.monitor.status("cancelled")
    assert await driven.live() is State.STAYED
    assert driven.departure.record.type is JobType.CANCELLED
    assert driven.steps == ["prepare", "call off", "close"]
    assert await steps(journal) == [Step.BEGIN3, Step.PERFORM3, Step.CONFIRM3_CANCELLED, Step.STAYED]


async def test_what_ends_by_itself(driven: Driven) -> None:
    """A daemon that stops waits for such a migration, and for no other."""
    seen = {}

    def cancel() -> None:
        seen["sends"] = driven.departure.ends_by_itself
        driven.departure.cancel()
        seen["cancelled"] = driven.departure.ends_by_itself

    driven.domain.monitor.on["migrate"] = cancel
    driven.domain.monitor.on["migrate_cancel"] = lambda: driven.domain.monitor.status("cancelled")
    assert await driven.live() is State.STAYED
    assert seen == {"sends": False, "cancelled": True}


async def test_after_the_grant_only_the_destination_decides(driven: Driven) -> None:
    def late() -> None:
        assert not driven.departure.ends_by_itself
        with pytest.raises(errors.OperationInvalid, match="destination decides"):
            driven.departure.cancel()
        driven.departure.fail(errors.OperationFailed("too late"))

    driven.on_grant = late
    assert await driven.live() is State.LEFT
    assert driven.departure.cause.error is None


async def test_a_full_disk_stops_it_before_anything_is_given_away(
    driven: Driven, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = journal.write

    async def full(key: object, step: Step, text: str = "", *, stays: bool = True) -> None:
        if step is Step.PERFORM3_DONE:
            raise errors.SystemCallError("no space left on device", errno=28)
        await write(driven.departure.begun.key, step, text, stays=stays)

    monkeypatch.setattr(journal, "write", full)
    assert await driven.live() is State.STAYED
    assert "grant" not in driven.steps
    assert driven.domain.history.count("cont") == 1
    assert "no space" in str(driven.departure.cause.error)


async def test_a_journal_that_takes_nothing_begins_nothing(
    driven: Driven, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full(*args: object) -> None:
        raise errors.SystemCallError("no space left on device", errno=28)

    monkeypatch.setattr(journal, "begin", full)
    assert await driven.live() is State.STAYED
    assert "no space" in str(driven.departure.cause.error)
    assert "prepare" not in driven.steps
    assert driven.domain.state is DomainState.RUNNING


@pytest.mark.parametrize(
    ("words", "ends"),
    [
        ([Event.UNREACHABLE, Event.WORD_PENDING, Event.WORD_RUNNING], State.LEFT),
        ([Event.WORD_PENDING, Event.UNREACHABLE, Event.WORD_GONE], State.STAYED),
        ([Event.WORD_UNKNOWN, Event.WORD_RUNNING], State.LEFT),
        ([Event.WORD_LOST, Event.WORD_GONE], State.STAYED),
    ],
    ids=["running", "gone", "unknown and then running", "lost and then gone"],
)
async def test_a_lost_answer_is_asked_for(
    driven: Driven, monkeypatch: pytest.MonkeyPatch, words: list[Event], ends: State
) -> None:
    asked = iter(words)

    async def word(where: str, *args: object) -> tuple[Event, str]:
        assert where == WHERE
        assert driven.domain.state is DomainState.PAUSED
        return next(asked), ""

    monkeypatch.setattr(asking, "word", word)
    monkeypatch.setattr(inquiry, "ASK_AGAIN", (0.0,))
    driven.granted = Event.CUT
    driven.departure.doubt = errors.ConnectionLost("cut")
    assert await driven.live() is ends
    assert (driven.domain.state is DomainState.RUNNING) is (ends is State.STAYED)
    assert driven.departure.record.type is (JobType.COMPLETED if ends is State.LEFT else JobType.FAILED)


async def test_a_post_copy_that_does_not_go_on_is_tried_ever_more_seldom(driven: Driven) -> None:
    """Also when each try looks as if it had gone on, until that lasts."""
    asked = inquiry.Inquiry(driven.departure)
    pauses = []
    for _ in range(4):
        for state in (State.POSTCOPY, State.POSTCOPY_FAILED):
            asked.entered(state)
        pauses.append(asked.pause)
        asked.hurry()
        await asked.wait()
    assert pauses == list(inquiry.ASK_AGAIN[:4])
    asked.entered(State.ASKING)
    assert asked.pause == inquiry.ASK_AGAIN[0]


@pytest.mark.parametrize("here", [True, False])
async def test_an_operator_decides(driven: Driven, monkeypatch: pytest.MonkeyPatch, here: bool) -> None:
    async def word(*args: object) -> tuple[Event, str]:
        return Event.WORD_UNKNOWN, "it has no record"

    monkeypatch.setattr(asking, "word", word)
    monkeypatch.setattr(inquiry, "ASK_AGAIN", (0.01,))
    driven.granted = Event.CUT
    async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
        living = tasks.create_task(driven.live(), name="live")
        await driven.departure.answerable.wait()
        assert "it has no record; 'culvert resolve g'" in driven.departure.waits_for
        await driven.departure.shell.ask(Event.RESOLVED_HERE if here else Event.RESOLVED_THERE)
    assert living.result() is (State.STAYED if here else State.LEFT)
    assert driven.departure.waits_for == ""


async def test_a_guest_that_was_paused_stays_paused(journal: Journal) -> None:
    domain = FakeDomain()
    domain.pause()
    driven = Driven(domain, journal)
    domain.monitor.on["migrate"] = lambda: domain.monitor.status("failed")
    assert await driven.live() is State.STAYED
    assert "cont" not in domain.history


async def test_qemu_ends_here(driven: Driven) -> None:
    def end() -> None:
        driven.domain.is_active = False
        driven.domain.exited.set()
        driven.domain.monitor._end()

    driven.domain.monitor.on["migrate"] = end
    assert await driven.live() is State.LOST
    assert "QEMU's last words" in str(driven.departure.cause.error)
    assert "cont" not in driven.domain.history


@pytest.mark.parametrize(
    ("ending", "words"),
    [
        (Ending(ShutoffReason.SHUTDOWN, StoppedDetail.SHUTDOWN), "has shut down during the migration"),
        (Ending(ShutoffReason.DESTROYED, StoppedDetail.DESTROYED), "was destroyed during the migration"),
        (Ending(ShutoffReason.CRASHED, StoppedDetail.CRASHED), "has crashed during the migration"),
        (Ending(ShutoffReason.FAILED, None), "QEMU's last words"),
    ],
)
async def test_the_guest_ends_here(driven: Driven, ending: Ending, words: str) -> None:
    """It is the reason, also when QEMU, or the other side, has said something of it before."""

    def end() -> None:
        driven.domain.ending = ending
        driven.domain.is_active = False
        driven.domain.exited.set()
        driven.domain.monitor._end()

    driven.domain.monitor.on["migrate"] = end
    assert await driven.live() is State.LOST
    assert words in str(driven.departure.cause.error)
    assert isinstance(driven.departure.cause.error, errors.GuestEnded) is (ending.reason is not ShutoffReason.FAILED)


@pytest.mark.parametrize(("happens", "state"), [(Event.QEMU_GONE, State.LOST), (Event.CANCEL, State.STAYED)])
async def test_what_happens_between_the_row_and_the_first_byte(
    driven: Driven, journal: Journal, happens: Event, state: State
) -> None:
    """The way is closed before the sending has begun, which then begins nothing."""
    shell = driven.departure.shell
    write = shell.write

    async def overtaken(step: Step) -> None:
        await write(step)
        if step is Step.PERFORM3:
            shell.feed(happens)

    shell.write = overtaken
    driven.domain.monitor.on["migrate_cancel"] = lambda: driven.domain.monitor.status("cancelled")
    assert await driven.live() is state
    assert "call off" in driven.steps
    assert "migrate" not in driven.domain.monitor.commands
    (entry,) = await journal.recent(1)
    assert entry.is_over


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([Event.WORD_GONE], False),
        ([Event.UNREACHABLE, Event.WORD_POSTCOPY, Event.WORD_GONE], True),
        ([Event.UNREACHABLE, Event.WORD_UNKNOWN], True),
    ],
    ids=["at once", "when it can be told", "when it knows nothing"],
)
async def test_what_qemu_takes_back_is_called_off(
    driven: Driven, journal: Journal, monkeypatch: pytest.MonkeyPatch, words: list[Event], told: bool
) -> None:
    """QEMU had begun with post-copy, and had no answer: the guest goes on here, and is never granted."""
    monitor, departure, said = driven.domain.monitor, driven.departure, iter(words)

    async def recall() -> tuple[Event, str]:
        assert driven.domain.state is DomainState.RUNNING
        return next(said), "no route to host"

    driven.recall = recall  # type: ignore[attr-defined]
    departure.rescue.by = lambda: cast(Any, driven)
    monkeypatch.setattr(inquiry, "ASK_AGAIN", (0.0,))

    def switches() -> None:
        driven.domain.pause()
        for word in ("device", "postcopy-device", "a-word-of-a-later-qemu", "failing"):
            monitor.status(word)
            assert departure.state is State.SWITCHING
        monitor.on["query-migrate"] = lambda: monitor.status("failed")

    monitor.on["migrate"] = lambda: departure.shell.feed(Event.SWITCH)
    monitor.on["migrate-start-postcopy"] = switches
    assert await driven.live() is State.STAYED
    assert "grant" not in driven.steps
    assert departure.answerable.is_set() is told
    assert await steps(journal) == [Step.BEGIN3, Step.PERFORM3, Step.POSTCOPY, Step.RETURNED, Step.STAYED]
    (entry,) = await journal.recent(1)
    assert entry.is_over
    assert "QEMU's migration ended as 'failed'" in entry.cause


async def test_post_copy_is_not_taken_up_where_qemu_runs_the_guest_again(
    driven: Driven, monkeypatch: pytest.MonkeyPatch
) -> None:
    """QEMU before 10.2 may give up after having said that it is in post-copy. A grant would make two of the guest."""
    driven.domain.monitor.migration = "failed"
    event = await inquiry.Inquiry(driven.departure)._take_up_again(cast(Any, driven))
    assert event is Event.WORD_POSTCOPY
    assert "runs the guest here" in driven.departure.obstacle
