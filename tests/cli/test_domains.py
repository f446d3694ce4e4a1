"""The other commands against a daemon that only pretends."""

from __future__ import annotations

from pathlib import Path

import pytest

from culvert.cli import domains
from culvert.client import job
from culvert.ground import errors
from culvert.protocol.constants_state import DomainState
from tests.client.fake import FakeDaemon, Guest, serving


async def test_list(tmp_path: Path) -> None:
    daemon = FakeDaemon(tmp_path / "s")
    daemon.add(Guest("b"))
    daemon.add(Guest("a", DomainState.SHUTOFF, 4))
    async with serving(daemon):
        active = await domains.listing(daemon.uri, everything=False)
        assert [(line.id, line.name, line.state) for line in active] == [(7, "b", "running (booted)")]
        found = await domains.listing(daemon.uri, everything=True)
        assert [(line.id, line.name, line.state) for line in found] == [
            (None, "a", "shut off (migrated)"),
            (7, "b", "running (booted)"),
        ]


async def test_define_start_destroy(tmp_path: Path) -> None:
    daemon = FakeDaemon(tmp_path / "s")
    async with serving(daemon):
        words = await domains.define(daemon.uri, "<domain><name>g</name></domain>")
        assert words == f"domain 'g' is defined at {daemon.uri}, shut off"
        assert await domains.start(daemon.uri, "g") == f"guest 'g' is running (booted) at {daemon.uri}"
        with pytest.raises(errors.RemoteError, match="already running"):
            await domains.start(daemon.uri, "g")
        assert await domains.destroy(daemon.uri, "g") == f"domain 'g' is shut off (destroyed) at {daemon.uri}"


async def test_bad_xml_is_refused_with_the_daemons_words(tmp_path: Path) -> None:
    async with serving(FakeDaemon(tmp_path / "s")) as daemon:
        with pytest.raises(errors.RemoteError, match="missing domain name"):
            await domains.define(daemon.uri, "<domain/>")


async def test_job(tmp_path: Path) -> None:
    async with serving(FakeDaemon(tmp_path / "s")) as daemon:
        daemon.add(Guest("g"))
        none = await domains.job(daemon.uri, "g", completed=False)
        assert (none.type, none.values, none.progress) == ("none", {}, None)
        daemon.performing.set()
        found = await domains.job(daemon.uri, "g", completed=False)
        assert found.type == "unbounded"
        assert found.values["data_total"] == 1000
        assert found.progress is not None
        assert found.progress.percent == 60.0
        assert (await domains.job(daemon.uri, "g", completed=True)).type == "completed"


async def test_abort_waits_and_tells_where_the_guest_is(tmp_path: Path) -> None:
    async with serving(FakeDaemon(tmp_path / "s")) as daemon:
        daemon.add(Guest("g"))
        daemon.performing.set()
        assert await domains.abort(daemon.uri, "g") == f"guest 'g' is running (booted) at {daemon.uri}"
        with pytest.raises(errors.RemoteError, match="no job is active"):
            await domains.abort(daemon.uri, "g")


async def test_an_abort_that_does_not_end_says_what_to_look_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job, "ABORT_SECONDS", 0.05)
    async with serving(FakeDaemon(tmp_path / "s", deaf=True)) as daemon:
        daemon.add(Guest("g"))
        daemon.performing.set()
        with pytest.raises(errors.OperationTimeout, match=r"not ended within 0\.05 s; see 'culvert job g'$"):
            await domains.abort(daemon.uri, "g")
