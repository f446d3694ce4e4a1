"""The rules by which the tables are carried out: their order, what must be on the disk, and what comes in between."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from enum import Enum

import pytest

from culvert.ground import errors
from culvert.migration.handover.machine import Do, Next, Step, Write, ignored, join, row
from culvert.migration.shell import Rules, Shell


class S(Enum):
    """A small machine's states."""

    ONE = "one"
    TWO = "two"
    OVER = "over"


class E(Enum):
    """Its events."""

    GO = "go"
    BACK = "back"
    TICK = "tick"
    END = "end"
    UNWRITTEN = "unwritten"


TABLE = join(
    row(S.ONE, E.GO, S.TWO, Do.REPORT, Write(Step.PERFORM3, must=True), Do.RESUME, Do.WAIT),
    row(S.ONE, E.UNWRITTEN, S.ONE, Do.NO),
    row(S.ONE, E.BACK, S.ONE, Do.REFUSE),
    row(S.TWO, E.BACK, S.ONE, Write(Step.STAYED), Do.YES),
    row(S.TWO, E.TICK, S.TWO, Do.ASK),
    row(S.TWO, E.END, S.OVER),
    row(S.ONE, E.END, S.OVER),
    ignored([S.ONE], [E.TICK]),
)


class Played:
    """The machine with acts that write down what is done, and in which state."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.full = False
        self.tick = asyncio.Event()
        self.asked = asyncio.Event()
        self.why: errors.RequestError | None = None
        acts: dict[Do, Callable[[], Awaitable[E | None]]] = {
            do: self._act(do.name) for do in (Do.REPORT, Do.RESUME, Do.NO, Do.YES, Do.ASK)
        }
        acts[Do.WAIT] = self._wait
        self.shell: Shell[S, E] = Shell(
            "machine",
            Rules("source", TABLE, frozenset({S.OVER}), E.UNWRITTEN),
            S.ONE,
            self._write,
            acts,
            entered=lambda state: self.done.append(f"={state.value}"),
            unwritten=self._unwritten,
        )

    def _unwritten(self, error: errors.RequestError) -> None:
        self.why = error

    def _act(self, name: str) -> Callable[[], Awaitable[None]]:
        async def act() -> None:
            self.done.append(f"{name} in {self.shell.state.value}")
            if name == Do.ASK.name:
                self.asked.set()

        return act

    async def _wait(self) -> E:
        await self.tick.wait()
        return E.TICK

    async def _write(self, step: Step) -> None:
        if self.full:
            raise errors.SystemCallError("no space", errno=28)
        self.done.append(step.value)


async def play(played: Played, script: Callable[[], Awaitable[None]]) -> None:
    """Run the machine while ``script`` drives it; then end it."""
    async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
        tasks.create_task(played.shell.run(Next(S.ONE)), name="machine")
        await script()
        played.shell.feed(E.END)
    assert played.shell.over.is_set()


async def test_the_state_holds_when_the_row_is_on_the_disk_and_what_follows_is_done_in_it() -> None:
    played = Played()

    async def script() -> None:
        await played.shell.ask(E.GO)

    await play(played, script)
    assert played.done == ["REPORT in one", "perform3", "=two", "RESUME in two", "=over"]


async def test_a_row_that_must_be_there_and_is_not_changes_nothing() -> None:
    played = Played()
    played.full = True

    async def script() -> None:
        with pytest.raises(errors.SystemCallError, match="no space"):
            await played.shell.ask(E.GO)

    await play(played, script)
    assert played.done == ["REPORT in one", "NO in one", "=over"]
    assert isinstance(played.why, errors.SystemCallError)


async def test_a_row_that_only_records_holds_nothing_up() -> None:
    played = Played()

    async def script() -> None:
        await played.shell.ask(E.GO)
        played.full = True
        await played.shell.ask(E.BACK)

    await play(played, script)
    assert played.done[-3:] == ["=one", "YES in one", "=over"]


async def test_who_asks_for_what_is_refused_hears_it() -> None:
    played = Played()

    async def script() -> None:
        with pytest.raises(errors.OperationInvalid, match="machine is in 'one', where 'back' is not possible"):
            await played.shell.ask(E.BACK)

    await play(played, script)
    with pytest.raises(errors.OperationInvalid, match="over"):
        await played.shell.ask(E.BACK)


async def test_a_wait_ends_with_the_state() -> None:
    played = Played()

    async def script() -> None:
        await played.shell.ask(E.GO)
        await played.shell.ask(E.BACK)
        played.tick.set()
        await asyncio.sleep(0)

    await play(played, script)
    assert "ASK in two" not in played.done
    other = Played()

    async def patient() -> None:
        await other.shell.ask(E.GO)
        other.tick.set()
        await other.asked.wait()

    await play(other, patient)
    assert "ASK in two" in other.done


async def test_an_event_that_cannot_be_changes_nothing_and_ends_nothing(caplog: pytest.LogCaptureFixture) -> None:
    played = Played()

    async def script() -> None:
        await played.shell.ask(E.GO)
        with pytest.raises(errors.InternalError, match="cannot happen"):
            await played.shell.ask(E.GO)

    await play(played, script)
    assert "cannot happen in state 'two'" in caplog.text


async def test_who_waits_when_the_daemon_stops_hears_of_it() -> None:
    played = Played()
    waiting: list[errors.RequestError] = []

    async def ask() -> None:
        try:
            await played.shell.ask(E.GO)
        except errors.RequestError as err:
            waiting.append(err)

    async def stuck(step: Step) -> None:
        await asyncio.Event().wait()

    played.shell.write = stuck
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(played.shell.run(Next(S.ONE)), name="machine")
        played.shell.feed(E.GO)
        tasks.create_task(ask(), name="ask")
        await asyncio.sleep(0.01)
        running.cancel()
    assert "stopping" in str(waiting[0])
