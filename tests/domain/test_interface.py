"""A card that is plugged in, and the same card as it is defined; may a guest move from one kind to another?"""

from __future__ import annotations

import re

import pytest

from culvert.domain import abi
from culvert.domain.defaults import complete
from culvert.domain.definition import DomainDef
from culvert.domain.format import format
from culvert.domain.parse import parse, parse_device
from culvert.ground import errors
from tests.domain import golden

PORT = "portid='11111111-2222-4333-8444-000000000009'"
MAC = "<mac address='52:54:00:00:00:01'/>"


def definition(card: str, *, live: bool = False) -> DomainDef:
    xml = golden.text("pc-minimal").replace("</devices>", f"{card}</devices>")
    return complete(parse(xml, live=live), golden.FACTS)


def card(kind: str, source: str, more: str = "") -> str:
    return f"<interface type='{kind}'>{MAC}<source {source}/>{more}<model type='virtio'/></interface>"


@pytest.mark.parametrize(
    ("live", "kept"),
    [
        (
            card("network", f"network='n' portgroup='p' {PORT} bridge='virbr0'", "<target dev='vnet3'/>"),
            card("network", "network='n' portgroup='p'"),
        ),
        (card("bridge", f"network='n' {PORT} bridge='br0'"), card("bridge", "bridge='br0'")),
        (card("direct", f"network='n' {PORT} dev='e0' mode='vepa'"), card("direct", "dev='e0' mode='vepa'")),
        (
            card("bridge", "bridge='br0'", "<target dev='tap3'/>"),
            card("bridge", "bridge='br0'", "<target dev='tap3'/>"),
        ),
    ],
)
def test_what_somebody_copies_from_a_running_guest(live: str, kept: str) -> None:
    """As libvirt 9.0 reads it: by its type (virDomainNetDefParseXML)."""
    assert definition(live) == definition(kept)
    assert parse_device(live) == parse_device(kept)


@pytest.mark.parametrize(("kind", "where"), [("network", "bridge='virbr0'"), ("bridge", "bridge='br0'")])
def test_what_travels_names_the_network(kind: str, where: str) -> None:
    """The other host has a bridge of its own for it."""
    running = definition(card(kind, f"network='n' portgroup='p' {PORT} {where}"), live=True)
    assert f"<source network='n' portgroup='p' {PORT} {where}/>" in format(running)
    travels = format(running, migratable=True)
    assert "<interface type='network'>" in travels
    assert "<source network='n' portgroup='p'/>" in travels


def test_what_is_defined_and_refused_at_the_start() -> None:
    """Shown as libvirt 9.0 shows it."""
    more = (
        "<vlan trunk='yes'><tag id='42'/><tag id='47' nativeMode='untagged'/></vlan>"
        "<virtualport type='openvswitch'><parameters profileid='p'/></virtualport>"
        "<filterref filter='f'><parameter name='IP' value='10.0.0.2'/><parameter name='A' value='1'/></filterref>"
        "<acpi index='7'/>"
    )
    made = definition(card("bridge", "bridge='br0'", more))
    shown = format(made)
    assert re.search(r"<parameters interfaceid='[0-9a-f-]{36}' profileid='p'/>", shown)
    assert "<parameter name='A' value='1'/>\n        <parameter name='IP' value='10.0.0.2'/>" in shown
    order = ("<vlan", "<virtualport", "<model type", "<filterref", "<acpi index")
    assert list(order) == sorted(order, key=shown.index)
    assert complete(parse(shown), golden.FACTS) == made


def test_a_guest_does_not_see_what_it_is_plugged_into() -> None:
    limits = "<bandwidth><inbound average='9'/></bandwidth><port isolated='yes'/>"
    on_network = definition(card("network", "network='n'", limits))
    for other in (card("bridge", "bridge='b'"), card("direct", "dev='e'"), card("network", "network='m'")):
        abi.check(on_network, definition(other))
        abi.check(definition(other), on_network)
    passt = f"<interface type='user'>{MAC}<model type='virtio'/><backend type='passt'/></interface>"
    abi.check(on_network, definition(passt))


@pytest.mark.parametrize(
    "other",
    [
        f"<interface type='user'>{MAC}<model type='virtio'/></interface>",
        card("network", "network='n'", "<driver queues='4'/>"),
        card("network", "network='n'", "<driver><host csum='off'/></driver>"),
        card("network", "network='n'", "<driver rx_queue_size='512'/>"),
        card("network", "network='n'", "<mtu size='1400'/>"),
    ],
)
def test_what_it_sees(other: str) -> None:
    with pytest.raises(errors.ConfigUnsupported, match="/domain/devices/interface"):
        abi.check(definition(card("network", "network='n'")), definition(other))
