"""VNC and SPICE servers: a free port for each that wants one, from 5900 on.

QEMU binds the port itself, so between our look and its bind another process may take it. Ports of guests of this
daemon are never tried twice; against all others a start that failed for this reason is repeated with the next port.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import time
from collections.abc import Collection, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

from culvert.domain.definition import DomainDef
from culvert.domain.display import Graphics
from culvert.drivers.qemu.domain import Domain
from culvert.drivers.qemu.host import QemuHost
from culvert.drivers.qemu.run import Run
from culvert.ground import errors

FIRST_PORT = 5900  # VNC display 0
FIRST_WEBSOCKET = 5700  # remote_websocket_port_min of libvirt's qemu.conf
LAST_PORT = 65535
LOOKUP_TIMEOUT = 10.0  # seconds for the name of an address to listen on; glibc asks two servers twice in that time
DEFAULT_LISTEN = "127.0.0.1"  # vnc_listen of libvirt's qemu.conf

RELOADS = (0, 1)  # VIR_DOMAIN_GRAPHICS_RELOAD_TYPE_ANY, _VNC

_FD_NAME = "graphicsfd"

# What QEMU prints when somebody was faster (util/qemu-sockets.c).
# SPICE says no more than that (ui/spice-core.c).
TAKEN = ("Address already in use", "Failed to find an available port", "failed to initialize spice server")


def wants_port(graphics: Graphics) -> bool:
    """Chosen at start, not by the XML; a server that listens nowhere has no port."""
    if graphics.kind != "address" or not graphics.is_server:
        return False
    missing = (-1,) if graphics.is_spice else (None, -1)
    return bool(graphics.autoport) or graphics.port in missing or graphics.tls_port == -1


@dataclass(frozen=True, slots=True)
class ListenPlace:
    """What a listen address leads to: a family of addresses, and the socket address but for its port."""

    name: str
    family: socket.AddressFamily
    address: tuple[Any, ...]


Places = Mapping[str, ListenPlace]
"""By listen address."""


async def places(definition: DomainDef) -> Places:
    """Where the VNC servers that want a port are to listen.

    Raises ``errors.OperationFailed`` for a name that nobody knows, and ``errors.OperationTimeout`` when the resolver
    does not answer within ``LOOKUP_TIMEOUT`` seconds.
    """
    wanted = {
        one.address or DEFAULT_LISTEN
        for one in definition.devices.graphics
        if wants_port(one) or (one.websocket == -1 and one.kind == "address")
    }
    return {name: await _look_up(name) for name in sorted(wanted)}


async def _look_up(name: str) -> ListenPlace:
    try:
        async with asyncio.timeout(LOOKUP_TIMEOUT):
            found = await asyncio.get_running_loop().getaddrinfo(name, FIRST_PORT, type=socket.SOCK_STREAM)
    except TimeoutError as err:
        raise errors.OperationTimeout(
            f"cannot listen for VNC on '{name}': the name is not resolved within {LOOKUP_TIMEOUT:g} s"
        ) from err
    except (OSError, UnicodeError) as err:  # a name that no resolver would be asked for
        raise errors.OperationFailed(f"cannot listen for VNC on '{name}': {_words(err)}") from err
    family, _, _, _, address = found[0]
    return ListenPlace(name, socket.AddressFamily(family), address)


def is_free(place: ListenPlace, port: int) -> bool:
    """Could be bound a moment ago. Raises ``errors.OperationFailed`` for an address that this host does not have."""
    try:
        with closing(socket.socket(place.family, socket.SOCK_STREAM)) as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.bind((place.address[0], port, *place.address[2:]))
    except OSError as err:
        if err.errno in (errno.EADDRINUSE, errno.EACCES):
            return False
        raise errors.OperationFailed(f"cannot listen for VNC on '{place.name}': {_words(err)}") from err
    return True


def _words(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


def resolve(
    definition: DomainDef, found: Places, reserved: Collection[int], first: int = FIRST_PORT, *, tls: bool = False
) -> DomainDef:
    """``definition`` with a port for every server, none of them in ``reserved`` or below ``first`` by choice.

    ``found`` are the ``places`` of the same servers. ``tls``: a SPICE server can have a second, encrypted port. At
    once, so that a port is reserved before the next start looks. Raises ``errors.ConfigUnsupported`` for an encrypted
    one that there cannot be.
    """
    taken = set(reserved)
    resolved = []
    for graphics in definition.devices.graphics:
        if wants_port(graphics):
            graphics = _with_ports(graphics, found, taken, first, tls=tls)  # noqa: PLW2901  # it takes its place
        if graphics.websocket == -1 and graphics.kind == "address":
            web = _next(found[graphics.address or DEFAULT_LISTEN], taken, FIRST_WEBSOCKET)
            taken.add(web)
            graphics = replace(graphics, websocket=web)  # noqa: PLW2901  # likewise
        resolved.append(graphics)
    return replace(definition, devices=replace(definition.devices, graphics=tuple(resolved)))


def _with_ports(graphics: Graphics, found: Places, taken: set[int], first: int, *, tls: bool) -> Graphics:
    """Source: qemu/qemu_process.c, qemuProcessSPICEAllocatePorts."""
    place = found[graphics.address or DEFAULT_LISTEN]
    modes = {graphics.default_mode or "any", *(channel.mode for channel in graphics.channels)}
    auto = bool(graphics.autoport)
    secure = graphics.is_spice and (
        graphics.tls_port == -1 or (auto and ("secure" in modes or (tls and "any" in modes)))
    )
    if secure and not tls:
        raise errors.ConfigUnsupported(
            "unsupported configuration: Auto allocation of spice TLS port requested but spice TLS is disabled here"
            " (spice_tls in culvertd.toml)"
        )
    plain = not graphics.is_spice or graphics.port == -1 or (auto and (graphics.default_mode != "secure"))
    for name in [*(("port",) if plain else ()), *(("tls_port",) if secure else ())]:
        port = _next(place, taken, first)
        taken.add(port)
        graphics = replace(graphics, port=port) if name == "port" else replace(graphics, tls_port=port)
    return graphics if graphics.is_spice else replace(graphics, autoport=True)


def _next(place: ListenPlace, taken: Collection[int], first: int) -> int:
    for port in range(first, LAST_PORT + 1):
        if port not in taken and is_free(place, port):
            return port
    raise errors.OperationFailed(f"no port is free for VNC on '{place.name}' from {first} on")


def ports(definition: DomainDef) -> set[int]:
    """The ports of a definition whose ports are resolved."""
    return {
        port
        for graphics in definition.devices.graphics
        for port in (graphics.port, graphics.tls_port, graphics.websocket)
        if port is not None and port > 0
    }


def reserve(host: QemuHost, run: Run) -> None:
    """The ports of ``run`` are not tried for another guest until it is over."""
    run.vnc_ports = frozenset(ports(run.definition))
    host.vnc_ports |= run.vnc_ports


async def set_password(domain: Domain, screen: Graphics) -> None:
    """Who connects is asked for the password of ``screen`` from now on, for as long as it is valid.

    Raises QEMU's refusal for a server that asks for none. Source: qemuDomainChangeGraphicsPasswords of libvirt 9.0.
    """
    connected = {} if screen.connected is None else {"connected": screen.connected}
    told = {"protocol": screen.type, "password": screen.passwd, **connected}
    await domain.monitor.execute("set_password", told)
    ends = screen.passwd_ends
    until = "never" if ends is None else "now" if ends <= time.time() else str(ends)
    await domain.monitor.execute("expire_password", {"protocol": screen.type, "time": until})


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
            protocol = run.definition.devices.graphics[number].type
            await domain.monitor.execute(
                "add_client", {"protocol": protocol, "fdname": _FD_NAME, "skipauth": skip_auth}
            )
    except BaseException:
        ours.close()
        raise
    return ours


async def reload_certificates(domain: Domain, kind: int) -> None:
    """Have the screen read its certificates again; ``kind`` 0 any, 1 VNC (virDomainGraphicsReloadType).

    Raises ``errors.ArgumentUnsupported`` for another kind, ``errors.OperationInvalid`` for a guest without a VNC
    screen, and QEMU's refusal for a screen that is not encrypted.
    """
    if kind not in RELOADS:
        raise errors.ArgumentUnsupported(f"unknown graphics type {kind} to reload")
    if not domain.require_active().definition.devices.graphics:
        raise errors.OperationInvalid(f"domain '{domain.name}' has no VNC screen that could reload certificates")
    await domain.monitor.execute("display-reload", {"type": "vnc", "tls-certs": True})
