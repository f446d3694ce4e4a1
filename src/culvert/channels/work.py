"""Work that goes on when its caller has gone, and refusals carried as values so that no task group wraps them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Coroutine
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from culvert.ground import errors
from culvert.hypervisor.contract import Happened

log = logging.getLogger(__name__)

T = TypeVar("T")

LEAVE_TIMEOUT = 5.0  # seconds that work still under way may take when the owner ends


@dataclass(frozen=True, slots=True)
class Done(Generic[T]):
    """A result, or the refusal in its place."""

    values: tuple[T, ...]
    error: errors.RequestError | None = None

    def unwrap(self) -> T:
        """The result; raises the refusal."""
        if self.error is not None:
            raise self.error
        return self.values[0]


async def captured(work: Awaitable[T]) -> Done[T]:
    """``work``'s result or refusal; everything else passes through."""
    try:
        return Done((await work,))
    except errors.RequestError as err:
        return Done((), err)


def begin(tasks: asyncio.TaskGroup, work: Awaitable[T], name: str) -> asyncio.Task[Done[T]]:
    """``captured(work)`` as one of ``tasks``."""
    task = tasks.create_task(captured(work), name=name)
    close_with(task, work)
    return task


def close_with(task: asyncio.Task[Any], work: Awaitable[Any]) -> None:
    """``task`` is to await ``work``: where it is cancelled before it has begun, ``work`` is closed instead, so that
    nothing warns of a coroutine that nobody has awaited."""
    if asyncio.iscoroutine(work):
        task.add_done_callback(lambda done: work.close())


async def either(one: Happened, other: Happened) -> None:
    """Wait until one of two things has happened."""
    async with asyncio.TaskGroup() as tasks:
        waits = [tasks.create_task(event.wait(), name="either") for event in (one, other)]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()


class Background:
    """Owns every task that outlives the call that began it. Used as ``async with``.

    A fault in one piece of work is logged and ends only that piece. On leaving, what still runs gets
    ``LEAVE_TIMEOUT`` seconds and is then cancelled.
    """

    def __init__(self) -> None:
        self._group = asyncio.TaskGroup()
        self._tasks: set[asyncio.Task[Any]] = set()

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._tasks:
            await asyncio.wait(tuple(self._tasks), timeout=LEAVE_TIMEOUT)
        for task in tuple(self._tasks):
            log.warning("task=%r is cancelled: the daemon stops", task.get_name())
            task.cancel()
        await self._group.__aexit__(None, None, None)

    def spawn(self, name: str, work: Coroutine[Any, Any, T]) -> asyncio.Task[Done[T]]:
        """Begin ``work``; nobody need wait for it. Refusals nobody takes are the caller's to log."""
        task = self._group.create_task(self._guarded(name, work), name=name)
        close_with(task, work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def run(self, name: str, work: Coroutine[Any, Any, T]) -> T:
        """Run ``work`` to its end, whatever becomes of the caller, and give the caller its result.

        A caller that is cancelled loses only the answer: a refusal that nobody hears is logged.
        """
        task = self.spawn(name, work)
        try:
            return (await asyncio.shield(task)).unwrap()
        except asyncio.CancelledError:
            task.add_done_callback(_unheard)
            raise

    @staticmethod
    async def _guarded(name: str, work: Coroutine[Any, Any, T]) -> Done[T]:
        try:
            return await captured(work)
        except Exception as err:
            log.exception("task=%r failed", name)
            return Done((), errors.InternalError(f"internal error in '{name}': {err or type(err).__name__}"))


def _unheard(task: asyncio.Task[Done[Any]]) -> None:
    if not task.cancelled() and (error := task.result().error) is not None:
        log.warning("task=%r ended after its caller had gone: %s", task.get_name(), error)
