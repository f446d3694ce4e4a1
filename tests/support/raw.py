"""A peer that sends whatever bytes it likes to a daemon, over a plain socket."""

from __future__ import annotations

import contextlib
import socket
from dataclasses import replace
from types import TracebackType
from typing import Any, Self, TypeVar

from culvert.protocol import errors as wire_errors
from culvert.protocol import remote_connect, types
from culvert.protocol.procedure import Procedure
from culvert.rpc.programs import KNOWN
from culvert.wire.packet import Header, PacketStatus, PacketType, Reader
from culvert.xdr.struct import Void, decode, encode
from tests.support.daemon import DaemonProcess
from tests.support.libvirtd import Libvirtd

A = TypeVar("A")
R = TypeVar("R")
NOBODY = types.Domain("nobody", b"\x11" * 16, -1)  # a domain that no daemon has
SECONDS = 60.0  # without a byte: then the daemon hangs, and the test fails
_PROGRAM_OF = {id(row): program for program in KNOWN for row in program}


class Raw:
    """A connection to ``host``, by TCP or by its UNIX socket; a context manager."""

    def __init__(self, host: DaemonProcess | Libvirtd, transport: str = "tcp") -> None:
        if transport == "tcp":
            self.sock = socket.create_connection(("127.0.0.1", host.port), SECONDS)
        else:
            self.sock = socket.socket(socket.AF_UNIX)
            self.sock.settimeout(SECONDS)
            self.sock.connect(str(host.socket))
        self._packets = Reader()
        self._serial = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.sock.close()

    def open(self) -> Self:
        """Say the customary hello, without keepalive."""
        self.call(remote_connect.AUTH_LIST, Void())
        self.call(remote_connect.CONNECT_OPEN, remote_connect.ConnectOpenArgs("qemu:///system", 0))
        return self

    def send(self, data: bytes) -> bool:
        """Send ``data``; False when the daemon has hung up."""
        try:
            self.sock.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            return False
        return True

    def packet(self) -> tuple[Header, bytes]:
        """The next packet. Raises ``EOFError`` when the daemon has hung up instead."""
        while (packet := self._packets.next_packet()) is None:
            try:
                data = self.sock.recv(1 << 16)
            except ConnectionResetError:
                data = b""
            if not data:
                raise EOFError
            self._packets.feed(data)
        return packet.header, packet.payload

    def rest(self) -> list[Header]:
        """The heads of all packets that come until the daemon hangs up."""
        found = []
        with contextlib.suppress(EOFError):
            while True:
                found.append(self.packet()[0])
        return found

    def wait_closed(self) -> None:
        """Read whatever comes until the daemon hangs up. Raises ``AssertionError`` when it does not."""
        try:
            while self.sock.recv(1 << 16):
                pass
        except ConnectionResetError:
            return
        except TimeoutError:
            raise AssertionError(f"the daemon has not hung up within {SECONDS:g} s") from None

    def packed(self, row: Procedure[Any, Any], payload: bytes, **changed: int) -> bytes:
        """A call of ``row`` with any payload; ``changed`` members of the header."""
        program = _PROGRAM_OF[id(row)]
        self._serial += 1
        head = Header(program.number, program.version, row.number, PacketType.CALL, self._serial, PacketStatus.OK)
        return replace(head, **changed).pack(len(payload)) + payload

    def answer(self) -> tuple[Header, types.Error | bytes]:
        """The next packet: its payload, or the error it holds."""
        header, payload = self.packet()
        return header, decode(types.Error, payload) if header.status is PacketStatus.ERROR else payload

    def ask(self, row: Procedure[Any, Any], payload: bytes, **changed: int) -> types.Error | bytes:
        """Call ``row`` with any payload; the payload that comes back, or the error."""
        assert self.send(self.packed(row, payload, **changed)), f"{row.name}: the daemon has hung up"
        header, found = self.answer()
        assert (header.type, header.serial) == (PacketType.REPLY, self._serial), header
        return found

    def call(self, row: Procedure[A, R], args: A) -> R:
        """A proper call. Raises ``errors.RemoteError``."""
        found = self.ask(row, encode(args))
        if isinstance(found, types.Error):
            raise wire_errors.from_wire(found)
        return decode(row.ret, found)
