"""Network devices of the host, asked of the kernel itself: what /sys shows may be another namespace's.

Source: netdevice(7). Every function may wait for the kernel's one lock of network settings: call it in a thread.
"""

from __future__ import annotations

import fcntl
import socket
import struct

from culvert.ground import errors

SIOCGIFHWADDR, SIOCGIFMTU = 0x8927, 0x8921
_REQUEST = "16s24s"
_VALUE = 16  # where in a request the answer stands


def exists(name: str) -> bool:
    """Whether there is such a device."""
    try:
        return socket.if_nametoindex(name) > 0
    except OSError:
        return False


def mac(name: str) -> str:
    """Its address; empty where there is no such device."""
    try:
        return _ask(name, SIOCGIFHWADDR)[_VALUE + 2 : _VALUE + 8].hex(":")
    except OSError:
        return ""


def mtu(name: str) -> int:
    """Raises ``errors.SystemCallError``."""
    try:
        return int(struct.unpack_from("i", _ask(name, SIOCGIFMTU), _VALUE)[0])
    except OSError as err:
        raise errors.SystemCallError(
            f"Cannot get interface MTU on '{name}': {err.strerror}", errno=err.errno
        ) from err


def _ask(name: str, what: int) -> bytes:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as control:
        return fcntl.ioctl(control, what, struct.pack(_REQUEST, name.encode(), b""))
