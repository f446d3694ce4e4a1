"""A guest that has arrived is announced to the network when it runs, by a real QEMU."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from culvert.drivers.qemu import migration as qemu
from culvert.drivers.qemu import power
from culvert.migration.destination import starting
from culvert.protocol.constants_state import DomainState, RunningReason
from tests.drivers.support import domain_xml, eventually, needs_qemu, running_driver

pytestmark = needs_qemu
MAC = "52:54:00:12:34:56"
CARD = f"<interface type='user'><mac address='{MAC}'/><model type='virtio'/></interface>"
RARP = bytes.fromhex("ffffffffffff") + bytes.fromhex(MAC.replace(":", "")) + bytes.fromhex("8035")  # RFC 903


async def test_the_network_hears_of_a_guest_that_runs(folder: Path) -> None:
    heard = folder / "heard.pcap"
    async with running_driver(folder) as driver:
        domain = await driver.create_xml(domain_xml("g", CARD), paused=True)
        dump = {"qom-type": "filter-dump", "id": "heard", "netdev": "hostnet0", "file": str(heard)}
        await domain.monitor.execute("object-add", dump)
        started = await starting.start(domain, RunningReason.MIGRATED)
        assert (domain.state, domain.reason) == (DomainState.RUNNING, RunningReason.MIGRATED)
        assert started.start > 0
        assert started.announce > 0
        await eventually(lambda: RARP in heard.read_bytes())


async def test_who_has_no_card_is_not_announced(folder: Path) -> None:
    async with running_driver(folder) as driver:
        domain = await driver.create_xml(domain_xml("g"), paused=True)
        started = await starting.start(domain, RunningReason.MIGRATED)
        assert domain.state is DomainState.RUNNING
        assert started.announce < started.start
        assert started.told().ran >= 0


async def test_an_announcement_that_fails_harms_nobody(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with running_driver(folder) as driver:
        domain = await driver.create_xml(domain_xml("g", CARD))
        await power.destroy(domain)
        with caplog.at_level(logging.WARNING):
            await qemu.announce(domain)
    assert "domain 'g': its arrival could not be announced to the network" in caplog.text
