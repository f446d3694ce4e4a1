"""What holds for all departures of a host: the daemon's end, an operator's word, a journal that takes nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID

import pytest

from culvert.channels.work import Background
from culvert.domain.parse import parse
from culvert.ground import errors
from culvert.migration.handover.machine import Do, Next, Step
from culvert.migration.handover.machine_source import Event, State
from culvert.migration.journal.history import Begun, Direction, Key
from culvert.migration.journal.journal import Journal
from culvert.migration.options import guest_cpu, preflight
from culvert.migration.options.parameters import Options
from culvert.migration.options.settings import Settings
from culvert.migration.peers.peer import Dialler
from culvert.migration.shell import Shell
from culvert.migration.source import ask as asking
from culvert.migration.source import inquiry as module
from culvert.migration.source.departure import Departure
from culvert.migration.source.driving import Driving
from culvert.migration.source.source import Source
from culvert.protocol.constants_migrate import MigrateFlag
from tests.drivers.support import domain_xml
from tests.migration.fakes import FakeDomain

SETTINGS = Settings("host-a", UUID(int=1), stall_seconds=0)


class Changeable(FakeDomain):
    """With the lock that a real domain has, and a definition."""

    definition = as_it_runs = parse(domain_xml("g", uuid="11111111-2222-4333-8444-000000000001"))

    @asynccontextmanager
    async def changing(self, what: str) -> AsyncIterator[None]:
        yield

    def tell(self, *args: object, **more: object) -> None:
        """Nobody listens."""


def a_source(background: Background, journal: Journal) -> Source:
    driver = SimpleNamespace(complete=lambda definition: definition)
    return Source(cast(Any, driver), SETTINGS, Dialler(), background, journal)


async def test_an_offline_migration_that_the_journal_does_not_take_leaves_the_domain_free(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def check(*args: object) -> None:
        """All is well."""

    async def full(*args: object) -> None:
        raise errors.SystemCallError("no space left on device", errno=28)

    monkeypatch.setattr(preflight, "check", check)
    monkeypatch.setattr(preflight, "travelling", lambda *args: "<domain/>")
    monkeypatch.setattr(guest_cpu, "configured", lambda guest: None)
    monkeypatch.setattr(journal, "begin", full)
    domain = Changeable()
    options = Options(flags=MigrateFlag.OFFLINE | MigrateFlag.PERSIST_DEST)
    owner = SimpleNamespace(principal="", on_close=lambda callback: callback)
    async with Background() as background:
        with pytest.raises(errors.SystemCallError, match="no space"):
            await a_source(background, journal).begin(domain.as_domain, options, owner)
    assert domain.job is None


@pytest.fixture
async def undecided(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[Source, Departure, FakeDomain]]:
    """A migration whose destination knows nothing: only an operator can end it."""

    async def word(*args: object) -> tuple[Event, str]:
        return Event.WORD_UNKNOWN, "it has no record"

    async def close() -> None:
        pass

    monkeypatch.setattr(asking, "word", word)
    monkeypatch.setattr(module, "ASK_AGAIN", (0.01,))
    monkeypatch.setattr("culvert.channels.work.LEAVE_TIMEOUT", 0.0)
    domain = Changeable()
    domain.complete()
    domain.monitor.migration = "completed"
    key = Key("a" * 32, Direction.OUT)
    await journal.begin(Begun(key, domain.name, str(domain.uuid), peer="qemu+tcp://b:1/system"), Step.PERFORM3_DONE)
    entry = await journal.get(key)
    assert entry is not None
    async with Background() as background:
        source = a_source(background, journal)
        monkeypatch.setattr(Source, "_peer_to_peer", lambda *args: cast(Driving, SimpleNamespace(close=close)))
        source.take_up(entry, domain.as_domain, Next(State.ASKING, (Do.ASK,)))
        (departure,) = source._departures.values()
        async with asyncio.timeout(10):
            await departure.answerable.wait()
        yield source, departure, domain


async def test_the_daemon_does_not_wait_for_what_only_the_destination_can_end(
    undecided: tuple[Source, Departure, FakeDomain],
) -> None:
    source, departure, _ = undecided
    departure.cause.set(errors.OperationFailed("something that was seen before the grant"))
    async with asyncio.timeout(10):
        await source.stop(1000.0)
    assert departure.state is State.UNDECIDED


@pytest.mark.parametrize("here", [True, False])
async def test_an_operator_decides_and_that_is_written_down(
    undecided: tuple[Source, Departure, FakeDomain], journal: Journal, here: bool
) -> None:
    source, departure, domain = undecided
    async with asyncio.timeout(10):
        await source.resolve(domain.uuid, here=here, who="anna")
    assert departure.state is (State.STAYED if here else State.LEFT)
    assert "anna says that the guest runs" in await _texts(journal)
    if here:
        assert "anna has decided" in departure.record.error


async def test_an_operator_who_is_refused_changes_nothing(
    undecided: tuple[Source, Departure, FakeDomain], journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, departure, domain = undecided

    async def refuse(self: object, event: Event) -> None:
        raise errors.OperationInvalid("too late")

    doubt, cause = departure.doubt, departure.cause.error
    with monkeypatch.context() as patched:
        patched.setattr(Shell, "ask", refuse)
        with pytest.raises(errors.OperationInvalid, match="too late"):
            await source.resolve(domain.uuid, here=True, who="anna")
    assert (departure.doubt, departure.cause.error) == (doubt, cause)
    assert "refused to anna: too late" in await _texts(journal)


async def _texts(journal: Journal) -> str:
    (entry,) = await journal.recent(1)
    shown = await journal.show(entry.number)
    assert shown is not None
    return "\n".join(line.text for line in shown.lines)
