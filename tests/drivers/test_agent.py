"""Conversations with a guest agent, with one made up here at the other end of the channel's socket."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from culvert.daemon.handlers.guest import GuestHandlers
from culvert.daemon.handlers.query import QueryHandlers
from culvert.daemon.service import Service
from culvert.drivers.qemu import agent, news
from culvert.drivers.qemu.domain import Domain
from culvert.drivers.qemu.events import Happening
from culvert.ground import errors
from culvert.protocol import remote_guest, shapes, types
from culvert.protocol.constants_event import AgentReason, AgentState
from culvert.protocol.constants_flag import VcpuFlag
from culvert.protocol.constants_state import EventID
from culvert.rpc.session import Session
from tests.drivers.support import domain_xml, needs_qemu, running_driver

pytestmark = needs_qemu

Answer = Callable[[dict[str, object]], object]


@contextlib.asynccontextmanager
async def agent_at(path: Path, answer: Answer, *, greeting: bytes = b"") -> AsyncIterator[None]:
    """An agent that listens at ``path`` and answers what ``answer`` returns; ``None`` is no answer."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(greeting)
        while line := (await reader.readline()).lstrip(agent.SENTINEL):
            asked = json.loads(line)
            if asked["execute"] == "guest-sync-delimited":
                writer.write(agent.SENTINEL + json.dumps({"return": asked["arguments"]["id"]}).encode() + b"\n")
            elif (told := answer(asked)) is not None:
                writer.write(json.dumps(told).encode() + b"\n")
        writer.close()

    async with await asyncio.start_unix_server(serve, path):
        yield


@contextlib.asynccontextmanager
async def guest(tmp_path: Path, *, connected: bool = True) -> AsyncIterator[tuple[Domain, Path, list[Happening]]]:
    """A paused guest with an agent's channel at a socket of the test's, and what is told of it."""
    path = tmp_path / "agent"
    channel = (
        f"<channel type='unix'><source mode='bind' path='{tmp_path}/qemu'/>"
        f"<target type='virtio' name='{agent.NAME}'/></channel>"
    )
    async with running_driver(tmp_path / "r") as driver:
        told: list[Happening] = []
        driver.events.listen(told.append)
        domain = await driver.create_xml(domain_xml("g", channel), paused=True)
        run = domain.require_active()
        found = agent.channel(run.definition)
        assert found is not None
        assert found.target.state == "disconnected"
        # No guest opens its end here; QEMU's socket is exchanged for the one of the agent made up.
        if connected:
            news.note_channel(domain, run, found.alias or "", connected=True, reason=AgentReason.CHANNEL)
        (tmp_path / "qemu").unlink()
        (tmp_path / "qemu").symlink_to(path)
        yield domain, path, told


def echo(asked: dict[str, object]) -> object:
    return {"return": asked}


async def test_a_command_and_its_answer(tmp_path: Path) -> None:
    stale = b'{"return": "of somebody before"}\n\xff{"return": 1}\n'
    async with guest(tmp_path) as (domain, path, told), agent_at(path, echo, greeting=stale):
        started = {"state": AgentState.DISCONNECTED, "reason": AgentReason.DOMAIN_STARTED}
        opened = {"state": AgentState.CONNECTED, "reason": AgentReason.CHANNEL}
        assert [(one.kind, one.members) for one in told] == [
            (EventID.CHANNEL_LIFECYCLE, {"channel_name": agent.NAME, **started}),
            (EventID.AGENT_LIFECYCLE, started),
            (EventID.CHANNEL_LIFECYCLE, {"channel_name": agent.NAME, **opened}),
            (EventID.AGENT_LIFECYCLE, opened),
        ]
        asked = {"execute": "guest-ping", "arguments": {"x": "ü"}}
        assert json.loads(await agent.command(domain, json.dumps(asked))) == {"return": asked}
        assert await agent.execute(domain, "guest-info") == {"execute": "guest-info", "arguments": {}}


async def test_an_agent_that_says_no(tmp_path: Path) -> None:
    refusal = {"error": {"class": "CommandNotFound", "desc": "no such thing"}}
    async with guest(tmp_path) as (domain, path, _), agent_at(path, lambda asked: refusal):
        assert json.loads(await agent.command(domain, '{"execute":"x"}')) == refusal
        with pytest.raises(errors.OperationFailed, match="no such thing"):
            await agent.execute(domain, "x")


async def test_an_agent_that_does_not_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent, "SYNC_TIMEOUT", 0.2)
    async with guest(tmp_path) as (domain, path, _), agent_at(path, lambda asked: None):
        with pytest.raises(errors.AgentUnresponsive, match="has not answered in time"):
            await agent.command(domain, '{"execute":"guest-ping"}', 0.1)


async def test_nobody_is_there(tmp_path: Path) -> None:
    async with guest(tmp_path) as (domain, _, _told):
        with pytest.raises(errors.AgentUnresponsive, match="not available"):
            await agent.command(domain, '{"execute":"guest-ping"}')


async def test_a_channel_that_nobody_has_opened(tmp_path: Path) -> None:
    async with guest(tmp_path, connected=False) as (domain, _, told):
        assert {one.members["state"] for one in told} == {AgentState.DISCONNECTED}
        with pytest.raises(errors.AgentUnresponsive, match="not connected"):
            await agent.command(domain, '{"execute":"guest-ping"}')


DEEP = "[" * 5_000 + "]" * 5_000  # JSON, and more levels than Python's reader takes
MARGINAL = "[" * 900 + "]" * 900  # which it takes, and what writes it again may not


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"execute": 1}',
        "x" * 10,
        *(f'{{"execute":"a","arguments":{one}}}' for one in (DEEP, MARGINAL)),
    ],
)
async def test_what_is_no_command(tmp_path: Path, text: str) -> None:
    async with guest(tmp_path) as (domain, _, _told):
        with pytest.raises(errors.InvalidArgument):
            await agent.command(domain, text)


async def test_shutdown_is_asked_for_and_not_answered(tmp_path: Path) -> None:
    heard: list[object] = []

    def answer(asked: dict[str, object]) -> object:
        heard.append(asked["execute"])
        return None if asked["execute"] == "guest-shutdown" else {"return": {}}

    shut: Callable[[Domain, str], Awaitable[None]] = agent.shut_down
    async with guest(tmp_path) as (domain, path, _), agent_at(path, answer):
        await shut(domain, "powerdown")
    assert heard == ["guest-ping", "guest-shutdown"]


@pytest.mark.parametrize("told", [[], 1, {}, {"error": 1}, {"error": None}, "x"], ids=str)
async def test_a_guest_that_answers_what_it_likes(tmp_path: Path, told: object) -> None:
    async with guest(tmp_path) as (domain, path, _), agent_at(path, lambda asked: told):
        with pytest.raises(errors.OperationFailed, match="'guest-ping' with something else"):
            await agent.execute(domain, "guest-ping")


@pytest.mark.parametrize("deep", [DEEP, MARGINAL], ids=["deep", "marginal"])
async def test_a_guest_whose_answers_are_deep(tmp_path: Path, deep: str) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := (await reader.readline()).lstrip(agent.SENTINEL):
            asked = json.loads(line)
            if asked["execute"] == "guest-sync-delimited":
                writer.write(agent.SENTINEL + json.dumps({"return": asked["arguments"]["id"]}).encode() + b"\n")
            else:
                writer.write(f'{{"return":{deep}}}\n'.encode())
        writer.close()

    async with guest(tmp_path) as (domain, path, _), await asyncio.start_unix_server(serve, path):
        with pytest.raises(errors.OperationFailed, match="'guest-ping' with something else"):
            await agent.execute(domain, "guest-ping")


async def test_a_guest_whose_first_answer_is_deep(tmp_path: Path) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(agent.SENTINEL + DEEP.encode() + b"\n")
        await reader.readline()
        writer.close()

    async with guest(tmp_path) as (domain, path, _), await asyncio.start_unix_server(serve, path):
        with pytest.raises(errors.AgentUnresponsive, match="nested deeper"):
            await agent.execute(domain, "guest-ping")


async def test_an_answer_without_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent, "ANSWER_MAX", 1 << 16)
    async with guest(tmp_path) as (domain, path, _), agent_at(path, lambda asked: "x" * (1 << 20)):
        with pytest.raises(errors.AgentUnresponsive, match="limit"):
            await agent.command(domain, '{"execute":"guest-ping"}')


async def test_file_systems_are_held_by_the_agent(tmp_path: Path) -> None:
    heard: list[tuple[str, object]] = []

    def answer(asked: dict[str, object]) -> object:
        heard.append((str(asked["execute"]), asked["arguments"]))
        return {"return": 3}

    async with guest(tmp_path) as (domain, path, _), agent_at(path, answer):
        handlers = GuestHandlers(cast(Service, SimpleNamespace(domain=lambda dom: domain)))
        session, dom = cast(Session, None), types.Domain("g", domain.uuid.bytes, 1)
        for points in ([], ["/a", "/b"]):
            asked = remote_guest.DomainMountpointsArgs(dom, points, 0)
            assert (await handlers.fs_freeze(session, asked)).filesystems == 3
        assert (await handlers.fs_thaw(session, remote_guest.DomainMountpointsArgs(dom, [], 0))).filesystems == 3
        with pytest.raises(errors.ArgumentUnsupported, match="mountpoints"):
            await handlers.fs_thaw(session, remote_guest.DomainMountpointsArgs(dom, ["/a"], 0))
        await handlers.fs_trim(session, remote_guest.DomainFSTrimArgs(dom, None, 4096, 0))
        with pytest.raises(errors.OperationFailed, match="something else"):
            await handlers.get_fs_info(session, shapes.DomainFlagsArgs(dom, 0))
    assert heard == [
        ("guest-fsfreeze-freeze", {}),
        ("guest-fsfreeze-freeze-list", {"mountpoints": ["/a", "/b"]}),
        ("guest-fsfreeze-thaw", {}),
        ("guest-fstrim", {"minimum": 4096}),
        ("guest-get-fsinfo", {}),
    ]


async def test_the_agent_is_asked_for_processors(tmp_path: Path) -> None:
    told = {"return": [{"logical-id": 0, "online": True}, {"logical-id": 1, "online": False}]}
    async with guest(tmp_path) as (domain, path, _), agent_at(path, lambda asked: told):
        handlers = QueryHandlers(cast(Service, SimpleNamespace(domain=lambda dom: domain)))
        session, dom = cast(Session, None), types.Domain("g", domain.uuid.bytes, 1)
        for flags, number in ((VcpuFlag.GUEST, 1), (VcpuFlag.GUEST | VcpuFlag.MAXIMUM, 2)):
            asked = shapes.DomainFlagsArgs(dom, int(flags))
            assert (await handlers.get_vcpus_flags(session, asked)).num == number
