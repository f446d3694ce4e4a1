"""Statistics of a domain of which something is missing."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import pytest

from culvert.domain.interface import InterfaceTarget
from culvert.drivers.qemu import domstats, network
from culvert.drivers.qemu.domain import Domain
from culvert.drivers.qemu.network import Counters, Traffic
from culvert.ground import errors
from culvert.protocol.constants_flag import StatsGroup


async def test_a_card_whose_device_has_gone_hides_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    def traffic(name: str) -> Traffic:
        if name == "gone0":
            raise errors.SystemCallError("cannot read the counters of network device 'gone0'")
        return Traffic(received=Counters(1, 2, 3, 4), sent=Counters(5, 6, 7, 8))

    monkeypatch.setattr(network, "traffic", traffic)
    cards = [SimpleNamespace(target=InterfaceTarget(dev=name)) for name in ("gone0", "tap1")]
    definition = SimpleNamespace(devices=SimpleNamespace(interfaces=cards))
    domain = cast(Domain, SimpleNamespace(name="g", is_active=True, definition=definition))
    told = {one.field: one.value[1] for one in await domstats.collect(domain, StatsGroup.INTERFACE)}
    assert told["net.count"] == 2
    assert told["net.0.name"] == "gone0"
    assert told["net.1.rx.bytes"] == 1
    assert told["net.1.tx.drop"] == 8
    assert "net.0.rx.bytes" not in told
