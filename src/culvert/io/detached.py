"""A connection that is RPC's no longer, for whoever carries on with it."""

from __future__ import annotations

import socket
import ssl
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TlsSession:
    """The TLS state of a connection: ``tls`` reads what the network sent from ``incoming``, and writes what is to be
    sent into ``outgoing``. Not safe for two threads at one time."""

    tls: ssl.SSLObject
    incoming: ssl.MemoryBIO
    outgoing: ssl.MemoryBIO


@dataclass(frozen=True, slots=True)
class Detached:
    """``sock`` is non-blocking and the receiver's to close. ``session`` is ``None`` on a clear-text connection.

    ``leftover`` is what had been received (and decrypted) behind the last packet of RPC: the first bytes to be read.
    """

    sock: socket.socket
    session: TlsSession | None = None
    leftover: bytes = b""
