from __future__ import annotations

import asyncio

import pytest

from culvert.rpc.turns import Turns, Waiters


async def producer(turns: Turns, name: str, done: list[str], waiters: Waiters | None = None) -> None:
    with await turns.take(waiters):
        done.append(name)


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_open_door_lets_everybody_through_at_once() -> None:
    turns, done = Turns(), list[str]()
    for name in "abc":
        await producer(turns, name, done)
    assert done == ["a", "b", "c"]


async def test_shut_door_lets_one_through_at_a_time_in_order() -> None:
    turns, done = Turns(), list[str]()
    turns.shut()
    async with asyncio.TaskGroup() as tasks:
        for name in "abc":
            tasks.create_task(producer(turns, name, done), name=name)
        await settle()
        assert done == []
        turns.reopen()
        turns.shut()  # the first packet filled it again
        await settle()
        assert done == ["a"]
        turns.reopen()
        await settle()
    assert done == ["a", "b", "c"]


async def test_cancelled_turn_goes_to_the_next() -> None:
    turns, done = Turns(), list[str]()
    turns.shut()
    async with asyncio.TaskGroup() as tasks:
        first = tasks.create_task(producer(turns, "a", done), name="a")
        tasks.create_task(producer(turns, "b", done), name="b")
        await settle()
        turns.reopen()
        first.cancel()  # woken, and cancelled before it ran
        await settle()
        assert done == ["b"]


async def test_cancelled_waiter_is_passed_over() -> None:
    turns, done = Turns(), list[str]()
    turns.shut()
    async with asyncio.TaskGroup() as tasks:
        first = tasks.create_task(producer(turns, "a", done), name="a")
        tasks.create_task(producer(turns, "b", done), name="b")
        await settle()
        first.cancel()
        await settle()
        turns.reopen()
    assert done == ["b"]


async def test_one_waiter_can_be_ended_alone() -> None:
    turns, done = Turns(), list[str]()
    turns.shut()
    waiters: Waiters = set()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(producer(turns, "b", done), name="b")

        async def failing() -> None:
            with pytest.raises(ValueError, match="stream gone"):
                await producer(turns, "a", done, waiters)

        tasks.create_task(failing(), name="a")
        await settle()
        [future] = waiters
        future.set_exception(ValueError("stream gone"))
        await settle()
        assert not waiters
        turns.reopen()
    assert done == ["b"]


async def test_close_ends_all_waits_now_and_later() -> None:
    turns, done = Turns(), list[str]()
    turns.shut()

    async def failing() -> None:
        with pytest.raises(ValueError, match="lost"):
            await producer(turns, "a", done)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(failing(), name="a")
        tasks.create_task(failing(), name="b")
        await settle()
        turns.close(ValueError("lost"))
    await failing()
    assert done == []
