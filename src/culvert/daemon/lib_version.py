"""Which libvirt culvert says it is (virConnectGetLibVersion): that of the clients of its own host.

Nothing in libvirt's library, in virsh or in libvirt-python decides by it; what is made with them does. Nova refuses a
daemon that is too old for it, virt-manager offers by it, and the capabilities have what the schema of that version
wants. So a host with culvert looks like one of its distribution with libvirtd: all that it is told by a client of its
own generation is known, and refused by name where it is not served.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from glob import iglob

Version = int
"""major × 1,000,000 + minor × 1,000 + micro."""

OLDEST: Version = 9_000_000
"""Whose behaviour this is, and what is said where no libvirt is installed: a client then asks for the least."""
NEWEST: Version = 12_009_000
"""Up to which every call and parameter is known by its name."""

CLUSTERS: Version = 10_001_000
"""From here on a host's CPUs are in clusters in its capabilities: the schemas of 11.3 and 12.9 want it, that of 9.0
forbids it."""

LIBRARIES = ("/usr/lib*/libvirt.so.0.*", "/usr/lib*/*/libvirt.so.0.*", "/usr/local/lib*/libvirt.so.0.*")
_NAME = re.compile(r"/libvirt\.so\.0\.(\d{1,6})\.(\d{1,3})$")  # .MAJOR × 1000 + MINOR.MICRO (meson.build of libvirt)


def installed() -> Version:
    """The newest libvirt whose library is on this host, within ``OLDEST`` and ``NEWEST``. Reads folders: in a
    thread."""
    return of_files(path for pattern in LIBRARIES for path in iglob(pattern))


def of_files(paths: Iterable[str]) -> Version:
    """The same by the library's files."""
    found = [int(match[1]) * 1_000 + int(match[2]) for path in paths if (match := _NAME.search(path))]
    return min(max([OLDEST, *found]), NEWEST)
