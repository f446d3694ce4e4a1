"""The standard-stream route: QEMU's socket ⇄ a generic data stream of the RPC connection.

::

    source       QEMU ──▶ socket pair ──▶ outward() ──▶ stream.send ──▶ … one port …
    destination  … ──▶ stream.recv ──▶ inward() ──▶ socket pair ──▶ QEMU (incoming)

One direction each, no queue of its own: a read is passed on before the next one is made, so a slow reader at either
end is felt by QEMU as a full socket. The stream is anything with ``send`` or ``recv``.
"""

from __future__ import annotations

import asyncio
import socket
from dataclasses import dataclass
from typing import Protocol

from culvert.ground.units import MiB

# 256 KiB less the header and the first members of libvirt's old payload limit (VIR_NET_MESSAGE_LEGACY_PAYLOAD_MAX,
# rpc/virnetprotocol.x): the largest packet that every libvirt accepts, and one read fills one packet.
CHUNK = 262_120
# Room in the socket pair, so that QEMU writes and the relay reads in turns of a chunk and not of a page.
SOCKET_BUFFER = 1 * MiB


class Sink(Protocol):
    """Where outward bytes go. ``send`` returns when the next bytes may come (back-pressure)."""

    async def send(self, data: bytes) -> None: ...


class ByteSource(Protocol):
    """Where inward bytes come from. ``recv`` answers ``b""`` at a well-announced end and raises at any other."""

    async def recv(self) -> bytes: ...


@dataclass(slots=True)
class Meter:
    """Payload bytes moved so far; read by job info while the relay runs."""

    bytes: int = 0


def channel() -> tuple[socket.socket, socket.socket]:
    """A connected pair of UNIX stream sockets: (ours, non-blocking; QEMU's, to be handed over by descriptor)."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    for end in (ours, theirs):
        for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
            end.setsockopt(socket.SOL_SOCKET, option, SOCKET_BUFFER)
    return ours, theirs


def release(ours: socket.socket) -> None:
    """Close our end, also while a relay waits for it: that one is its caller's to cancel. Idempotent.

    The loop keeps what it watches by number; it must forget this one before the kernel gives it to another file,
    which would not be watched then.
    """
    if (number := ours.fileno()) >= 0:
        loop = asyncio.get_running_loop()
        loop.remove_reader(number)
        loop.remove_writer(number)
    ours.close()


async def outward(ours: socket.socket, sink: Sink, meter: Meter) -> None:
    """Pass on everything QEMU writes until it closes its end.

    Raises what ``sink.send`` raises. Returning says only that QEMU closed: whether the migration is complete is for
    QEMU's monitor to say, so the caller finishes or aborts the stream.
    """
    loop = asyncio.get_running_loop()
    while data := await loop.sock_recv(ours, CHUNK):
        await sink.send(data)
        meter.bytes += len(data)


async def inward(source: ByteSource, ours: socket.socket, meter: Meter) -> None:
    """Pass everything from ``source`` to QEMU; at its end QEMU reads end of file.

    Raises what ``source.recv`` raises, and ``OSError`` when QEMU no longer reads.
    """
    loop = asyncio.get_running_loop()
    while data := await source.recv():
        await loop.sock_sendall(ours, data)
        meter.bytes += len(data)
    ours.shutdown(socket.SHUT_WR)
