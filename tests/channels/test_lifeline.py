"""Somebody holds, or patience runs out, once."""

from __future__ import annotations

import asyncio

import pytest

from culvert.channels.lifeline import Lifeline


@pytest.fixture
def ended() -> list[str]:
    return []


@pytest.fixture
async def lifeline(ended: list[str]) -> Lifeline:
    return Lifeline(lambda: ended.append("ended"))


async def turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_the_last_one_to_let_go_ends_it_once(lifeline: Lifeline, ended: list[str]) -> None:
    lifeline.hold("owner")
    lifeline.hold(0)
    lifeline.release("owner")
    await turns()
    assert lifeline.held
    assert not ended
    lifeline.release(0)
    lifeline.release(0)
    await turns()
    assert ended == ["ended"]


async def test_holding_again_in_time(lifeline: Lifeline, ended: list[str]) -> None:
    lifeline.hold("owner")
    lifeline.release("owner")
    lifeline.hold(0)
    await turns()
    assert not ended


async def test_patience(lifeline: Lifeline, ended: list[str]) -> None:
    lifeline.patience = 3600.0
    lifeline.hold("owner")
    lifeline.release("owner")
    await turns()
    assert not ended
    assert not lifeline.held
    lifeline.cut()


async def test_nothing_is_said_after_the_cut(lifeline: Lifeline, ended: list[str]) -> None:
    lifeline.hold("owner")
    lifeline.hold(0)
    lifeline.release("owner")
    lifeline.cut()
    lifeline.release(0)
    await turns()
    assert not ended
