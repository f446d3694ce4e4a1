"""Work outlives its caller, and a fault in one piece ends nothing else."""

from __future__ import annotations

import asyncio
import inspect
import logging

import pytest

from culvert.channels import work
from culvert.channels.work import Background
from culvert.ground import errors


async def refuse() -> None:
    raise errors.OperationFailed("no")


async def test_a_result_and_a_refusal_reach_the_caller() -> None:
    async def give() -> int:
        return 7

    async with Background() as background:
        assert await background.run("give", give()) == 7
        with pytest.raises(errors.OperationFailed, match="no"):
            await background.run("refuse", refuse())


async def test_it_goes_on_when_the_caller_is_cancelled(caplog: pytest.LogCaptureFixture) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()
    done: list[str] = []

    async def slow() -> None:
        begun.set()
        await go_on.wait()
        done.append("done")
        raise errors.OperationFailed("nobody hears")

    async with Background() as background:
        async with asyncio.TaskGroup() as tasks:
            caller = tasks.create_task(background.run("slow", slow()), name="caller")
            await begun.wait()
            caller.cancel()
        go_on.set()
    assert done == ["done"]
    assert "nobody hears" in caplog.text


async def test_a_fault_is_logged_and_ends_only_that_piece(caplog: pytest.LogCaptureFixture) -> None:
    async def bug() -> None:
        raise ZeroDivisionError("a bug")

    with caplog.at_level(logging.ERROR):
        async with Background() as background:
            with pytest.raises(errors.InternalError, match="a bug"):
                await background.run("bug", bug())
            with pytest.raises(errors.OperationFailed):
                await background.run("after it", refuse())
    assert "ZeroDivisionError" in caplog.text


async def test_leaving_cancels_what_does_not_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work, "LEAVE_TIMEOUT", 0.01)
    async with Background() as background:
        endless = background.spawn("endless", asyncio.Event().wait())
    assert endless.cancelled()


async def test_what_is_cancelled_before_it_has_begun_is_over() -> None:
    """And not a coroutine that nobody has awaited, of which Python warns (an error here, ``pyproject.toml``)."""

    async def never() -> None:
        raise AssertionError("it has begun")

    unbegun, captive = never(), never()
    async with Background() as background:
        task = background.spawn("never", unbegun)
        task.cancel()
    async with asyncio.TaskGroup() as tasks:
        begun = work.begin(tasks, captive, "never")
        begun.cancel()
    assert task.cancelled()
    assert begun.cancelled()
    assert [inspect.getcoroutinestate(each) for each in (unbegun, captive)] == [inspect.CORO_CLOSED] * 2
