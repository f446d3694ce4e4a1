"""Calls that block, made beside the event loop: one that must be whole, one that makes something, and one that may
never come back."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")


async def to_its_end(call: Callable[[], T]) -> T:
    """``call`` in a thread; raises what it does. Cancelled, it is waited for: a thread cannot be stopped,
    and the next one that writes must not meet it."""
    future = asyncio.get_running_loop().run_in_executor(None, call)
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        await _ended(future)
        raise


async def made(call: Callable[[], T], *, undo: Callable[[T], object]) -> T:
    """``call`` in a thread, to its end also when the caller is cancelled.

    Then ``undo``, in a thread too, takes back what it has made, and the cancellation goes on.
    """
    loop = asyncio.get_running_loop()
    future = loop.run_in_executor(None, call)
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        await _ended(future)
        if not future.cancelled() and future.exception() is None:
            await _ended(loop.run_in_executor(None, undo, future.result()))
        raise


async def _ended(future: asyncio.Future[Any]) -> None:
    """Wait for it, whatever comes: it ends by itself, being held up by nobody's answer."""
    while not future.done():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait([future])


async def left_behind(call: Callable[[], T], *, name: str) -> T:
    """``call`` in a thread of its own, for which nobody waits when the caller is cancelled, not even the end.

    For what may hang: it takes no thread that other work has to wait for.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: BaseException | None) -> None:
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)  # type: ignore[arg-type]

    def work() -> None:
        result, error = None, None
        try:
            result = call()
        except BaseException as err:
            error = err
        with contextlib.suppress(RuntimeError):  # the loop has been closed meanwhile
            loop.call_soon_threadsafe(settle, result, error)

    threading.Thread(target=work, name=name, daemon=True).start()
    return await future
