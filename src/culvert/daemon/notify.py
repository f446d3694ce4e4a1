"""Telling systemd how the daemon is (sd_notify(3)): a datagram to the socket it names, if it names one."""

from __future__ import annotations

import os
import socket


def notify(state: str) -> None:
    """Send ``state`` ("READY=1", "STOPPING=1"); a service manager that cannot be reached is not our trouble."""
    path = os.environ.get("NOTIFY_SOCKET", "")
    if not path:
        return
    address = "\0" + path[1:] if path.startswith("@") else path
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
        sock.setblocking(False)
        try:
            sock.sendto(state.encode(), address)
        except OSError:
            return
