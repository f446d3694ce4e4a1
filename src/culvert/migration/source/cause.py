"""Why a migration fails: the first reason counts, and every wait that it concerns ends at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from culvert.channels.work import begin
from culvert.ground import errors

T = TypeVar("T")


class Cause:
    """``name`` is for the names of tasks. ``error`` is ``None`` as long as all is well."""

    def __init__(self, name: str) -> None:
        self.error: errors.RequestError | None = None
        self._name = name
        self._set = asyncio.Event()

    def set(self, error: errors.RequestError) -> bool:
        """It fails because of ``error``: whether that is the first reason."""
        if self.error is not None:
            return False
        self.error = error
        self._set.set()
        return True

    async def guard(self, work: Awaitable[T]) -> T:
        """The result of ``work``; if there is a cause first, ``work`` is cancelled and the cause raised."""
        async with asyncio.TaskGroup() as tasks:
            failing = tasks.create_task(self._set.wait(), name=f"{self._name}: failed?")
            working = begin(tasks, work, f"{self._name}: step")
            await asyncio.wait({failing, working}, return_when=asyncio.FIRST_COMPLETED)
            failing.cancel()
            working.cancel()
        if not working.cancelled():
            return working.result().unwrap()
        assert self.error is not None
        raise self.error
