"""How much one server, and one connection, may hold. Every number bounds memory or descriptors."""

from __future__ import annotations

from dataclasses import dataclass

from culvert.ground.units import KiB, MiB
from culvert.wire.packet import PACKET_MAX

STREAM_QUEUE = 4 * MiB
"""Received bytes of one stream that may wait for its consumer; then the connection is not read any more. Large enough
that a consumer's short pause does not stall the calls beside it, small enough for many streams."""

PACKET_OVERHEAD = 128
"""What one waiting packet costs beside its bytes, so that millions of tiny packets count for what they take."""

WRITE_HIGH = 1 * MiB
"""Bytes waiting for the socket above which producers wait; a few of the largest customary packets."""
WRITE_LOW = 256 * KiB
"""Bytes waiting for the socket below which producers go on."""


@dataclass(frozen=True, slots=True)
class RpcLimits:
    """Limits of a server and of each of its connections; sizes in bytes, times in seconds.

    Beyond ``clients`` connections, or ``anonymous`` ones by one transport (nothing asked yet, or not authenticated),
    new ones wait in the kernel's queue. An anonymous connection has ``greeting`` seconds to ask something, and its
    packets are no longer than ``anonymous_packet``.
    """

    clients: int = 5000  # max_clients of libvirtd.conf
    anonymous: int = 20  # max_anonymous_clients
    greeting: float = 30.0
    handshake: float = 10.0
    """What a TLS client has to prove who it is, before its ``greeting`` begins."""
    anonymous_packet: int = 1 * MiB
    packet: int = PACKET_MAX
    calls_in_flight: int = 32
    """Calls of one connection being served; with that many it is not read any more (max_client_requests is 5 in
    libvirtd, where stream packets count too)."""
    streams: int = 64
    """Streams open on one connection; one more is refused."""
    stream_queue: int = STREAM_QUEUE
    connection_queue: int = 4 * STREAM_QUEUE
    """The same for all streams of one connection together."""
    event_backlog: int = 4 * MiB
    """Bytes waiting for the socket of a client that does not read, above which an event disconnects it."""
    stream_grace: float = 5.0
    """What a stream's body has to end by itself when its stream is aborted or its connection lost."""
    stream_end: float = 600.0
    """What a client may take to say finish or abort when the server has ended its side of a stream, counted from the
    last byte it has sent. Long, for it may still have to read what waits in the socket."""
    farewell: float = 2.0
    """How long a closing connection may take to send what is still to be sent."""
