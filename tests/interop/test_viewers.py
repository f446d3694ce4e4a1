"""Who looks at a guest by SPICE follows it between culvert and a stock libvirtd, both ways."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support import viewer
from tests.support.interop import IDLE, Pair, running
from tests.support.wait import wait_for

pytestmark = viewer.here


@pytest.mark.parametrize("which", ["culvert", "stock"])
def test_it_is_at_the_destination_when_the_guest_is(hosts: Pair, folder: Path, which: str) -> None:
    source = hosts.culvert if which == "culvert" else hosts.stock
    with running(source, folder, "looked-at", IDLE, machine="q35", members={"devices": viewer.SCREEN}) as guest:
        before = viewer.port_of(source, guest.name)
        with viewer.viewer(before, folder) as said:
            wait_for(lambda: f"opened {before}" in said.read_text(), "the viewer to be connected")
            hosts.move(guest, source)
            after = viewer.port_of(hosts.other(source), guest.name)
            wait_for(lambda: viewer.has_followed(said, before, after), "the viewer to have followed")
