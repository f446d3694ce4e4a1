"""The rules of a network, as text; what the kernel makes of them is seen in tests/system."""

from __future__ import annotations

import pytest

from culvert.domain.network import text
from culvert.drivers.network import firewall
from tests.domain.network.test_text import DEFAULT, EVERYTHING

NAT = """\
add table inet culvert_network_virbr0
delete table inet culvert_network_virbr0
table inet culvert_network_virbr0 {
  chain forward {
    type filter hook forward priority filter; policy accept;
    iifname "virbr0" oifname "virbr0" counter accept
    oifname "virbr0" ip daddr 192.168.122.0/24 ct state related,established counter accept
    oifname "virbr0" meta nfproto ipv4 counter reject
    ip saddr 192.168.122.0/24 iifname "virbr0" counter accept
    iifname "virbr0" meta nfproto ipv4 counter reject
  }
  chain postrouting {
    type nat hook postrouting priority srcnat; policy accept;
    ip saddr 192.168.122.0/24 ip daddr 224.0.0.0/24 counter return
    ip saddr 192.168.122.0/24 ip daddr 255.255.255.255/32 counter return
    meta l4proto tcp ip saddr 192.168.122.0/24 ip daddr != 192.168.122.0/24 counter masquerade to :1024-65535
    meta l4proto udp ip saddr 192.168.122.0/24 ip daddr != 192.168.122.0/24 counter masquerade to :1024-65535
    ip saddr 192.168.122.0/24 ip daddr != 192.168.122.0/24 counter masquerade
  }
}
"""


def test_nat() -> None:
    assert firewall.rules(text.parse(DEFAULT)) == NAT


def test_the_ports_are_told_of_one_that_is_active() -> None:
    assert "<port start='1024' end='65535'/>" in text.format(firewall.settled(text.parse(DEFAULT)))
    for told in (EVERYTHING, DEFAULT.replace("<forward/>", "<forward mode='route'/>")):
        assert firewall.settled(text.parse(told)) == text.parse(told)


@pytest.mark.parametrize(
    ("mode", "there", "not_there"),
    [
        ("route", 'oifname "virbr0" ip daddr 192.168.122.0/24 counter accept', "masquerade"),
        (None, 'oifname "virbr0" meta nfproto ipv4 counter reject', "daddr"),
    ],
)
def test_other_ways(mode: str | None, there: str, not_there: str) -> None:
    told = DEFAULT.replace("<forward/>", f"<forward mode='{mode}'/>" if mode else "")
    rules = firewall.rules(text.parse(told))
    assert there in rules
    assert not_there not in rules


def test_addresses_ports_and_a_device_of_its_own() -> None:
    rules = firewall.rules(text.parse(EVERYTHING))
    assert 'iifname "eth1" oifname "virbr7" ip daddr 192.168.1.0/24 ct state' in rules
    assert 'oifname "eth1" counter snat ip to 1.2.3.4-1.2.3.8:500-1000' in rules
    assert 'ip6 daddr != 2001:db8::/64 oifname "eth1" counter masquerade to :500-1000' in rules
    assert "meta nfproto ipv6 counter reject" in rules


def test_no_two_bridges_have_one_table() -> None:
    names = {firewall.table(name) for name in ("a-b", "a_b", "a.b", "a.2db")}
    assert len(names) == 4
    assert firewall.table("a-b") == "culvert_network_a.2db"
