"""Migration without a tunnel out of this host, towards a libvirtd that a client has asked for it.

QEMU opens no port: the daemon connects to where the other side's QEMU listens, and hands that connection over. Nobody
is asked who he is on such a connection, as in libvirt's own native migration; a tunnel is what asks. The other
direction is ``bare``.

Source: qemu/qemu_migration.c, qemuMigrationSrcPerformNative.
"""

from __future__ import annotations

import asyncio
import re
import socket

from culvert.ground.uri import ConnectionURI
from culvert.io import connector
from culvert.migration.options.parameters import PORT_MAX

# libvirt writes "tcp:HOST:PORT" where the user named none, else what he typed (qemuMigrationDstPrepareDirect).
_ADDRESS = re.compile(r"tcp:(?://)?(?P<host>\[[0-9A-Fa-f:.]+\]|[^\[\]/?:]+):(?P<port>[0-9]{1,5})/?")


def is_address(migration_uri: str) -> bool:
    """Whether ``migration_uri`` is a QEMU's own address, not a daemon's."""
    found = _ADDRESS.fullmatch(migration_uri)
    return found is not None and 0 < int(found["port"]) <= PORT_MAX


async def connect(migration_uri: str, timeout: float) -> socket.socket:
    """A connection to the QEMU that listens at ``migration_uri``, which ``is_address``. Raises as ``connector``."""
    found = _ADDRESS.fullmatch(migration_uri)
    assert found is not None, "asked with is_address before"
    where = ConnectionURI("qemu", "tcp", host=found["host"].strip("[]"), port=int(found["port"]))
    taken: list[asyncio.BaseTransport] = []

    class Taken(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            taken.append(transport)

    await connector.connect(where, Taken, timeout=timeout)
    (transport,) = taken
    assert isinstance(transport, asyncio.Transport)
    transport.pause_reading()
    sock: socket.socket = transport.get_extra_info("socket").dup()
    transport.abort()  # only asyncio's copy: the connection lives on in ours
    return sock
