"""Calls beside the event loop: taken back when nobody wants them any more, or left behind."""

from __future__ import annotations

import asyncio
import socket
import threading
from typing import Any

import pytest

from culvert.io import blocking, loop


async def test_what_is_made_is_returned_or_raised() -> None:
    undone: list[int] = []
    assert await blocking.made(lambda: 7, undo=undone.append) == 7
    with pytest.raises(ZeroDivisionError):
        await blocking.made(lambda: 1 // 0, undo=undone.append)
    assert await blocking.left_behind(lambda: 7, name="seven") == 7
    with pytest.raises(ZeroDivisionError):
        await blocking.left_behind(lambda: 1 // 0, name="never")
    assert undone == []


async def test_what_must_be_whole_is_waited_for_however_often_it_is_cancelled() -> None:
    begun, goes_on = threading.Event(), threading.Event()
    done: list[str] = []

    def write() -> None:
        begun.set()
        goes_on.wait(30)
        done.append("whole")

    assert await blocking.to_its_end(lambda: 7) == 7
    async with asyncio.TaskGroup() as tasks:
        writing = tasks.create_task(blocking.to_its_end(write), name="writing")
        await asyncio.to_thread(begun.wait, 30)
        for _ in range(3):
            writing.cancel()
            await asyncio.sleep(0)
        assert not writing.done()
        goes_on.set()
    assert writing.cancelled()
    assert done == ["whole"]


async def test_what_was_made_for_somebody_who_has_gone_is_taken_back() -> None:
    begun, goes_on = threading.Event(), threading.Event()
    undone: list[str] = []

    def make() -> str:
        begun.set()
        goes_on.wait(30)
        return "made"

    async with asyncio.TaskGroup() as tasks:
        making = tasks.create_task(blocking.made(make, undo=undone.append), name="making")
        await asyncio.to_thread(begun.wait, 30)
        for _ in range(3):  # however often it is said
            making.cancel()
            await asyncio.sleep(0)
        assert not making.done()
        goes_on.set()
    assert making.cancelled()
    assert undone == ["made"]


def test_names_that_nobody_resolves_hold_up_neither_other_work_nor_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    asked, answer = threading.Semaphore(0), threading.Event()

    def silent(*words: int) -> list[object]:
        if words[-1] & socket.AI_NUMERICHOST:
            raise socket.gaierror(socket.EAI_NONAME, "no number")
        asked.release()
        answer.wait(60)
        return []

    async def main() -> None:
        async with asyncio.TaskGroup() as tasks:
            asking = [
                tasks.create_task(asyncio.get_running_loop().getaddrinfo(f"h{number}", 1), name="asking")
                for number in range(loop.MOST)
            ]
            for _ in asking:
                assert await asyncio.to_thread(asked.acquire, timeout=30)
            assert await asyncio.to_thread(lambda: "a file") == "a file"
            with pytest.raises(socket.gaierror, match="64 names are being looked up"):
                await asyncio.get_running_loop().getaddrinfo("one-more", 1)
            for task in asking:
                task.cancel()

    monkeypatch.setattr(socket, "getaddrinfo", silent)
    with asyncio.Runner(loop_factory=loop.Loop) as runner:
        runner.run(main())
    assert not answer.is_set()  # the loop is closed, and they still wait
    answer.set()


def test_a_name_is_answered_for(monkeypatch: pytest.MonkeyPatch) -> None:
    def known(*words: Any) -> list[object]:
        if words[0] != "10.1.2.3" and words[-1] & socket.AI_NUMERICHOST:
            raise socket.gaierror(socket.EAI_NONAME, "no number")
        return [words[0], words[1], words[-1]]

    async def main() -> None:
        for host in ("10.1.2.3", "a.example"):
            found: list[Any] = await asyncio.get_running_loop().getaddrinfo(host, 9, flags=socket.AI_PASSIVE)
            assert found[:2] == [host, 9]
            assert found[2] & socket.AI_PASSIVE

    monkeypatch.setattr(socket, "getaddrinfo", known)
    with asyncio.Runner(loop_factory=loop.Loop) as runner:
        runner.run(main())
