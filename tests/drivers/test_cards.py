"""Network cards: announced by a real QEMU when asked for; addresses that the guest changes, by a monitor that answers
as QEMU does."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from culvert.drivers.qemu import cards
from culvert.drivers.qemu.domain import Domain
from culvert.drivers.qemu.run import Run
from culvert.ground import errors
from culvert.protocol.constants_state import EventID
from tests.drivers.support import domain_xml, eventually, needs_qemu, running_driver

FIRST, SECOND = "52:54:00:12:34:56", "52:54:00:12:34:57"
RARP = bytes.fromhex("8035")  # RFC 903


def frame(mac: str) -> bytes:
    """The head of what announces a card: to all, from it."""
    return b"\xff" * 6 + bytes.fromhex(mac.replace(":", "")) + RARP


def card(mac: str) -> str:
    return f"<interface type='user'><mac address='{mac}'/><model type='virtio'/></interface>"


@needs_qemu
async def test_one_card_and_all(folder: Path) -> None:
    heard = [folder / f"{number}.pcap" for number in range(2)]
    async with running_driver(folder) as driver:
        domain = await driver.create_xml(domain_xml("g", card(FIRST) + card(SECOND)))
        for number, file in enumerate(heard):
            dump = {"qom-type": "filter-dump", "id": f"f{number}", "netdev": f"hostnet{number}", "file": str(file)}
            await domain.monitor.execute("object-add", dump)
        await cards.announce(domain, SECOND.upper(), {"initial": 1, "max": 2, "rounds": 3, "step": 1})
        await eventually(lambda: heard[1].read_bytes().count(frame(SECOND)) == 3)
        assert frame(FIRST) not in heard[0].read_bytes()
        await cards.announce(domain, None, {"initial": 0})
        await eventually(lambda: frame(FIRST) in heard[0].read_bytes())
        with pytest.raises(errors.InvalidArgument, match="'vnet7' is not a known interface"):
            await cards.announce(domain, "vnet7", {})


@needs_qemu
async def test_who_does_not_run_is_not_announced(folder: Path) -> None:
    async with running_driver(folder) as driver:
        domain = await driver.define_xml(domain_xml("g", card(FIRST)))
        with pytest.raises(errors.OperationInvalid, match="not running"):
            await cards.announce(domain, None, {})


class Qemu:
    """Answers what the guest has made of its cards; ``main``: the address now."""

    def __init__(self) -> None:
        self.main = FIRST

    async def execute(self, command: str, arguments: Mapping[str, Any]) -> list[dict[str, Any]]:
        assert (command, arguments) == ("query-rx-filter", {"name": "net0"})
        return [{"name": "net0", "main-mac": self.main, "promiscuous": False}] if self.main else []


async def test_an_address_that_the_guest_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cards, "LOOK_AFTER", 0.0)
    told: list[tuple[EventID, object]] = []
    qemu = Qemu()
    devices = SimpleNamespace(interfaces=(SimpleNamespace(alias="net0", mac=FIRST, target=None),))
    run = SimpleNamespace(definition=SimpleNamespace(devices=devices), addresses={})
    domain = SimpleNamespace(run=run, monitor=qemu, tell=lambda kind, **members: told.append((kind, members)))

    async def changed(alias: str = "net0") -> None:
        await cards.filter_changed(cast(Domain, domain), cast(Run, run), alias)

    await changed()  # what it is to receive, not what it is called
    assert told == []
    qemu.main = SECOND
    await changed()
    await changed()
    qemu.main = FIRST.upper()
    await changed()
    qemu.main = ""
    await changed()  # the card has left in between
    await changed("net7")
    assert told == [
        (EventID.NIC_MAC_CHANGE, {"alias": "net0", "old_mac": FIRST, "new_mac": SECOND}),
        (EventID.NIC_MAC_CHANGE, {"alias": "net0", "old_mac": SECOND, "new_mac": FIRST.upper()}),
    ]
    domain.run = SimpleNamespace()
    qemu.main = SECOND
    await changed()  # of a guest that has ended
    assert len(told) == 2
