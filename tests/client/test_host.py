"""What can be asked of a host, beside migrating."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from culvert import client
from culvert.client import Host, Place, Progress, WaitingGuest, job
from culvert.ground import errors
from culvert.protocol.constants_state import DomainState
from tests.client.fake import RECORD, FakeDaemon, Guest, serving


@pytest.fixture
async def daemon(tmp_path: Path) -> AsyncIterator[FakeDaemon]:
    async with serving(FakeDaemon(tmp_path / "s", host="h")) as daemon:
        daemon.add(Guest("g"))
        yield daemon


@pytest.fixture
async def host(daemon: FakeDaemon) -> AsyncIterator[Host]:
    async with client.connect(str(daemon.uri)) as host:
        assert host.uri == daemon.uri
        yield host


async def test_the_daemon_meant_without_a_uri(daemon: FakeDaemon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(client.ENVIRONMENT_URI, str(daemon.uri))
    async with client.connect() as host:
        assert host.uri == daemon.uri


async def test_no_daemon(tmp_path: Path) -> None:
    with pytest.raises(client.Unreachable):
        async with client.connect(FakeDaemon(tmp_path / "none").uri):
            pass
    with pytest.raises(errors.InvalidArgument):
        async with client.connect("nonsense"):
            pass


async def test_domains(daemon: FakeDaemon, host: Host) -> None:
    off = daemon.add(Guest("a", DomainState.SHUTOFF, 4))
    daemon.waiting = [(off.dom.uuid, "a", "waiting for b"), (uuid4().bytes, "gone", "waiting for c")]
    found = [(each.id, each.name, each.state, each.waits_for) for each in await host.domains(everything=True)]
    assert found == [
        (None, "a", "shut off (migrated)", "waiting for b"),
        (7, "g", "running (booted)", ""),
        (None, "gone", "no state", "waiting for c"),
    ]


async def test_where(daemon: FakeDaemon, host: Host) -> None:
    seen = await host.where("g")
    assert (seen.place, seen.state, seen.host) == (Place.ACTIVE, "running (booted)", "h")
    assert (await host.where("x")).place is Place.ABSENT
    daemon.sessions[0].disconnect("the test wants it")
    assert (await host.where("g")).place is Place.UNKNOWN


async def test_define_start_destroy(host: Host) -> None:
    assert (await host.define("<domain><name>n</name></domain>")).seen.place is Place.INACTIVE
    started = await host.start("n")
    assert (started.name, started.seen.running) == ("n", True)
    assert str(UUID(started.uuid)) == started.uuid
    with pytest.raises(errors.RemoteError, match="already running"):
        await host.start("n")
    assert (await host.destroy("n")).seen.state == "shut off (destroyed)"


async def test_job(daemon: FakeDaemon, host: Host) -> None:
    assert await host.job("g") == client.JobInfo("none", {}, None)
    daemon.performing.set()
    found = await host.job("g")
    assert (found.type, found.running, found.values["data_total"]) == ("unbounded", True, 1000)
    assert found.progress is not None
    last = await host.job("g", completed=True)
    assert (last.type, last.running) == ("completed", False)


async def test_a_domain_that_does_not_run_is_in_no_job(host: Host) -> None:
    await host.define("<domain><name>n</name></domain>")
    assert await host.job("n") == client.JobInfo("none", {}, None)


async def test_a_job_that_somebody_else_has_begun_is_watched(
    daemon: FakeDaemon, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job, "WATCH_SECONDS", 0.01)
    assert [look async for look in host.watch("g")] == []
    daemon.performing.set()
    looks: list[Progress] = []
    async for look in host.watch("g"):
        looks.append(look)
        if len(looks) == 2:
            del daemon.guests[daemon.guest_called("g").dom.uuid]  # it moves
    assert [look.phase for look in looks] == ["perform", "perform"]
    with pytest.raises(errors.RemoteError, match="no domain"):
        await anext(host.watch("g"))


async def test_an_abort_that_does_not_come_to_an_end(
    daemon: FakeDaemon, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job, "ABORT_SECONDS", 0.05)
    daemon.deaf = True
    daemon.performing.set()
    with pytest.raises(client.JobGoesOn, match="has not ended within"):
        await host.abort("g")


async def test_history(host: Host) -> None:
    (found,) = await host.history("g", 5)
    assert (found.id, found.step, found.over, found.lines) == (7, "stayed", True, ())
    whole = await host.record(7)
    assert [(line.step, line.text) for line in whole.lines] == [("begin3", ""), (None, "auto: go on")]
    assert whole.as_json() == RECORD
    with pytest.raises(errors.RemoteError, match="no record 8"):
        await host.record(8)


def test_a_record_that_cannot_be_read() -> None:
    for text in ("", "[]", "{}", '{"lines": 5}'):
        with pytest.raises(errors.RpcError, match="cannot be read"):
            client.Record.from_json(text)


async def test_a_guest_that_waits_is_resolved(daemon: FakeDaemon, host: Host) -> None:
    assert await host.waiting() == []
    uuid = uuid4()
    daemon.waiting = [(uuid.bytes, "g", "waiting for b")]
    guest = WaitingGuest("g", uuid, "waiting for b")
    assert await host.waiting() == [guest]
    assert await host.find_waiting("g") == await host.find_waiting(str(uuid)) == guest
    with pytest.raises(errors.OperationInvalid, match="'x' waits"):
        await host.find_waiting("x")
    await host.resolve(guest, here=True)
    assert daemon.resolved == [("g", 1)]


async def test_a_daemon_that_is_no_culvert_has_nobody_waiting(tmp_path: Path) -> None:
    async with serving(FakeDaemon(tmp_path / "s")) as daemon, client.connect(daemon.uri) as host:
        assert await host.waiting() == []
