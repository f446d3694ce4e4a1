"""What passt is told."""

from __future__ import annotations

from culvert.domain.interface import Interface
from culvert.domain.parse import parse_device
from culvert.drivers.qemu import passt


def test_addresses_and_ports() -> None:
    """The words are libvirt 9.0's for its own definition (tests/qemuxml2argvdata/net-user-passt)."""
    card = parse_device(
        """<interface type='user'>
          <source dev='eth42'/>
          <ip address='172.17.2.0' family='ipv4' prefix='24'/>
          <ip address='2001:db8:ac10:fd01::feed' family='ipv6'/>
          <portForward proto='tcp' address='2001:db8:ac10:fd01::1:10'>
            <range start='22' to='2022'/>
            <range start='1000' end='1050'/>
            <range start='1020' exclude='yes'/>
            <range start='1030' end='1040' exclude='yes'/>
          </portForward>
          <portForward proto='udp' address='1.2.3.4' dev='eth0'>
            <range start='5000' end='5020' to='6000'/>
            <range start='5010' end='5015' exclude='yes'/>
          </portForward>
          <portForward proto='tcp'/>
          <backend type='passt' logFile='/var/log/loglaw.blog'/>
        </interface>"""
    )
    assert isinstance(card, Interface)
    assert passt.arguments(card, 7) == [
        *("--foreground", "--fd", "7", "--interface", "eth42", "--log-file", "/var/log/loglaw.blog"),
        *("--address", "172.17.2.0", "--netmask", "24", "--address", "2001:db8:ac10:fd01::feed"),
        *("--tcp-ports", "2001:db8:ac10:fd01::1:10/22:2022,1000-1050,~1020,~1030-1040"),
        *("--udp-ports", "1.2.3.4%eth0/5000-5020:6000-6020,~5010-5015", "--tcp-ports", "all"),
    ]
