"""VNC servers: a free port for each that wants one, from 5900 on.

QEMU binds the port itself, so between our look and its bind another process may take it. Ports of guests of this
daemon are never tried twice; against all others a start that failed for this reason is repeated with the next port.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Collection
from contextlib import closing
from dataclasses import replace

from culvert.domain.definition import DomainDef
from culvert.domain.display import Graphics
from culvert.drivers.qemu.domain import Domain
from culvert.drivers.qemu.host import QemuHost
from culvert.drivers.qemu.run import Run
from culvert.ground import errors

FIRST_PORT = 5900  # VNC display 0
LAST_PORT = 65535
DEFAULT_LISTEN = "127.0.0.1"  # vnc_listen of libvirt's qemu.conf

_FD_NAME = "graphicsfd"

# What QEMU prints when somebody was faster (util/qemu-sockets.c).
TAKEN = ("Address already in use", "Failed to find an available port")


def wants_port(graphics: Graphics) -> bool:
    """Chosen at start, not by the XML; a server that listens nowhere has no port."""
    nowhere = any(listen.type == "none" for listen in graphics.listens)
    return not nowhere and (bool(graphics.autoport) or graphics.port in (None, -1))


def is_free(address: str, port: int) -> bool:
    """Could be bound a moment ago. Raises ``errors.OperationFailed`` for an address that this host does not have."""
    try:
        family, kind, protocol, _, place = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM)[0]
        with closing(socket.socket(family, kind, protocol)) as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.bind(place)
    except OSError as err:
        if err.errno in (errno.EADDRINUSE, errno.EACCES):
            return False
        raise errors.OperationFailed(f"cannot listen for VNC on '{address}': {err.strerror}") from err
    return True


def resolve(definition: DomainDef, reserved: Collection[int], first: int = FIRST_PORT) -> DomainDef:
    """``definition`` with a port for every VNC server, none of them in ``reserved`` or below ``first`` by choice."""
    taken = set(reserved)
    resolved = []
    for graphics in definition.devices.graphics:
        if wants_port(graphics):
            port = _next(graphics.address or DEFAULT_LISTEN, taken, first)
            taken.add(port)
            resolved.append(replace(graphics, port=port, autoport=True))
        else:
            resolved.append(graphics)
    return replace(definition, devices=replace(definition.devices, graphics=tuple(resolved)))


def _next(address: str, taken: Collection[int], first: int) -> int:
    for port in range(first, LAST_PORT + 1):
        if port not in taken and is_free(address, port):
            return port
    raise errors.OperationFailed(f"no port is free for VNC on '{address}' from {first} on")


def ports(definition: DomainDef) -> set[int]:
    """The ports of a definition whose ports are resolved."""
    return {
        graphics.port for graphics in definition.devices.graphics if graphics.port is not None and graphics.port > 0
    }


def reserve(host: QemuHost, run: Run) -> None:
    """The ports of ``run`` are not tried for another guest until it is over."""
    run.vnc_ports = frozenset(ports(run.definition))
    host.vnc_ports |= run.vnc_ports


async def connect(domain: Domain, number: int, *, skip_auth: bool) -> socket.socket:
    """A connection to VNC server ``number`` of a running domain, for the caller; ``skip_auth``: without password.

    QEMU takes the other end by its monitor (QMP ``add_client``). Raises ``errors.OperationInvalid`` when it does not
    run, ``errors.InvalidArgument`` when it has no such server, and what the monitor raises.
    """
    run = domain.require_active()
    if not 0 <= number < len(run.definition.devices.graphics):
        raise errors.InvalidArgument(f"domain '{domain.name}': there is no graphics backend with index {number}")
    ours, theirs = socket.socketpair()
    try:
        with theirs:
            await domain.monitor.send_fd(_FD_NAME, theirs.fileno())
            await domain.monitor.execute("add_client", {"protocol": "vnc", "fdname": _FD_NAME, "skipauth": skip_auth})
    except BaseException:
        ours.close()
        raise
    return ours
