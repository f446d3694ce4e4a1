"""A client of libvirt's protocol that costs next to nothing: bytes made beforehand, a blocking socket.

What a call takes is then the daemon's time, not the client's.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from culvert.protocol import remote, remote_connect, remote_list
from culvert.protocol.procedure import Procedure
from culvert.protocol.types import Domain
from culvert.wire.packet import HEADER_SIZE, LAYOUT, Header, PacketStatus, PacketType
from culvert.xdr.struct import Void, decode, encode

A = TypeVar("A")
R = TypeVar("R")
PROGRAM = remote.PROGRAM
TIMEOUT = 60.0


class CallFailed(AssertionError):
    """The daemon has refused a call."""


class Caller:
    """A connection to the daemon's UNIX socket at ``path``, authenticated and open; a context manager."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(TIMEOUT)
        self._socket.connect(str(path))
        self._serial = 0
        self.call(remote_connect.AUTH_LIST, Void())
        self.call(remote_connect.CONNECT_OPEN, remote_connect.ConnectOpenArgs("qemu:///system", 0))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def packet(self, row: Procedure[Any, Any], args: object) -> bytes:
        """The bytes of a call."""
        self._serial += 1
        payload = encode(args)
        header = Header(PROGRAM.number, PROGRAM.version, row.number, PacketType.CALL, self._serial, PacketStatus.OK)
        return header.pack(len(payload)) + payload

    def exchange(self, packet: bytes) -> bytes:
        """Send a packet and return the payload of the one that comes back. Raises ``CallFailed``, ``OSError``."""
        self._socket.sendall(packet)
        return self.answer()

    def send(self, packet: bytes) -> None:
        """Send a packet; its ``answer`` is to be fetched."""
        self._socket.sendall(packet)

    def answer(self) -> bytes:
        """The payload of the next packet."""
        head = self._exactly(HEADER_SIZE)
        length, _, _, _, _, _, status = LAYOUT.unpack(head)
        payload = self._exactly(length - HEADER_SIZE)
        if status != PacketStatus.OK:
            raise CallFailed(payload.decode("utf-8", "replace"))
        return payload

    def _exactly(self, size: int) -> bytes:
        data = self._socket.recv(size)
        while len(data) < size:
            more = self._socket.recv(size - len(data))
            if not more:
                raise CallFailed("the daemon has closed the connection")
            data += more
        return data

    def call(self, row: Procedure[A, R], args: A) -> R:
        """Call and read the result."""
        return decode(row.ret, self.exchange(self.packet(row, args)))

    def domain(self, name: str) -> Domain:
        """The domain of that name."""
        return self.call(remote_list.DOMAIN_LOOKUP_BY_NAME, remote_list.NameArgs(name)).dom


def paced(call: Callable[[], object], going: Callable[[], bool], period: float) -> list[float]:
    """Seconds each ``call`` took, one every ``period`` seconds while ``going()``."""
    taken = []
    while going():
        start = time.monotonic()
        call()
        taken.append(time.monotonic() - start)
        time.sleep(max(0.0, period - taken[-1]))
    return taken
