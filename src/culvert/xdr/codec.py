"""XDR (RFC 4506) for libvirt's protocol files: one codec object per type, composed.

A codec has two methods: ``pack(value, out)`` appends the encoding of ``value`` to a ``bytearray``, and
``unpack(buffer, offset)`` answers ``(value, next offset)``; ``str()`` of it is the
type in words. Both check every bound before they act on it: a length word is believed only when the bytes are there
and the declared maximum allows it.

Everything is big-endian and padded to four bytes; ``char``, ``short``, ``bool`` and ``enum`` take four bytes each
(RFC 4506 sections 3 and 4). Raises only ``XdrError``.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any, Protocol

Buffer = bytes | bytearray | memoryview


class XdrError(ValueError):
    """The bytes are not an encoding of the type, or the value does not fit into it."""


class Codec(Protocol):
    """One XDR type."""

    def pack(self, value: Any, out: bytearray) -> None:
        """Append the encoding of ``value`` to ``out``."""

    def unpack(self, buffer: Buffer, offset: int) -> tuple[Any, int]:
        """Read a value at ``offset``; answer it and the offset behind it."""


class Number:
    """A fixed-size number: ``int``, ``unsigned int``, ``hyper``, ``unsigned hyper``, ``double``."""

    __slots__ = ("_name", "_struct")

    def __init__(self, name: str, layout: str) -> None:
        self._name = name
        self._struct = struct.Struct(layout)

    def __str__(self) -> str:
        return self._name

    def pack(self, value: Any, out: bytearray) -> None:
        try:
            out += self._struct.pack(value)
        except struct.error as err:
            raise XdrError(f"{value!r} is not a {self._name}") from err

    def unpack(self, buffer: Buffer, offset: int) -> tuple[Any, int]:
        try:
            return self._struct.unpack_from(buffer, offset)[0], offset + self._struct.size
        except struct.error as err:
            raise XdrError(f"data ends inside a {self._name}") from err


INT = Number("int", ">i")
UINT = Number("unsigned int", ">I")
HYPER = Number("hyper", ">q")
UHYPER = Number("unsigned hyper", ">Q")
DOUBLE = Number("double", ">d")

_PADDING = (b"", b"\0\0\0", b"\0\0", b"\0")


def _take(buffer: Buffer, offset: int, size: int) -> tuple[bytes, int]:
    end = offset + size + (-size) % 4
    if end > len(buffer):
        raise XdrError(f"data ends {end - len(buffer)} bytes early")
    return bytes(buffer[offset : offset + size]), end


def _count(buffer: Buffer, offset: int, maximum: int, what: str) -> tuple[int, int]:
    size, offset = UINT.unpack(buffer, offset)
    if size > maximum:
        raise XdrError(f"{what} of {size} is longer than {maximum}")
    return int(size), offset


class Opaque:
    """``opaque name<maximum>``: counted bytes."""

    __slots__ = ("_maximum",)

    def __init__(self, maximum: int) -> None:
        self._maximum = maximum

    def __str__(self) -> str:
        return f"opaque<{self._maximum}>"

    def pack(self, value: Any, out: bytearray) -> None:
        if len(value) > self._maximum:
            raise XdrError(f"opaque of {len(value)} is longer than {self._maximum}")
        UINT.pack(len(value), out)
        out += value
        out += _PADDING[len(value) % 4]

    def unpack(self, buffer: Buffer, offset: int) -> tuple[Any, int]:
        size, offset = _count(buffer, offset, self._maximum, "opaque")
        return _take(buffer, offset, size)


class String(Opaque):
    """``string name<maximum>``: counted UTF-8 text (the protocol says bytes; libvirt's strings are UTF-8).

    What is read ends at its first NUL, as for libvirt, whose strings are C's.
    """

    __slots__ = ()

    def __str__(self) -> str:
        return "string"

    def pack(self, value: Any, out: bytearray) -> None:
        super().pack(value.encode("utf-8", "surrogateescape"), out)

    def unpack(self, buffer: Buffer, offset: int) -> tuple[Any, int]:
        data, offset = super().unpack(buffer, offset)
        return data.partition(b"\0")[0].decode("utf-8", "surrogateescape"), offset


class FixedOpaque:
    """``opaque name[size]``: exactly ``size`` bytes, no count."""

    __slots__ = ("size",)

    def __init__(self, size: int) -> None:
        self.size = size

    def __str__(self) -> str:
        return f"opaque[{self.size}]"

    def pack(self, value: Any, out: bytearray) -> None:
        if len(value) != self.size:
            raise XdrError(f"opaque of {len(value)} bytes where exactly {self.size} belong")
        out += value
        out += _PADDING[self.size % 4]

    def unpack(self, buffer: Buffer, offset: int) -> tuple[Any, int]:
        return _take(buffer, offset, self.size)


class Array:
    """``T name<maximum>``: a count and that many elements; a Python list."""

    __slots__ = ("_maximum", "element")

    def __init__(self, element: Codec, maximum: int) -> None:
        self.element = element
        self._maximum = maximum

    def __str__(self) -> str:
        return f"{self.element}<{self._maximum}>"

    def pack(self, value: Any, out: bytearray) -> None:
        if len(value) > self._maximum:
            raise XdrError(f"array of {len(value)} is longer than {self._maximum}")
        UINT.pack(len(value), out)
        for item in value:
            self.element.pack(item, out)

    def unpack(self, buffer: Buffer, offset: int) -> tuple[Any, int]:
        size, offset = _count(buffer, offset, self._maximum, "array")
        # Every element takes at least four bytes, so a count that the buffer cannot hold is refused at once.
        if size * 4 > len(buffer) - offset:
            raise XdrError(f"array of {size} elements in {len(buffer) - offset} bytes")
        items = []
        for _ in range(size):
            item, offset = self.element.unpack(buffer, offset)
            items.append(item)
        return items, offset


class Chars:
    """``char name[size]`` or ``char name<maximum>``: text whose characters take four bytes each.

    ``fixed``: padded with NULs to ``size`` and cut at the first NUL when read; otherwise counted, with the
    terminating NUL counted as libvirt does (remote_daemon_dispatch.c, NodeGetSecurityModel).
    """

    __slots__ = ("_fixed", "_size")

    def __init__(self, size: int, *, fixed: bool) -> None:
        self._size = size
        self._fixed = fixed

    def __str__(self) -> str:
        return f"char[{self._size}]" if self._fixed else f"char<{self._size}>"

    def pack(self, value: Any, out: bytearray) -> None:
        data = value.encode("utf-8") + b"\0"
        if len(data) > self._size:
            raise XdrError(f"text of {len(data)} characters is longer than {self._size}")
        if self._fixed:
            data = data.ljust(self._size, b"\0")
        else:
            UINT.pack(len(data), out)
        for byte in data:
            INT.pack(byte, out)

    def unpack(self, buffer: Buffer, offset: int) -> tuple[Any, int]:
        size = self._size
        if not self._fixed:
            size, offset = _count(buffer, offset, self._size, "character array")
        if offset + 4 * size > len(buffer):
            raise XdrError("data ends inside a character array")
        data = bytes(byte & 0xFF for byte in struct.unpack_from(f">{size}i", buffer, offset))
        return data.split(b"\0", 1)[0].decode("utf-8", "replace"), offset + 4 * size


class Optional:
    """``T *name``: 0 for None, or 1 and the value. Whatever else than 0 is read means that the value is there, as in
    libvirt's decoder (``xdr_bool`` of libtirpc): go-libvirt sends 01 00 00 00."""

    __slots__ = ("element",)

    def __init__(self, element: Codec) -> None:
        self.element = element

    def __str__(self) -> str:
        return f"{self.element}?"

    def pack(self, value: Any, out: bytearray) -> None:
        if value is None:
            INT.pack(0, out)
        else:
            INT.pack(1, out)
            self.element.pack(value, out)

    def unpack(self, buffer: Buffer, offset: int) -> tuple[Any, int]:
        present, offset = INT.unpack(buffer, offset)
        if not present:
            return None, offset
        return self.element.unpack(buffer, offset)


class Union:
    """``union switch (int type)``: a discriminant and the value of its arm; a ``(type, value)`` pair."""

    __slots__ = ("arms",)

    def __init__(self, arms: dict[int, Codec]) -> None:
        self.arms = arms

    def _arm(self, kind: int) -> Codec:
        arm = self.arms.get(kind)
        if arm is None:
            raise XdrError(f"unknown union type {kind}")
        return arm

    def __str__(self) -> str:
        return " | ".join(f"{kind}: {arm}" for kind, arm in self.arms.items())

    def pack(self, value: Any, out: bytearray) -> None:
        kind, inner = value
        arm = self._arm(kind)
        INT.pack(kind, out)
        arm.pack(inner, out)

    def unpack(self, buffer: Buffer, offset: int) -> tuple[Any, int]:
        kind, offset = INT.unpack(buffer, offset)
        inner, offset = self._arm(kind).unpack(buffer, offset)
        return (kind, inner), offset


class Fields:
    """The fields of a struct in order, built into ``make(*values)`` and read back by name."""

    __slots__ = ("_codecs", "_names", "make")

    def __init__(self, make: Any, names: Sequence[str], codecs: Sequence[Codec]) -> None:
        self.make = make
        self._names = tuple(names)
        self._codecs = tuple(codecs)

    def __str__(self) -> str:
        return str(self.make.__name__)

    def members(self) -> list[tuple[str, Codec]]:
        """The fields in order: (name, codec)."""
        return list(zip(self._names, self._codecs, strict=True))

    def pack(self, value: Any, out: bytearray) -> None:
        for name, codec in zip(self._names, self._codecs, strict=True):
            codec.pack(getattr(value, name), out)

    def unpack(self, buffer: Buffer, offset: int) -> tuple[Any, int]:
        values = []
        for codec in self._codecs:
            value, offset = codec.unpack(buffer, offset)
            values.append(value)
        return self.make(*values), offset
