"""A device for the next start and the same one for the running guest: one verdict, but for what is listed here."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

import pytest

from culvert.domain import defaults, validate
from culvert.domain.definition import DomainDef
from culvert.domain.format import format as format_xml
from culvert.domain.parse import parse, parse_device
from culvert.drivers.qemu import hotplug
from culvert.ground import errors
from tests.domain import golden

DEFINITIONS = (
    *("pc-minimal", "pc-everything", "pc-options", "pc-bridge-and-tap"),
    *("q35-minimal", "q35-everything", "q35-boot-order", "q35-virt-install"),
)


def disk(target: str = "dev='vdx' bus='virtio'", inside: str = "", attributes: str = "") -> str:
    return f"<disk type='file' {attributes}><source file='/d'/><target {target}/>{inside}</disk>"


def card(inside: str = "", kind: str = "user") -> str:
    return f"<interface type='{kind}'><model type='virtio'/>{inside}</interface>"


def pci(place: str) -> str:
    return f"<address type='pci' domain='0x0000' {place}/>"


DEVICES = {
    "disk": disk(),
    "disk on sata": disk("dev='sdx' bus='sata'"),
    "disk on ide": disk("dev='hdb' bus='ide'"),
    "disk on usb": disk("dev='sdy' bus='usb'"),
    "disk that is taken": disk("dev='vda' bus='virtio'"),
    "cdrom on virtio": disk(attributes="device='cdrom'"),
    "disk without a source": "<disk type='file'><target dev='vdx' bus='virtio'/></disk>",
    "disk to boot from": disk(inside="<boot order='9'/>"),
    "disk to boot from first": disk(inside="<boot order='1'/>"),
    "disk with a name": disk(inside="<alias name='ua-mine'/>"),
    "disk with the name of a serial port": disk(inside="<alias name='ua-taken'/>"),
    "disk at a place of its own": disk(inside=pci("bus='0x00' slot='0x1c' function='0x0'")),
    "disk at a place that is taken": disk(inside=pci("bus='0x00' slot='0x01' function='0x0'")),
    "disk on no bus": disk(inside=pci("bus='0x70' slot='0x01' function='0x0'")),
    "disk at a drive's place": disk(inside="<address type='drive' controller='0' bus='0' target='0' unit='0'/>"),
    "disk at a serial port's place": disk(inside="<address type='virtio-serial' controller='0' bus='0' port='1'/>"),
    "shareable image": disk(inside="<shareable/><driver type='qcow2'/>"),
    "native without direct": disk(inside="<driver io='native'/>"),
    "disk with a tray": disk("dev='vdx' bus='virtio' tray='open'"),
    "disk with queues": disk(inside="<driver queues='2'/>"),
    "read-only disk": disk(inside="<readonly/>"),
    "card": card(),
    "card to boot from": card("<boot order='9'/>"),
    "card to boot from first": card("<boot order='1'/>"),
    "card with the name of a serial port": card("<alias name='ua-taken'/>"),
    "card without a bridge": card(kind="bridge"),
    "user card with a bridge": card("<source bridge='br0'/>"),
    "card with a multicast address": card("<mac address='01:00:5e:00:00:01'/>"),
    "user card with an MTU": card("<mtu size='1500'/>"),
    "card at a place that is taken": card(pci("bus='0x00' slot='0x01' function='0x0'")),
    "card at a drive's place": card("<address type='drive' controller='0' bus='0' target='0' unit='0'/>"),
    "old card": "<interface type='user'><model type='rtl8139'/></interface>",
}

LIVE_ONLY = (
    "cannot be hotplugged",  # QEMU has no hot-plug on these buses
    "No more available PCI slots",  # a running machine grows no buses
)
"""What is refused of a running guest and not of its next start."""


def settled(name: str) -> DomainDef:
    """A definition whose first serial port, if it has one, has a name of the user's."""
    definition = golden.complete(name)
    serials = definition.devices.serials
    if serials:
        serials = (replace(serials[0], alias="ua-taken"), *serials[1:])
    return replace(definition, devices=replace(definition.devices, serials=serials))


def completed(definition: DomainDef) -> DomainDef:
    done = defaults.complete(definition, replace(golden.FACTS, uuid=definition.uuid or golden.UUID))
    validate.check(done)
    return done


def refusal(attempt: Callable[[], object]) -> str:
    """What it is refused with, empty for nothing."""
    try:
        attempt()
    except errors.RequestError as err:
        return f"{type(err).__name__}: {err.message}"
    return ""


def plugged(name: str, what: str) -> DomainDef:
    return hotplug.grown(golden.running(settled(name)), hotplug.completed(parse_device(DEVICES[what])))[0]


@pytest.mark.parametrize("name", DEFINITIONS)
@pytest.mark.parametrize("what", DEVICES)
def test_a_start_and_a_running_guest_have_one_verdict(name: str, what: str) -> None:
    device = DEVICES[what]
    cold = refusal(lambda: completed(hotplug.added(settled(name), hotplug.completed(parse_device(device)))))
    hot = refusal(lambda: plugged(name, what))
    if hot and not cold:
        assert any(text in hot for text in LIVE_ONLY), hot
    else:
        assert bool(hot) == bool(cold), f"a start says {cold!r}, a running guest {hot!r}"


@pytest.mark.parametrize("name", DEFINITIONS)
def test_what_has_been_plugged_in_can_arrive_elsewhere(name: str) -> None:
    """The other end of a migration, and a restore, complete the definition anew."""
    taken = [what for what in DEVICES if not refusal(lambda what=what: plugged(name, what))]  # type: ignore[misc]
    assert taken
    for what in taken:
        grown = plugged(name, what)
        there = completed(parse(format_xml(grown, migratable=True, secure=True)))
        for kind in ("disks", "interfaces"):
            ours = {one.address for one in getattr(grown.devices, kind)}
            assert {one.address for one in getattr(there.devices, kind)} == ours, what


def test_what_was_wrong_before_is_not_held_against_a_device() -> None:
    odd = golden.running(replace(golden.complete("pc-minimal"), on_reboot="preserve"))
    with pytest.raises(errors.ConfigUnsupported, match="on_poweroff and on_reboot"):
        validate.check(odd)
    grown, new = hotplug.grown(odd, hotplug.completed(parse_device(DEVICES["disk"])))
    assert new in grown.devices.disks
    assert re.match("virtio-disk", new.alias or "")
