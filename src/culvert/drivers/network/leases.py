"""Who has been given which address: dnsmasq's own file of leases, read.

A line is: when it ends (0: never), MAC address (IPv6: the card's number), address, name, client's id; ``*``: none.
Those of IPv6 come behind a line with the server's own id. Source: dnsmasq's lease.c.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from pathlib import Path

from culvert.domain.network.definition import NetworkDef
from culvert.ground import errors
from culvert.io import files

LIMIT = 4 << 20  # bytes of a file that are read
ETHERNET = "00:01"
# Kinds of a client's id that end with a MAC address, and how many bytes there are before it (RFC 8415, 11.2, 11.4).
WITH_MAC = {"00:01": 8, "00:03": 4}


@dataclass(frozen=True, slots=True)
class Lease:
    """``expiry`` in seconds since the epoch, 0: never. ``iaid``: of IPv6, the number of the guest's card."""

    expiry: int
    mac: str
    ip: str
    prefix: int
    hostname: str | None
    client_id: str | None
    iaid: str | None = None

    @property
    def version(self) -> int:
        return 6 if ":" in self.ip else 4


def read(path: Path) -> str:
    """The file's text, empty where there is none. Raises ``errors.SystemCallError``. It touches the disk."""
    try:
        with files.open_regular(path) as file:
            return file.read(LIMIT).decode(errors="replace")
    except FileNotFoundError:
        return ""
    except OSError as err:
        raise errors.SystemCallError(f"Unable to read leases file: {path}: {err.strerror}", errno=err.errno) from err


def parse(text: str, network: NetworkDef, now: float) -> list[Lease]:
    """The leases that have not run out. One of IPv6 whose card nobody knows is none, as in libvirt."""
    found = []
    for line in text.splitlines():
        parts = line.split()
        if len(parts) < 4 or not parts[0].isdigit():
            continue  # the server's own id, or a line that is just being written
        expiry, holder, ip, name = int(parts[0]), parts[1], parts[2], parts[3]
        client = parts[4] if len(parts) > 4 and parts[4] != "*" else None
        if (expiry and expiry < now) or not _is_address(ip):
            continue
        is_6 = ":" in ip
        mac = _mac_of(client) if is_6 else holder[-17:].lower()
        if mac is None:
            continue
        prefix = next((each.length for each in network.ips if (each.version == 6) == is_6), 0)
        hostname = None if name == "*" else name
        found.append(Lease(expiry, mac, ip, prefix, hostname, client, holder.lstrip("T") if is_6 else None))
    return found


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _mac_of(client: str | None) -> str | None:
    """The MAC address in a client's id of IPv6."""
    parts = (client or "").lower().split(":")
    before = WITH_MAC.get(":".join(parts[:2]))
    if before is None or ":".join(parts[2:4]) != ETHERNET or len(parts) != before + 6:
        return None
    return ":".join(parts[before:])
