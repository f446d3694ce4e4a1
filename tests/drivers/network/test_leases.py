"""dnsmasq's file of leases, read."""

from __future__ import annotations

from pathlib import Path

from culvert.domain.network import text
from culvert.drivers.network import leases
from culvert.drivers.network.leases import Lease
from tests.domain.network.test_text import EVERYTHING

NETWORK = text.parse(EVERYTHING)
FILE = """\
2000 52:54:00:11:22:33 192.168.1.2 guest 01:52:54:00:11:22:33
0 06-52:54:00:11:22:34 192.168.1.3 * *
999 52:54:00:11:22:35 192.168.1.4 gone *
duid 00:01:00:01:30:de:ad:be:52:54:00:00:00:01
2000 1122867 2001:db8::9 six 00:01:00:01:30:de:ad:be:52:54:00:11:22:33
2000 T1122868 2001:db8::a * 00:03:00:01:52:54:00:11:22:36
2000 7 2001:db8::b * 00:04:52:54:00:11:22:37:52:54:00:11:22:37
2000 nonsense here
2000 52:54:0"""


def test_leases() -> None:
    assert leases.parse(FILE, NETWORK, 1000) == [
        Lease(2000, "52:54:00:11:22:33", "192.168.1.2", 24, "guest", "01:52:54:00:11:22:33"),
        Lease(0, "52:54:00:11:22:34", "192.168.1.3", 24, None, None),
        Lease(
            *(2000, "52:54:00:11:22:33", "2001:db8::9", 64, "six"),
            *("00:01:00:01:30:de:ad:be:52:54:00:11:22:33", "1122867"),
        ),
        Lease(2000, "52:54:00:11:22:36", "2001:db8::a", 64, None, "00:03:00:01:52:54:00:11:22:36", "1122868"),
    ]


def test_no_file_is_no_lease(tmp_path: Path) -> None:
    assert leases.read(tmp_path / "absent") == ""
