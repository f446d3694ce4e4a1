"""Network XML: what is taken, how it is written again, what is refused and how."""

from __future__ import annotations

from pathlib import Path

import pytest

from culvert.domain.network import check, text
from culvert.ground import errors
from culvert.ground.errors import ErrorCode

DEFAULT = """<network>
  <name>default</name>
  <bridge name='virbr0'/>
  <forward/>
  <ip address='192.168.122.1' netmask='255.255.255.0'>
    <dhcp>
      <range start='192.168.122.2' end='192.168.122.254'/>
    </dhcp>
  </ip>
</network>
"""

EVERYTHING = """<network connections='3' ipv6='yes'>
  <name>all</name>
  <uuid>aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee</uuid>
  <metadata>
    <a:note xmlns:a="urn:a">kept</a:note>
  </metadata>
  <forward dev='eth1' mode='nat'>
    <nat ipv6='yes'>
      <address start='1.2.3.4' end='1.2.3.8'/>
      <port start='500' end='1000'/>
    </nat>
    <interface dev='eth1'/>
  </forward>
  <bridge name='virbr7' stp='off' delay='2' macTableManager='kernel'/>
  <mtu size='9000'/>
  <mac address='52:54:00:17:3f:37'/>
  <domain name='example.com' localOnly='yes'/>
  <dns forwardPlainNames='no'>
    <forwarder domain='example.com' addr='8.8.8.8'/>
    <txt name='example' value='with blanks'/>
    <srv service='name' protocol='tcp' domain='a.b' target='host' port='1024' priority='10' weight='20'/>
    <host ip='192.168.1.7'>
      <hostname>seven</hostname>
      <hostname>sieben</hostname>
    </host>
  </dns>
  <bandwidth>
    <inbound average='1000' peak='5000' burst='1024'/>
    <outbound average='128'/>
  </bandwidth>
  <port isolated='yes'/>
  <ip address='192.168.1.1' prefix='24' localPtr='yes'>
    <tftp root='/srv/tftp'/>
    <dhcp>
      <range start='192.168.1.2' end='192.168.1.9'>
        <lease expiry='2' unit='hours'/>
      </range>
      <host mac='52:54:00:aa:bb:cc' name='eight' ip='192.168.1.8'>
        <lease expiry='0'/>
      </host>
      <bootp file='pxelinux.0' server='192.168.1.3'/>
    </dhcp>
  </ip>
  <ip family='ipv6' address='2001:db8::1' prefix='64'>
  </ip>
  <route address='10.0.0.0' prefix='8' gateway='192.168.1.3' metric='2'/>
  <portgroup name='slow' default='yes'>
    <bandwidth>
      <inbound average='10'/>
    </bandwidth>
  </portgroup>
  <portgroup name='fast'>
  </portgroup>
</network>
"""


def test_what_libvirt_says_where_nothing_is_said() -> None:
    assert text.format(text.parse(DEFAULT), connections=1) == (
        DEFAULT.replace("<network>", "<network connections='1'>")
        .replace("  <bridge name='virbr0'/>\n  <forward/>\n", "  <forward mode='nat'/>\n  <bridge name='virbr0'/>\n")
        .replace("<bridge name='virbr0'/>", "<bridge name='virbr0' stp='on' delay='0'/>")
    )


def test_the_one_that_is_offered() -> None:
    offered = Path(__file__).parents[3] / "packaging" / "default-network.xml"
    assert text.parse(offered.read_text()) == text.parse(DEFAULT.replace("  <bridge name='virbr0'/>\n", ""))


def test_everything_comes_back_as_it_was() -> None:
    read = text.parse(EVERYTHING)
    check.check(read)
    assert text.format(read, connections=3) == EVERYTHING
    assert text.parse(text.format(read)) == read


def test_the_device_that_packets_leave_by_is_told_twice() -> None:
    told = DEFAULT.replace("<forward/>", "<forward dev='eth0' mode='route'/>")
    assert "<forward dev='eth0' mode='route'>\n    <interface dev='eth0'/>" in text.format(text.parse(told))


def test_a_network_without_a_way_out_has_a_bridge_too() -> None:
    assert text.format(text.parse("<network><name>n</name></network>")) == (
        "<network>\n  <name>n</name>\n  <bridge stp='on' delay='0'/>\n</network>\n"
    )


IP = "<ip address='192.168.122.1' netmask='255.255.255.0'/>"
DHCP = IP.replace("/>", "><dhcp>{}</dhcp></ip>")
XML, UNSUPPORTED, INTERNAL = ErrorCode.XML_ERROR, ErrorCode.CONFIG_UNSUPPORTED, ErrorCode.INTERNAL_ERROR
DETAIL = ErrorCode.XML_DETAIL


REFUSALS: list[tuple[str, ErrorCode, str]] = [
    ("<forward mode='nat'/>", XML, "nat forwarding requested, but no IP address provided for network 'n'"),
    (
        f"<forward mode='open' dev='e'/>{IP}",
        XML,
        "forward dev not allowed for network 'n' with forward mode='open'",
    ),
    ("<forward mode='hostdev'/>", UNSUPPORTED, "/network/forward/@mode: 'hostdev' is not supported"),
    ("<forward mode='bridge'/><bridge stp='on'/>", XML, "bridge delay/stp/zone options only allowed in route"),
    ("<forward mode='bridge' dev='e'/><bridge name='b'/>", XML, "can specify a bridge name or a forward dev"),
    ("<forward mode='vepa' dev='e'/><bridge name='b'/>", XML, "bridge name not allowed in vepa mode"),
    ("<forward mode='bridge'/><bridge name='b'/><mtu size='9000'/>", XML, "mtu size only allowed in open, route"),
    ("<forward mode='bridge'/><bridge name='b'/>" + IP, UNSUPPORTED, "Unsupported <ip> element in network n"),
    (
        "<forward mode='bridge'/><bridge name='b'/><mac address='52:54:00:00:00:01'/>",
        *(UNSUPPORTED, "Unsupported <mac> element in network n with forward mode='bridge'"),
    ),
    (
        "<forward mode='route'><nat ipv6='yes'/></forward>" + IP,
        *(XML, "The <nat> element can only be used when <forward> 'mode' is 'nat' in network n"),
    ),
    ("<mac address='01:00:00:00:00:01'/>", XML, "Invalid multicast bridge mac address '01:00:00:00:00:01'"),
    ("<ip address='hello'/>", XML, "/network/ip/@address: 'hello' is not an address"),
    ("<ip address='2001:db8::1' prefix='64'/>", UNSUPPORTED, "no family specified for non-IPv4 address"),
    ("<ip family='ipv6' address='10.0.0.1'/>", UNSUPPORTED, "Family 'ipv6' specified for non-IPv6 address"),
    ("<ip address='10.0.0.1' netmask='255.0.0.0' prefix='8'/>", UNSUPPORTED, "both a prefix and a netmask"),
    ("<ip address='10.0.0.1' prefix='33'/>", UNSUPPORTED, "Invalid IPv4 prefix '33' in network 'n'"),
    (DHCP.format("<range start='10.0.0.1' end='10.0.0.2'/>"), INTERNAL, "is not entirely within network"),
    (
        DHCP.format("<range start='192.168.122.9' end='192.168.122.2'/>"),
        *(INTERNAL, "range 192.168.122.9 - 192.168.122.2 is reversed "),
    ),
    (DHCP.format("<range start='192.168.122.0' end='192.168.122.9'/>"), INTERNAL, "is the network address"),
    (DHCP.format("<range start='192.168.122.9' end='192.168.122.255'/>"), INTERNAL, "is the broadcast address"),
    (
        DHCP.format("<range start='192.168.122.2' end='192.168.122.9'><lease expiry='1'/></range>"),
        *(UNSUPPORTED, "The minimum lease time should be greater than 2 minutes"),
    ),
    (DHCP.format("<host ip='192.168.122.9'/>"), XML, "must have mac or name attribute"),
    (DHCP.format("<host name='a'/>"), XML, "Missing IP address in static host definition for network 'n'"),
    (
        DHCP.format("<host mac='03:00:00:00:00:01' ip='192.168.122.9'/>"),
        *(XML, "expected unicast mac address, found multicast"),
    ),
    (
        2 * DHCP.format("<range start='192.168.122.2' end='192.168.122.9'/>"),
        *(UNSUPPORTED, "Multiple IPv4 dhcp sections found"),
    ),
    ("<dns enable='no'><txt name='a' value='b'/></dns>", XML, "Extra data in disabled network 'n'"),
    ("<dns><forwarder/></dns>", XML, "must contain at least one of addr or domain"),
    ("<dns><host ip='10.0.0.1'/></dns>", DETAIL, "Missing hostname in network 'n' DNS HOST record"),
    ("<dns><srv service='a' protocol='tcp' port='1'/></dns>", DETAIL, "DNS SRV port attribute not permitted"),
    (IP + "<route address='10.0.0.0' prefix='8' gateway='10.0.0.1'/>", UNSUPPORTED, "unreachable static route"),
    (
        IP + "<route address='10.0.0.0' prefix='33' gateway='192.168.122.2'/>",
        XML,
        "n: Invalid prefix 33 specified in",
    ),
    (IP + "<route address='10.0.0.1' prefix='8' gateway='192.168.122.2'/>", XML, "is not a network address"),
    (
        IP + "<route address='2001:db8::' prefix='64' gateway='192.168.122.2'/>",
        XML,
        "n: No family specified for non-IPv4",
    ),
    (
        IP + "<route address='10.0.0.0' prefix='8' netmask='255.0.0.0' gateway='192.168.122.2'/>",
        *(XML, "n: Route definition cannot have both a prefix and a netmask"),
    ),
    ("<vlan><tag id='42'/></vlan>", UNSUPPORTED, "<vlan> element specified for network n, whose type doesn't"),
    ("<portgroup name='a'><vlan><tag id='1'/></vlan></portgroup>", UNSUPPORTED, "<vlan> element specified"),
    ("<portgroup name='a'/><portgroup name='a'/>", UNSUPPORTED, "multiple <portgroup> elements with the same"),
    (
        "<portgroup name='a' default='yes'/><portgroup name='b' default='yes'/>",
        *(UNSUPPORTED, "network 'n' has multiple default <portgroup> elements (a and b)"),
    ),
    ("<bandwidth><inbound/></bandwidth>", DETAIL, "Missing mandatory average or floor attributes"),
    ("<bandwidth><inbound average='1' floor='1'/></bandwidth>", UNSUPPORTED, "floor attribute is not supported"),
    ("<virtualport type='openvswitch'/>", UNSUPPORTED, "element /network/virtualport is not supported"),
    ("<bridge name='x\"; drop'/>", XML, "is not a name of a bridge"),
]
"""What is wrong in a network, how it is refused, and with what words."""


@pytest.mark.parametrize(("parts", "code", "said"), REFUSALS)
def test_refusals(parts: str, code: ErrorCode, said: str) -> None:
    with pytest.raises(errors.RequestError) as caught:
        check.check(text.parse(f"<network><name>n</name>{parts}</network>"))
    assert caught.value.code == code
    assert said in errors.triple(caught.value)[2]
