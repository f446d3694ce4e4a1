"""What an agent tells of its network cards, as it travels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from culvert.daemon.handlers.guest import file_systems, interfaces, sound
from culvert.domain import parse
from culvert.domain.disk import Disk
from culvert.protocol import remote_guest
from culvert.xdr.codec import XdrError


def test_cards_with_and_without_addresses() -> None:
    told: list[Mapping[str, Any]] = [
        {"name": "lo", "ip-addresses": [{"ip-address-type": "ipv4", "ip-address": "127.0.0.1", "prefix": 8}]},
        {"name": "eth0", "hardware-address": "52:54:00:00:00:01"},
        {
            "name": "eth1",
            "ip-addresses": [
                {"ip-address-type": "ipv6", "ip-address": "fe80::1", "prefix": 64},
                {"ip-address-type": "ipx", "ip-address": "?", "prefix": 1},
            ],
        },
    ]
    assert list(interfaces(told)) == [
        remote_guest.GuestInterface("lo", None, [remote_guest.IPAddress(0, "127.0.0.1", 8)]),
        remote_guest.GuestInterface("eth0", "52:54:00:00:00:01", []),
        remote_guest.GuestInterface("eth1", None, [remote_guest.IPAddress(1, "fe80::1", 64)]),
    ]


def test_what_a_guest_says_may_not_go_into_an_answer() -> None:
    sound(remote_guest.TimeRet(1, 2))
    with pytest.raises(XdrError):
        sound(remote_guest.TimeRet(2**70, 0))
    with pytest.raises(XdrError):
        sound(remote_guest.GuestHostnameRet("x" * (8 << 20)))


def _disks(text: str) -> tuple[Disk, ...]:
    os = "<os><type>hvm</type></os>"
    domain = f"<domain type='qemu'><name>g</name><memory>1</memory>{os}<devices>{text}</devices></domain>"
    return parse.parse(domain).devices.disks


def test_file_systems_and_the_disks_below_them() -> None:
    disks = _disks(DISKS)
    pci = {"domain": 0, "bus": 2, "slot": 1, "function": 0}
    nowhere = {"domain": -1, "bus": -1, "slot": -1, "function": -1}
    told: list[Mapping[str, Any]] = [
        {
            "name": "vda1",
            "mountpoint": "/",
            "type": "ext4",
            "disk": [
                {"bus-type": "virtio", "pci-controller": pci, "bus": 0, "target": 0, "unit": 0},
                {"bus-type": "sata", "pci-controller": nowhere, "bus": 0, "target": 0, "unit": 3},
                {"bus-type": "usb", "pci-controller": nowhere, "bus": 0, "target": 0, "unit": 3},
            ],
        },
        {"name": "tmp", "mountpoint": "/tmp", "type": "tmpfs"},
    ]
    assert list(file_systems(told, disks)) == [
        remote_guest.FSInfo("/", "vda1", "ext4", ["vda", "sda"]),
        remote_guest.FSInfo("/tmp", "tmp", "tmpfs", []),
    ]


DISKS = """
<disk type='file'><source file='/a'/><target dev='vda' bus='virtio'/>
  <address type='pci' domain='0x0000' bus='0x02' slot='0x01' function='0x0'/></disk>
<disk type='file'><source file='/b'/><target dev='sda' bus='sata'/>
  <address type='drive' controller='0' bus='0' target='0' unit='3'/></disk>
"""
