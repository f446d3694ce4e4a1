"""What dnsmasq is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from culvert.domain.network import text
from culvert.drivers.network import dnsmasq
from culvert.ground import errors
from tests.domain.network.test_text import DEFAULT, EVERYTHING

FILES = dnsmasq.ServerFiles(Path("/S"), Path("/R"), "virbr0")


def _lines(xml: str, user: str | None = None) -> list[str]:
    return [line for line in dnsmasq.configuration(text.parse(xml), FILES, user).splitlines() if line[:1] != "#"]


def test_the_default_network() -> None:
    assert _lines(DEFAULT, "dnsmasq") == [
        *("strict-order", "user=dnsmasq", "pid-file=/R/virbr0.pid", "except-interface=lo", "bind-dynamic"),
        *("interface=virbr0", "dhcp-range=192.168.122.2,192.168.122.254,255.255.255.0", "dhcp-no-override"),
        *("dhcp-authoritative", "dhcp-lease-max=253", "dhcp-hostsfile=/S/virbr0.hostsfile"),
        *("dhcp-leasefile=/S/virbr0.leases", "addn-hosts=/S/virbr0.addnhosts"),
    ]


def test_everything() -> None:
    lines = _lines(EVERYTHING)
    for line in (
        *("server=/example.com/8.8.8.8", "local=/example.com/", "domain=example.com", "expand-hosts"),
        *("local=/1.168.192.in-addr.arpa/", "domain-needed", "local=//", "txt-record=example,with blanks"),
        *("srv-host=_name._tcp.a.b,host,1024,10,20", "enable-tftp", "tftp-root=/srv/tftp"),
        *("dhcp-range=192.168.1.2,192.168.1.9,255.255.255.0,2h", "dhcp-boot=pxelinux.0,,192.168.1.3"),
        *("dhcp-option=option:mtu,9000", "dhcp-range=2001:db8::1,ra-only"),
    ):
        assert line in lines
    assert dnsmasq.hosts(text.parse(EVERYTHING)) == "52:54:00:aa:bb:cc,192.168.1.8,eight,infinite\n"
    assert dnsmasq.names(text.parse(EVERYTHING)) == "192.168.1.7\tseven\tsieben\t\n"


def test_nobody_is_told_of_a_way_out_that_is_not_there() -> None:
    lines = _lines(DEFAULT.replace("<forward/>", ""))
    assert [line for line in lines if line in ("dhcp-option=3", "no-resolv", "ra-param=*,0,0")] != []
    assert "dhcp-option=3" not in _lines(DEFAULT)


def test_no_names() -> None:
    lines = _lines(DEFAULT.replace("<forward/>", "<forward/><dns enable='no'/>"))
    assert "port=0" in lines
    assert not any(line.startswith("addn-hosts") for line in lines)


@pytest.mark.parametrize(
    ("xml", "needed"),
    [
        (DEFAULT, True),
        ("<network><name>n</name></network>", False),
        ("<network><name>n</name><ip address='10.0.0.1' prefix='24'/></network>", True),
        ("<network><name>n</name><dns enable='no'/><ip address='10.0.0.1' prefix='24'/></network>", False),
    ],
)
def test_is_needed(xml: str, needed: bool) -> None:
    assert dnsmasq.is_needed(text.parse(xml)) is needed


def test_a_part_of_an_address_has_no_domain() -> None:
    odd = DEFAULT.replace("netmask='255.255.255.0'", "prefix='25' localPtr='yes'").replace("122.254", "122.9")
    with pytest.raises(errors.ConfigUnsupported, match="PTR domain for IPv4 network with prefix 25"):
        _lines(odd)
