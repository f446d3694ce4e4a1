"""``culvert migrate`` against daemons that only pretend: the order of calls, cancelling, deadlines, last words."""

from __future__ import annotations

import asyncio
import os
import signal
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from culvert.cli import migrate
from culvert.cli.ending import LastWords
from culvert.cli.exits import Exit
from culvert.client import MigrateOptions, Progress
from culvert.ground import errors
from culvert.protocol import remote_migrate
from tests.client.fake import FakeDaemon, Guest, serving


@dataclass
class Recorder:
    """A display that keeps what it was shown."""

    updates: list[Progress] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)
    ends: list[tuple[LastWords, Progress | None]] = field(default_factory=list)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def begin(self, name: str, source: str, destination: str) -> None:
        assert name == "g"

    def update(self, progress: Progress, now: float) -> None:
        self.updates.append(progress)

    def notice(self, text: str) -> None:
        self.notices.append(text)

    def end(self, ending: LastWords, final: Progress | None) -> None:
        self.ends.append((ending, final))


def pair(tmp_path: Path) -> tuple[FakeDaemon, FakeDaemon]:
    there = FakeDaemon(tmp_path / "b", host="b")
    here = FakeDaemon(tmp_path / "a", host="a", destination=there)
    here.add(Guest("g"))
    return here, there


async def interrupt_when(event: asyncio.Event) -> None:
    await event.wait()
    os.kill(os.getpid(), signal.SIGINT)


async def test_a_guest_moves(tmp_path: Path) -> None:
    a, b = pair(tmp_path)
    shown = Recorder()
    async with serving(a), serving(b):
        ending = await migrate.migrate(a.uri, "g", b.uri, MigrateOptions(bandwidth=5), shown)
    assert (ending.exit, ending.location) == (Exit.OK, "destination")
    assert f"guest 'g' is running (migrated) at {b.uri}" in ending.words
    (call,) = a.calls
    assert isinstance(call, remote_migrate.Perform3ParamsArgs)
    assert (call.dconnuri, call.flags) == (str(b.uri), 7)
    assert shown.updates[0].phase == "perform"
    assert shown.updates[0].percent == 60.0
    ((last, final),) = shown.ends
    assert last is ending
    assert final is not None
    assert final.downtime_ms == 12


async def test_a_refusal_is_told_and_the_guest_runs_on(tmp_path: Path) -> None:
    a, b = pair(tmp_path)
    a.refusal = errors.OperationFailed("job 'migration out' failed: no space left")
    async with serving(a), serving(b):
        ending = await migrate.migrate(a.uri, "g", b.uri, MigrateOptions(), Recorder())
    assert ending.exit is Exit.FAILED
    assert "no space left" in ending.words
    assert f"guest 'g' is running (booted) at {a.uri}" in ending.words


async def test_a_destination_that_cannot_be_asked_from_here(tmp_path: Path) -> None:
    a, b = pair(tmp_path)
    async with serving(a):
        ending = await migrate.migrate(a.uri, "g", b.uri, MigrateOptions(), Recorder())
    assert ending.exit is Exit.OK
    assert "could not be asked from here" in ending.words


async def test_migrating_to_itself_leaves_one_guest(tmp_path: Path) -> None:
    a, _ = pair(tmp_path)
    a.refusal = errors.InternalError("Attempt to migrate guest to the same host")
    async with serving(a):
        ending = await migrate.migrate(a.uri, "g", a.uri, MigrateOptions(), Recorder())
    assert (ending.exit, ending.location) == (Exit.FAILED, "source")


async def test_ctrl_c_aborts_the_job_and_waits(tmp_path: Path) -> None:
    a, b = pair(tmp_path)
    a.endless = True
    shown = Recorder()
    async with serving(a), serving(b), asyncio.TaskGroup() as group:
        group.create_task(interrupt_when(a.performing), name="ctrl-c")
        ending = await migrate.migrate(a.uri, "g", b.uri, MigrateOptions(), shown)
    assert a.aborted.is_set()
    assert ending.exit is Exit.CANCELLED
    assert "canceled by client" in ending.words
    assert "is running (booted) at" in ending.words
    assert shown.notices == ["cancelling the migration of 'g' (Ctrl-C now: do not wait)"]


async def test_a_second_ctrl_c_does_not_wait(tmp_path: Path) -> None:
    a, b = pair(tmp_path)
    a.endless = True

    async def both() -> None:
        await a.performing.wait()
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGINT)
            await asyncio.sleep(0)  # signals of one kind are merged until the loop has seen them

    async with serving(a), serving(b), asyncio.TaskGroup() as group:
        group.create_task(both(), name="ctrl-c twice")
        ending = await migrate.migrate(a.uri, "g", b.uri, MigrateOptions(), Recorder())
    assert ending.exit in (Exit.UNKNOWN, Exit.CANCELLED)  # the abort may have been quicker
    assert "guest 'g' is running (booted) at" in ending.words


async def test_a_deadline_cancels(tmp_path: Path) -> None:
    a, b = pair(tmp_path)
    a.endless = True
    shown = Recorder()
    async with serving(a), serving(b):
        ending = await migrate.migrate(a.uri, "g", b.uri, MigrateOptions(timeout=0.05), shown)
    assert ending.exit is Exit.CANCELLED
    assert shown.notices[0] == "the migration has not ended within 0.05 s"


async def test_a_deadline_suspends_where_that_was_asked(tmp_path: Path) -> None:
    a, b = pair(tmp_path)
    a.endless = True
    async with serving(a), serving(b):
        options = MigrateOptions(timeout=0.05, timeout_suspend=True)
        ending = await migrate.migrate(a.uri, "g", b.uri, options, Recorder())
    assert a.calls[-1] == "suspend"
    assert ending.exit is Exit.OK


async def test_a_lost_connection_is_not_the_end_of_the_migration(tmp_path: Path) -> None:
    a, b = pair(tmp_path)
    a.lose_connection = True
    async with serving(a), serving(b):
        ending = await migrate.migrate(a.uri, "g", b.uri, MigrateOptions(), Recorder())
    assert ending.exit is Exit.UNKNOWN
    assert "may be going on" in ending.words


async def test_nothing_begins_without_a_daemon_or_a_domain(tmp_path: Path) -> None:
    a, b = pair(tmp_path)
    shown = Recorder()
    ending = await migrate.migrate(a.uri, "g", b.uri, MigrateOptions(), shown)
    assert (ending.exit, len(shown.ends)) == (Exit.UNREACHABLE, 1)
    async with serving(a):
        ending = await migrate.migrate(a.uri, "x", b.uri, MigrateOptions(), shown)
    assert (ending.exit, len(shown.ends)) == (Exit.FAILED, 2)
    assert "nothing was done" in ending.words
    assert a.calls == []


async def test_ctrl_c_is_python_s_own_again_afterwards(tmp_path: Path) -> None:
    a, b = pair(tmp_path)
    before = signal.getsignal(signal.SIGINT)
    async with serving(a), serving(b):
        await migrate.migrate(a.uri, "g", b.uri, MigrateOptions(), Recorder())
    assert signal.getsignal(signal.SIGINT) in (before, signal.default_int_handler)
