"""One side's machine under way: events are taken one at a time, and the commands of each row are carried out.

The rules are those of ``machine``: the table says what happens, this does it. Commands are done by *acts*. What an
act returns is the machine's next event; one that takes long (``machine.ANSWERED``) runs beside the machine until it
has its event, so that others can come meanwhile.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Generic, TypeVar

from culvert.ground import errors
from culvert.io import fault_points
from culvert.migration.handover import machine
from culvert.migration.handover.machine import ANSWERED, Do, MachineError, Next, Step, Table, Write

log = logging.getLogger(__name__)

S = TypeVar("S", bound=Enum)
E = TypeVar("E", bound=Enum)

_ENDED_BY_A_CHANGE = (Do.WAIT, Do.ASK, Do.RECALL)
"""Acts that are of no interest any more in another state."""


@dataclass(slots=True)
class _Item(Generic[E]):
    """An event in the queue; ``done`` is for who waits until its row is carried out."""

    event: E
    done: asyncio.Future[None] | None = None

    def answer(self, error: errors.RequestError | None = None) -> None:
        if self.done is not None and not self.done.done():
            if error is None:
                self.done.set_result(None)
            else:
                self.done.set_exception(error)


@dataclass(frozen=True, slots=True)
class Rules(Generic[S, E]):
    """What is the same for every migration of one side: its table, its last states, and the event for a journal
    that has not taken a row."""

    side: str
    table: Table[S, E]
    final: frozenset[S]
    unwritten: E


@dataclass(slots=True)
class Shell(Generic[S, E]):
    """The machine of one migration, called ``name`` in logs, in ``state``.

    ``write`` puts a step into the journal; ``acts`` do the commands, and never raise an ``errors.RequestError``;
    ``entered`` is called after every change of state; ``unwritten`` with why a row could not be written that must be.
    """

    name: str
    rules: Rules[S, E]
    state: S
    write: Callable[[Step], Awaitable[None]]
    acts: Mapping[Do, Callable[[], Awaitable[E | None]]]
    entered: Callable[[S], None] = lambda state: None
    unwritten: Callable[[errors.RequestError], object] = lambda error: None
    over: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the machine has come to an end, and nothing of it is under way any more."""
    _queue: asyncio.Queue[_Item[E]] = field(default_factory=asyncio.Queue)
    _working: dict[Do, asyncio.Task[None]] = field(default_factory=dict)
    _tasks: asyncio.TaskGroup | None = None

    def feed(self, event: E) -> None:
        """``event`` has happened; nobody waits for what it does. Nothing happens when the machine has ended."""
        if not self.over.is_set():
            self._queue.put_nowait(_Item(event))

    async def ask(self, event: E) -> None:
        """``event`` has happened: return when its row is carried out, except for what takes long.

        Raises ``errors.OperationInvalid`` when the state refuses it, or the machine has ended, and
        ``errors.SystemCallError`` when the journal has not taken what must be there; then nothing has changed.
        """
        if self.over.is_set():
            raise errors.OperationInvalid(f"{self.name} is over ('{self.state.value}')")
        item = _Item(event, asyncio.get_running_loop().create_future())
        self._queue.put_nowait(item)
        assert item.done is not None
        await item.done

    async def run(self, start: Next[S]) -> None:
        """Carry ``start`` out and go on until a final state. The journal is what is left when this is cancelled."""
        try:
            async with asyncio.TaskGroup() as self._tasks:
                await self._carry_out(start, None)
                while self.state not in self.rules.final or not self._queue.empty():
                    await self._take(await self._queue.get())
                for task in self._working.values():
                    task.cancel()
        finally:
            self.over.set()
            while not self._queue.empty():
                self._queue.get_nowait().answer(errors.OperationAborted(f"{self.name}: the daemon is stopping"))

    async def _take(self, item: _Item[E]) -> None:
        try:
            following = machine.step(self.rules.table, self.state, item.event)
        except MachineError as err:
            # A mistake of ours: what has been decided stands.
            log.error("%s: %s", self.name, err)
            item.answer(errors.InternalError(f"{self.name}: {err}"))
            return
        log.debug("%s: '%s' in '%s'", self.name, item.event.value, self.state.value)
        await self._carry_out(following, item)

    async def _carry_out(self, following: Next[S], item: _Item[E] | None) -> None:
        commands = following.commands
        musts = [place for place, command in enumerate(commands) if isinstance(command, Write) and command.must]
        enters_at = musts[-1] if musts else -1
        if enters_at < 0:
            self._enter(following.state)
        for place, command in enumerate(commands):
            if isinstance(command, Do):
                if command is Do.REFUSE and item is not None:
                    item.answer(errors.OperationInvalid(self._refusal(item.event)))
                await self._do(command)
            elif (error := await self._write(command)) is not None and command.must:
                self.unwritten(error)
                if item is not None:
                    item.answer(error)
                await self._take(_Item(self.rules.unwritten))
                return
            if place == enters_at:
                self._enter(following.state)
        if item is not None:
            item.answer()

    def _refusal(self, event: E) -> str:
        return f"{self.name} is in '{self.state.value}', where '{event.value}' is not possible"

    async def _write(self, command: Write) -> errors.RequestError | None:
        await fault_points.reach(self.rules.side, f"before.{command.step.value}")
        try:
            await self.write(command.step)
        except errors.RequestError as err:
            log.error("%s: '%s' is not on the disk: %s", self.name, command.step.value, err)
            return err
        await fault_points.reach(self.rules.side, f"after.{command.step.value}")
        return None

    async def _do(self, command: Do) -> None:
        await fault_points.reach(self.rules.side, f"before.{command.name.lower()}")
        act = self.acts.get(command)
        if act is None:
            return
        if command not in ANSWERED:
            await self._act(act)
            return
        if (earlier := self._working.pop(command, None)) is not None:
            earlier.cancel()
        assert self._tasks is not None, "only inside run"
        self._working[command] = self._tasks.create_task(self._act(act), name=f"{self.name}: {command.value}")

    async def _act(self, act: Callable[[], Awaitable[E | None]]) -> None:
        if (event := await act()) is not None:
            self.feed(event)

    def _enter(self, state: S) -> None:
        """The one place where the state changes."""
        if state is self.state:
            return
        self.state = state
        for command in _ENDED_BY_A_CHANGE:
            if (task := self._working.pop(command, None)) is not None:
                task.cancel()
        log.info("%s state=%s", self.name, state.value)
        self.entered(state)
