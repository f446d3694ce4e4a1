"""What an agent tells of its network cards, as it travels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from culvert.daemon.handlers.guest import interfaces, sound
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
