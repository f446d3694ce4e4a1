"""The packet: a length word, a 24-byte header, a payload (libvirt src/rpc/virnetprotocol.x).

::

    offset  size  field
    0       4     length    the whole packet, these four bytes included
    4       4     program
    8       4     version
    12      4     procedure signed
    16      4     type      PacketType
    20      4     serial
    24      4     status    Status
    28      …     payload

Everything is big-endian. ``Reader`` cuts a byte stream into packets; ``Header.pack`` writes the 28 bytes that
announce a payload of a given size, so that a pump may send the payload itself by other means.
"""

from __future__ import annotations

import struct
from collections import deque
from dataclasses import dataclass
from enum import IntEnum

from culvert.ground import errors

LAYOUT = struct.Struct(">IIIiiII")
LENGTH = struct.Struct(">I")
HEADER_SIZE = LAYOUT.size  # 28: VIR_NET_MESSAGE_LEN_MAX (4) + VIR_NET_MESSAGE_HEADER_MAX (24)
PACKET_MAX = 33_554_432 + LENGTH.size  # VIR_NET_MESSAGE_MAX does not count the length word
PAYLOAD_MAX = PACKET_MAX - HEADER_SIZE  # VIR_NET_MESSAGE_PAYLOAD_MAX
LEGACY_PAYLOAD_MAX = 262_120  # VIR_NET_MESSAGE_LEGACY_PAYLOAD_MAX: the largest chunk old peers can take
DESCRIPTORS_MAX = 32  # VIR_NET_MESSAGE_NUM_FDS_MAX

# Chunks smaller than this are collected into one buffer: a peer that sends single bytes must not make us keep
# a Python object for each of them.
_SMALL_CHUNK = 4096


class PacketType(IntEnum):
    CALL = 0  # VIR_NET_CALL
    REPLY = 1  # VIR_NET_REPLY
    MESSAGE = 2  # VIR_NET_MESSAGE
    STREAM = 3  # VIR_NET_STREAM
    CALL_WITH_FDS = 4  # VIR_NET_CALL_WITH_FDS
    REPLY_WITH_FDS = 5  # VIR_NET_REPLY_WITH_FDS
    STREAM_HOLE = 6  # VIR_NET_STREAM_HOLE


class PacketStatus(IntEnum):
    OK = 0  # VIR_NET_OK
    ERROR = 1  # VIR_NET_ERROR
    CONTINUE = 2  # VIR_NET_CONTINUE


_TYPES = {int(kind): kind for kind in PacketType}
_STATUSES = {int(status): status for status in PacketStatus}


@dataclass(frozen=True, slots=True)
class Header:
    """The 24 bytes that say what a packet is. Of what was received, ``type`` and ``status`` may be numbers that the
    protocol does not have: what they mean, if anything, the ends of a connection know."""

    program: int
    version: int
    procedure: int
    type: PacketType | int
    serial: int
    status: PacketStatus | int

    def pack(self, size: int) -> bytes:
        """The 28 bytes in front of a payload of ``size`` bytes.

        Raises ``errors.RpcError`` when the packet would be longer than the protocol allows.
        """
        if size > PAYLOAD_MAX:
            raise errors.RpcError(f"a payload of {size} bytes is longer than the protocol's maximum of {PAYLOAD_MAX}")
        return LAYOUT.pack(
            HEADER_SIZE + size, self.program, self.version, self.procedure, self.type, self.serial, self.status
        )


def _is_tls(length: int) -> bool:
    """Whether a length word is the beginning of a TLS record: content type 20 to 23, version 3.x (RFC 8446 5.1)."""
    return length >> 24 in range(20, 24) and length >> 16 & 0xFF == 3


@dataclass(frozen=True, slots=True)
class Packet:
    """One packet as it came."""

    header: Header
    payload: bytes


class Reader:
    """Cuts received bytes into packets, whole or one byte at a time with the same result.

    ``maximum`` is the largest packet believed, in bytes with the length word; the length word is judged as soon as
    its four bytes are there, before any of the rest is kept. Payload bytes are copied once, out of the received
    chunks. The reader holds no more than one incomplete packet and what one ``feed`` brought.
    """

    def __init__(self, maximum: int = PACKET_MAX) -> None:
        self.maximum = maximum
        self._chunks: deque[bytes | bytearray] = deque()
        self._start = 0  # offset of the first unread byte in the first chunk
        self._size = 0  # unread bytes in all chunks
        self._length = 0  # length word of the packet under way, 0 while unknown
        self._skip = 0  # bytes to throw away before the next packet

    def __len__(self) -> int:
        """Bytes received and not yet given out."""
        return self._size

    def feed(self, data: bytes) -> None:
        """Take received bytes."""
        if not data:
            return
        self._size += len(data)
        if len(data) >= _SMALL_CHUNK:
            self._chunks.append(data)
            return
        last = self._chunks[-1] if self._chunks else None
        if isinstance(last, bytearray):
            last += data
        else:
            self._chunks.append(bytearray(data))

    def rest(self) -> bytes:
        """Remove and answer everything that is left behind the packet given out last."""
        return self._take(self._size)

    def skip(self, size: int) -> None:
        """Throw away the next ``size`` bytes behind the packet given out last."""
        self._skip += size

    def next_packet(self) -> Packet | None:
        """The next complete packet, or None when more bytes are needed.

        Raises ``errors.ProtocolViolation``: the length is impossible or beyond ``maximum``. The reader is of no use
        afterwards.
        """
        if self._skip:
            size = min(self._skip, self._size)
            self._take(size)
            self._skip -= size
        if not self._length:
            if self._size < LENGTH.size:
                return None
            self._length = self._judge(LENGTH.unpack(self._peek(LENGTH.size))[0])
        if self._size < self._length:
            return None
        _, program, version, procedure, kind, serial, status = LAYOUT.unpack(self._take(HEADER_SIZE))
        payload = self._take(self._length - HEADER_SIZE)
        self._length = 0
        head = Header(program, version, procedure, _TYPES.get(kind, kind), serial, _STATUSES.get(status, status))
        return Packet(head, payload)

    def _judge(self, length: int) -> int:
        if length < HEADER_SIZE:
            raise errors.ProtocolViolation(f"packet length {length} is shorter than a header ({HEADER_SIZE})")
        if length > self.maximum:
            looks = " (these bytes are TLS: is this port a clear-text one?)" if _is_tls(length) else ""
            raise errors.ProtocolViolation(
                f"packet length {length} is longer than the limit of {self.maximum}{looks}"
            )
        return length

    def _peek(self, size: int) -> bytes:
        if len(self._chunks[0]) - self._start >= size:
            return bytes(self._chunks[0][self._start : self._start + size])
        parts = bytearray()
        start = self._start
        for chunk in self._chunks:
            parts += chunk[start : start + size - len(parts)]
            start = 0
            if len(parts) == size:
                break
        return bytes(parts)

    def _take(self, size: int) -> bytes:
        """Remove ``size`` bytes, which are there, from the front."""
        self._size -= size
        parts: list[bytes | memoryview] = []
        while size:
            first = self._chunks[0]
            end = min(self._start + size, len(first))
            size -= end - self._start
            if end == len(first):
                parts.append(memoryview(first)[self._start :])
                self._chunks.popleft()
                self._start = 0
            elif isinstance(first, bytearray):
                # More will be appended to this one, so what is read must go, or it would grow for ever.
                parts.append(bytes(memoryview(first)[:end]))
                del first[:end]
            else:
                parts.append(memoryview(first)[self._start : end])
                self._start = end
        return b"".join(parts)
