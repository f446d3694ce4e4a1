"""Frames: what two pumps say to each other on a network connection.

::

    0      1       2         4             8            12                    20
    | kind | flags | 0       | wire length | raw length | offset              | payload: wire length bytes …
      u8     u8      u16       u32           u32          u64

``offset`` counts the raw bytes of one direction of the channel from 0, over all its connections; ``raw length`` says
how many of them the payload stands for. All numbers are big-endian.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum

from culvert.ground import errors
from culvert.ground.units import KiB, MiB

_HEADER = struct.Struct("!BBHIIQ")
HEADER = _HEADER.size
# The longest payload, raw and on the wire: what a receiver must be able to hold of a compressed frame.
MAX_PAYLOAD = 1 * MiB
MAX_REASON = 1 * KiB

COMPRESSED = 1  # DATA: the payload is one zstd frame (RFC 8878) that says its content size
END = 2  # ACK: the FIN has been received too, and QEMU has taken every byte
OVER = 4  # ACK with END: the sender knows as much of its own bytes, and has closed the channel


class Kind(IntEnum):
    DATA = 1  # bytes of the channel, from `offset` on
    ACK = 2  # `offset` bytes have been received in order and need no replay
    FIN = 3  # QEMU has closed its direction, after `offset` bytes in all
    HEARTBEAT = 4  # the sender lives
    ABORT = 5  # the channel is over at the sender; the payload is the reason in UTF-8


@dataclass(frozen=True, slots=True)
class Frame:
    """One header. ``wire`` and ``raw`` are in bytes."""

    kind: Kind
    flags: int = 0
    wire: int = 0
    raw: int = 0
    offset: int = 0


@dataclass(frozen=True, slots=True)
class FrameRule:
    """What a kind may carry: its flags, the least and the most wire bytes, whether raw bytes and an offset."""

    flags: int = 0
    least: int = 0
    most: int = 0
    raw: bool = False
    offset: bool = False


RULES: dict[Kind, FrameRule] = {
    Kind.DATA: FrameRule(flags=COMPRESSED, least=1, most=MAX_PAYLOAD, raw=True, offset=True),
    Kind.ACK: FrameRule(flags=END | OVER, offset=True),
    Kind.FIN: FrameRule(offset=True),
    Kind.HEARTBEAT: FrameRule(),
    Kind.ABORT: FrameRule(most=MAX_REASON),
}
_KINDS = {int(kind): kind for kind in Kind}


def encode(frame: Frame) -> bytes:
    """The header on the wire."""
    return _HEADER.pack(frame.kind, frame.flags, 0, frame.wire, frame.raw, frame.offset)


def decode(header: bytes | bytearray | memoryview) -> Frame:
    """The frame that the ``HEADER`` bytes announce.

    Raises ``errors.ProtocolViolation`` for what ``RULES`` do not allow.
    """
    number, flags, zero, wire, raw, offset = _HEADER.unpack(header)
    kind = _KINDS.get(number)
    if kind is None:
        raise errors.ProtocolViolation(f"a frame of unknown kind {number}")
    rule = RULES[kind]
    if flags & ~rule.flags or zero:
        raise errors.ProtocolViolation(f"a {kind.name} frame with unknown flags {flags:#x}/{zero:#x}")
    if not rule.least <= wire <= rule.most:
        raise errors.ProtocolViolation(
            f"a {kind.name} frame of {wire} bytes; {rule.least} to {rule.most} are allowed"
        )
    if rule.raw:
        if not 1 <= raw <= MAX_PAYLOAD or (raw != wire and not flags & COMPRESSED):
            raise errors.ProtocolViolation(f"a {kind.name} frame of {wire} bytes that stand for {raw}")
    elif raw:
        raise errors.ProtocolViolation(f"a {kind.name} frame that stands for {raw} bytes")
    if offset and not rule.offset:
        raise errors.ProtocolViolation(f"a {kind.name} frame at offset {offset}")
    return Frame(kind, flags, wire, raw, offset)


def data(offset: int, length: int) -> bytes:
    """The header of ``length`` bytes as they are."""
    return _HEADER.pack(Kind.DATA, 0, 0, length, length, offset)


def compressed(offset: int, wire: int, raw: int) -> bytes:
    """The header of ``wire`` compressed bytes that stand for ``raw``."""
    return _HEADER.pack(Kind.DATA, COMPRESSED, 0, wire, raw, offset)


def ack(offset: int, *, end: bool = False, over: bool = False) -> bytes:
    return encode(Frame(Kind.ACK, (END if end else 0) | (END | OVER if over else 0), offset=offset))


def fin(offset: int) -> bytes:
    return encode(Frame(Kind.FIN, offset=offset))


def heartbeat() -> bytes:
    return encode(Frame(Kind.HEARTBEAT))


def abort(reason: str) -> bytes:
    """The whole frame; a reason that is too long is cut."""
    text = reason.encode("utf-8", "replace")[:MAX_REASON].decode("utf-8", "ignore").encode()
    return encode(Frame(Kind.ABORT, wire=len(text))) + text
