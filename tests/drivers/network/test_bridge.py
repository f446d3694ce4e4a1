"""Whether the host has a network of the same addresses already."""

from __future__ import annotations

import pytest

from culvert.domain.network import text
from culvert.drivers.network import bridge
from culvert.ground import errors
from tests.domain.network.test_text import DEFAULT

ROUTES = """\
Iface	Destination	Gateway 	Flags	RefCnt	Use	Metric	Mask		MTU	Window	IRTT
eth0	00000000	0101A8C0	0003	0	0	0	00000000	0	0	0
{}	{}	00000000	0001	0	0	0	{}	0	0	0
"""


def test_a_network_that_is_there_already() -> None:
    with pytest.raises(errors.InternalError, match="Network is already in use by interface eth1"):
        bridge.check_routes(text.parse(DEFAULT), ROUTES.format("eth1", "007AA8C0", "00FFFFFF"))


@pytest.mark.parametrize(("where", "mask"), [("007BA8C0", "00FFFFFF"), ("0000A8C0", "0000FFFF")])
def test_another_network(where: str, mask: str) -> None:
    there = ROUTES.format("eth1", where, mask)
    bridge.check_routes(text.parse(DEFAULT), there)
    assert there.count("eth1") == 1
