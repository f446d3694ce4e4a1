"""One part of a network changed: every section, both ways, and what is refused."""

from __future__ import annotations

import pytest

from culvert.domain.network import text
from culvert.domain.network.update import Command, Request, Section, changed
from culvert.ground import errors
from tests.domain.network.test_text import EVERYTHING

ADD, FIRST, DELETE, MODIFY = Command.ADD_LAST, Command.ADD_FIRST, Command.DELETE, Command.MODIFY
NETWORK = text.parse(EVERYTHING)

HOST = "<host mac='52:54:00:00:00:09' name='nine' ip='192.168.1.9'/>"
RANGE = "<range start='192.168.1.20' end='192.168.1.29'/>"
NAMED = "<host ip='192.168.1.9'><hostname>nine</hostname></host>"
TXT = "<txt name='more' value='words'/>"
SRV = "<srv service='ldap' protocol='tcp' target='x'/>"
GROUP = "<portgroup name='third'/>"


@pytest.mark.parametrize(
    ("section", "markup", "shown"),
    [
        (Section.IP_DHCP_HOST, HOST, HOST),
        (Section.IP_DHCP_RANGE, RANGE, RANGE),
        (Section.DNS_HOST, NAMED, "<host ip='192.168.1.9'>\n      <hostname>nine"),
        (Section.DNS_TXT, TXT, TXT),
        (Section.DNS_SRV, SRV, SRV),
        (Section.PORTGROUP, GROUP, "<portgroup name='third'>"),
    ],
)
def test_what_is_added_can_be_deleted(section: Section, markup: str, shown: str) -> None:
    for command in (ADD, FIRST):
        more = changed(NETWORK, Request(command, section, -1, markup))
        assert shown in text.format(more)
        with pytest.raises(errors.OperationInvalid):
            changed(more, Request(ADD, section, -1, markup))
        assert changed(more, Request(DELETE, section, -1, markup)) == NETWORK
    with pytest.raises(errors.OperationInvalid):
        changed(NETWORK, Request(DELETE, section, -1, markup))


def test_a_device_of_a_pool() -> None:
    pool = text.parse("<network><name>p</name><forward mode='vepa'><interface dev='eth0'/></forward></network>")
    more = changed(pool, Request(FIRST, Section.FORWARD_INTERFACE, -1, "<interface dev='eth9'/>"))
    assert more.devices == ("eth9", "eth0")
    assert "<forward dev='eth9' mode='vepa'>" in text.format(more)
    assert changed(more, Request(DELETE, Section.FORWARD_INTERFACE, -1, "<interface dev='eth9'/>")) == pool


def test_a_host_is_replaced_by_any_of_what_it_has() -> None:
    for said in ("mac='52:54:00:aa:bb:cc' name='x'", "mac='52:54:00:00:00:01' name='eight'"):
        markup = f"<host {said} ip='192.168.1.7'/>"
        after = changed(NETWORK, Request(MODIFY, Section.IP_DHCP_HOST, 0, markup))
        assert after.ips[0].dhcp is not None
        assert [one.ip for one in after.ips[0].dhcp.hosts] == ["192.168.1.7"]


def test_a_host_is_found_by_a_part_of_it() -> None:
    after = changed(NETWORK, Request(DELETE, Section.IP_DHCP_HOST, -1, "<host name='eight'/>"))
    assert after.ips[0].dhcp is not None
    assert after.ips[0].dhcp.hosts == ()


@pytest.mark.parametrize(
    ("request_", "kind", "said"),
    [
        ((ADD, Section.BRIDGE, "<bridge/>"), errors.OperationUnsupported, "can't update 'bridge' section"),
        ((ADD, Section.FORWARD_PF, "<pf/>"), errors.OperationUnsupported, "can't update 'forward pf' section"),
        ((ADD, 99, "<x/>"), errors.OperationUnsupported, "can't update unrecognized section of network"),
        ((9, Section.DNS_TXT, TXT), errors.OperationUnsupported, "unrecognized network update command code 9"),
        ((MODIFY, Section.IP_DHCP_RANGE, RANGE), errors.OperationUnsupported, "dhcp ranges cannot be modified"),
        ((MODIFY, Section.DNS_TXT, TXT), errors.OperationUnsupported, "DNS TXT records cannot be modified"),
        ((ADD, Section.DNS_TXT, SRV), errors.XMLError, "unexpected element <srv>, expecting <txt>"),
        ((ADD, Section.IP_DHCP_HOST, "<host ip='192.168.1.9'/>"), errors.XMLError, "must have mac or name"),
        (
            (MODIFY, Section.IP_DHCP_HOST, HOST),
            *(
                errors.OperationInvalid,
                "couldn't locate an existing dhcp host entry with \"mac='52:54:00:",
            ),
        ),
        (
            (ADD, Section.PORTGROUP, "<portgroup name='x' default='yes'/>"),
            *(errors.OperationInvalid, "a different portgroup entry in network 'all' is already set as the default"),
        ),
    ],
)
def test_refusals(request_: tuple[int, int, str], kind: type[errors.RequestError], said: str) -> None:
    command, section, markup = request_
    with pytest.raises(kind) as caught:
        changed(NETWORK, Request(command, section, -1, markup))
    assert said in caught.value.message


def test_an_address_that_is_not_there() -> None:
    with pytest.raises(errors.OperationInvalid, match="no <ip> element found at index 7"):
        changed(NETWORK, Request(ADD, Section.IP_DHCP_HOST, 7, HOST))
