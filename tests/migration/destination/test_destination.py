"""What holds for all arrivals of a host: who asks for an old attempt, and a way that is opened anew."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID

import pytest

from culvert.channels.landing import Landing
from culvert.channels.plan import MAIN
from culvert.channels.ticket import Gate, Ticket
from culvert.channels.work import Background
from culvert.ground import errors
from culvert.io.detached import Detached
from culvert.migration.destination.arrival import Arrival
from culvert.migration.destination.destination import Destination
from culvert.migration.destination.intake import Intake
from culvert.migration.handover.machine import Step
from culvert.migration.handover.machine_destination import State
from culvert.migration.journal.history import Begun, Direction, Key
from culvert.migration.journal.journal import Journal
from culvert.migration.options import cookie, grant
from culvert.migration.options.cookie import Cookie
from culvert.migration.options.parameters import Options
from culvert.migration.options.settings import Settings
from culvert.protocol.constants_migrate import MigrateFlag
from culvert.protocol.culvert import Outcome
from tests.migration.fakes import FakeDomain

SETTINGS = Settings("host-b", UUID(int=2), stall_seconds=0)
OLD, NEW = "a" * 32, "b" * 32
SEAL = grant.seal("1" * 64)


async def test_an_old_attempt_does_not_touch_the_guest_that_a_new_one_brings(journal: Journal) -> None:
    """The old one's last row could not be written when it ended; its name and UUID are those of the new one."""
    domain = FakeDomain()
    old = Key(OLD, Direction.IN)
    await journal.begin(Begun(old, domain.name, str(domain.uuid), secret=SEAL), Step.PREPARE)
    live = cast(Arrival, SimpleNamespace(attempt=NEW, begun=SimpleNamespace(name=domain.name), intake=None))
    driver = SimpleNamespace(lookup_by_uuid=lambda uuid: domain.as_domain)
    async with Background() as background:
        destination = Destination(cast(Any, driver), SETTINGS, background, journal)
        destination._arrivals[domain.name] = live
        assert await destination.outcome(OLD, SEAL) == (Outcome.PENDING, "")
        assert destination._arrivals[domain.name] is live
    entry = await journal.get(old)
    assert entry is not None
    assert entry.step is Step.GONE
    assert domain.history == []


@pytest.mark.parametrize("shown", ["", "1" * 64, grant.seal("2" * 64), "\udcff", None])
async def test_who_does_not_show_the_seal_ends_nothing(journal: Journal, shown: str | None) -> None:
    """The history's reader knows the attempt's name; only its source knows more."""
    asked: list[errors.RequestError] = []
    theirs = Cookie("g", UUID(int=1), "host-a", UUID(int=3), OLD, SEAL, wire=2)
    begun = Begun(Key(OLD, Direction.IN), "g", str(UUID(int=1)), secret=SEAL)
    live = SimpleNamespace(attempt=OLD, begun=begun, theirs=theirs, intake=None, ask=asked.append)
    async with Background() as background:
        destination = Destination(cast(Any, SimpleNamespace()), SETTINGS, background, journal)
        destination._arrivals["g"] = cast(Arrival, live)
        with pytest.raises(errors.AuthenticationFailed, match="domain 'g' is told to its source"):
            await destination.outcome(OLD, shown)
        assert asked == []
        await journal.begin(replace(begun, key=Key(NEW, Direction.IN)), Step.PREPARE)
        if shown is not None:
            with pytest.raises(errors.AuthenticationFailed):
                await destination.outcome(NEW, shown)
    entry = await journal.get(Key(NEW, Direction.IN))
    assert entry is not None
    assert entry.step is Step.PREPARE


@pytest.mark.parametrize(("wire", "seal"), [(1, None), (1, SEAL), (2, SEAL)])
async def test_its_source_is_told(journal: Journal, wire: int, seal: str | None) -> None:
    asked: list[errors.RequestError] = []

    async def ask(why: errors.RequestError) -> None:
        asked.append(why)

    theirs = Cookie("g", UUID(int=1), "host-a", UUID(int=3), OLD, SEAL, wire=wire)
    begun = Begun(Key(OLD, Direction.IN), "g", str(UUID(int=1)), secret=SEAL)
    live = SimpleNamespace(
        attempt=OLD, begun=begun, theirs=theirs, intake=None, ask=ask, state=State.GONE, cause="no memory"
    )
    async with Background() as background:
        destination = Destination(cast(Any, SimpleNamespace()), SETTINGS, background, journal)
        destination._arrivals["g"] = cast(Arrival, live)
        assert await destination.outcome(OLD, seal) == (Outcome.GONE, "no memory")
    assert len(asked) == 1


class Reopened:
    """An intake whose post-copy has lost its way, and gets another one."""

    def __init__(self, background: Background, folder: Path) -> None:
        self.domain = FakeDomain()
        self.domain.require_active = lambda: SimpleNamespace(runtime=folder)  # type: ignore[method-assign]
        self.broke: list[errors.RequestError] = []
        self.intake = Intake(
            *("migration", self.domain.as_domain, Options(flags=MigrateFlag.POSTCOPY), SETTINGS),
            gate=_gate(),
            spawn=background.spawn,
            attaching=lambda: asyncio.sleep(0),
            broken=self.broke.append,
            abandoned=lambda: None,
        )
        self.intake.incoming.recover = self._recover  # type: ignore[method-assign]
        self.intake.reopen(_gate(), preempt=False)

    async def _recover(self, entrance: object) -> bool:
        assert isinstance(entrance, Path)
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(entrance))
            listener.listen()
            self.intake.paused()  # QEMU says so of the way that it had
            self.listener = listener.dup()
        return True

    async def channel(self) -> Landing:
        """The main channel, up to where its connection joins."""
        landing, received = await self.intake.expect(MAIN, 1)
        assert received == 0
        return landing


def _gate() -> Gate:
    return Gate(Ticket.draw(), "", 0.0)


@pytest.fixture
async def reopened(tmp_path: Path) -> AsyncIterator[Reopened]:
    async with Background() as background:
        made = Reopened(background, tmp_path)
        yield made
        made.intake.close(arrived=False)
        made.listener.close()


async def is_open(landing: Landing) -> bool:
    """Whether a channel can still be attached there."""

    async def never(*args: object) -> None:
        raise AssertionError("QEMU has its way already")

    try:
        return await landing.expect(MAIN, 2, never) == 0
    except errors.InvalidStream:
        return False


async def test_the_pause_that_makes_room_for_a_new_way_does_not_end_it(reopened: Reopened) -> None:
    landing = await reopened.channel()
    assert await is_open(landing)
    reopened.intake.paused()
    assert not await is_open(landing)


async def test_a_connection_for_the_way_before_is_closed(reopened: Reopened) -> None:
    before = await reopened.channel()
    reopened.listener.close()
    reopened.intake.reopen(_gate(), preempt=False)
    landing = await reopened.channel()
    ours, theirs = socket.socketpair()
    with theirs:
        await reopened.intake.join(before, MAIN, 1, Detached(ours), 0)
        assert theirs.recv(1) == b""
    assert await is_open(landing)
    assert reopened.broke == []


@pytest.mark.parametrize("held", ["arriving", "refused"])
async def test_what_calls_off_another_attempt_comes_too_late(journal: Journal, held: str) -> None:
    """The guest of that name is another attempt's now, whose half is perhaps the only one."""
    domain = FakeDomain()
    live = SimpleNamespace(attempt=NEW, begun=SimpleNamespace(name=domain.name), intake=None)
    old = cookie.build(Cookie(domain.name, domain.uuid, "host-a", UUID(int=3), OLD, SEAL))
    async with Background() as background:
        destination = Destination(cast(Any, SimpleNamespace()), SETTINGS, background, journal)
        attempts = destination._arrivals if held == "arriving" else destination._refused
        attempts[domain.name] = cast(Arrival, live)
        with pytest.raises(errors.NoDomain):
            await destination.finish(domain.name, Options(), old, cast(Any, object()), cancelled=True)
        assert attempts == {domain.name: live}


async def test_an_attempt_is_called_off_by_its_name(journal: Journal) -> None:
    """A source that was started again does not know what the guest was to be called there."""
    called: list[str] = []

    async def call_off() -> errors.RequestError:
        called.append(OLD)
        over.set()
        return errors.MigrateFinishOk("done")

    over = asyncio.Event()
    live = SimpleNamespace(attempt=OLD, begun=SimpleNamespace(name="h"), intake=None, call_off=call_off, over=over)
    named = cookie.build(Cookie("g", UUID(int=1), "host-a", UUID(int=3), OLD, SEAL))
    async with Background() as background:
        destination = Destination(cast(Any, SimpleNamespace()), SETTINGS, background, journal)
        destination._arrivals["h"] = cast(Arrival, live)
        with pytest.raises(errors.MigrateFinishOk):
            await destination.finish("g", Options(), named, cast(Any, object()), cancelled=True)
    assert called == [OLD]
