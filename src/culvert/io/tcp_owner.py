"""Whose a connection over this host's loopback is: the kernel keeps the user of each TCP socket.

Source: proc_net_tcp.txt of the kernel's documentation: the second column is the address of the socket itself, the
third the one it is connected to, the eighth the user's number; addresses are words of the host's byte order.
"""

from __future__ import annotations

import ipaddress
import socket
import struct
from pathlib import Path

TABLES = {socket.AF_INET: Path("/proc/net/tcp"), socket.AF_INET6: Path("/proc/net/tcp6")}
LOCAL, REMOTE, UID = 1, 2, 7


def uid_of(peer: tuple[str, int], here: tuple[str, int]) -> int | None:
    """The user whose socket at ``peer`` is connected to ours at ``here``; None for one that is not of this host, or
    is gone. Reads a file of the kernel's: not for the event loop. Raises ``OSError`` where that cannot be read."""
    wanted = (written(peer), written(here))
    family = socket.AF_INET6 if ":" in peer[0] else socket.AF_INET
    for line in TABLES[family].read_text("ascii").splitlines()[1:]:
        columns = line.split()
        if (columns[LOCAL], columns[REMOTE]) == wanted:
            return int(columns[UID])
    return None


def is_loopback(host: str) -> bool:
    """Whether an address, as getpeername(2) says it, is this host's own."""
    return ipaddress.ip_address(host.partition("%")[0]).is_loopback


def written(where: tuple[str, int]) -> str:
    """An address as those tables have it."""
    packed = ipaddress.ip_address(where[0].partition("%")[0]).packed
    words = struct.unpack(f"={len(packed) // 4}I", packed)
    return "".join(f"{word:08X}" for word in words) + f":{where[1]:04X}"
