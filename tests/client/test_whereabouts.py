"""What a side says of the guest, and what it cannot say."""

from __future__ import annotations

from pathlib import Path

from culvert.client import target, whereabouts
from culvert.client.sighting import Place, Sighting
from culvert.protocol.constants_state import DomainState
from tests.client.fake import FakeDaemon, Guest, serving


async def test_look(tmp_path: Path) -> None:
    async with serving(FakeDaemon(tmp_path / "s", host="h")) as daemon, target.opened(daemon.uri) as client:
        guest = daemon.add(Guest("g"))
        assert await whereabouts.look(client, guest.dom.uuid) == Sighting(
            Place.ACTIVE, "running (booted)", running=True, host="h"
        )
        guest.state, guest.reason = DomainState.PAUSED, 2
        assert await whereabouts.look(client, guest.dom.uuid) == Sighting(
            Place.ACTIVE, "paused (migration)", host="h"
        )
        guest.state, guest.reason = DomainState.SHUTOFF, 3
        assert await whereabouts.look(client, guest.dom.uuid) == Sighting(
            Place.INACTIVE, "shut off (crashed)", host="h"
        )
        assert await whereabouts.look(client, bytes(16)) == Sighting(Place.ABSENT)


async def test_a_daemon_that_is_no_culvert_has_no_host_uuid(tmp_path: Path) -> None:
    async with serving(FakeDaemon(tmp_path / "s")) as daemon, target.opened(daemon.uri) as client:
        guest = daemon.add(Guest("g"))
        assert (await whereabouts.look(client, guest.dom.uuid)).host == ""


async def test_an_unreachable_side_is_unknown_and_says_why(tmp_path: Path) -> None:
    seen = await whereabouts.ask(str(FakeDaemon(tmp_path / "none").uri), bytes(16))
    assert seen.place is Place.UNKNOWN
    assert "unable to connect" in seen.why


async def test_a_uri_that_cannot_be_read_is_unknown() -> None:
    assert (await whereabouts.ask("nonsense", bytes(16))).place is Place.UNKNOWN


async def test_a_lost_connection_is_made_anew(tmp_path: Path) -> None:
    async with serving(FakeDaemon(tmp_path / "s")) as daemon:
        guest = daemon.add(Guest("g"))
        async with target.opened(daemon.uri) as client:
            await client.close()
            assert (await whereabouts.look_or_ask(client, guest.dom.uuid)).running
