"""Work in a thread that is waited for, whatever becomes of who asked for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


async def to_its_end(work: Callable[[], T]) -> T:
    """Run ``work`` in a thread; raises what it does. Cancelled, it is waited for all the same: a thread cannot be
    stopped, and the next one that writes must not meet it."""
    running = asyncio.get_running_loop().run_in_executor(None, work)
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait((running,))
        raise
