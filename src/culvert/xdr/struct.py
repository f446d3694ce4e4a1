"""XDR structs written as Python classes, so that a protocol table reads like the protocol file.

::

    @struct
    class Domain:
        name: Str
        uuid: UUIDBytes
        id: Int

makes a frozen dataclass whose instances ``encode`` to and ``decode`` from bytes. A field's type is one of the
aliases (``Int``, ``UHyper`` …), another struct, or ``Annotated[python type, codec]`` for anything else;
``listed(S, n)`` and ``maybe(S)`` are the codecs for ``S name<n>`` and ``S *name``.
"""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any, TypeVar, dataclass_transform, get_args, get_origin, get_type_hints

from culvert.xdr import codec

T = TypeVar("T")

Int = Annotated[int, codec.INT]
UInt = Annotated[int, codec.UINT]
Hyper = Annotated[int, codec.HYPER]
UHyper = Annotated[int, codec.UHYPER]
Double = Annotated[float, codec.DOUBLE]

_CODEC = "__xdr_codec__"


def codec_of(annotation: Any) -> codec.Codec:
    """The codec of a struct class or of an ``Annotated`` alias."""
    if get_origin(annotation) is Annotated:
        found: codec.Codec = get_args(annotation)[1]
        return found
    if hasattr(annotation, _CODEC):
        of_struct: codec.Codec = getattr(annotation, _CODEC)
        return of_struct
    raise TypeError(f"{annotation!r} has no XDR codec")


def listed(element: Any, maximum: int) -> codec.Array:
    """The codec of ``element name<maximum>``."""
    return codec.Array(codec_of(element), maximum)


def maybe(element: Any) -> codec.Optional:
    """The codec of ``element *name``."""
    return codec.Optional(codec_of(element))


@dataclass_transform(frozen_default=True)
def struct(cls: type[T]) -> type[T]:
    """Class decorator: a frozen dataclass that XDR can carry, its fields in the order of the protocol file."""
    made = dataclasses.dataclass(frozen=True, slots=True)(cls)
    hints = get_type_hints(made, include_extras=True)
    names = [f.name for f in dataclasses.fields(made)]  # type: ignore[arg-type]
    setattr(made, _CODEC, codec.Fields(made, names, [codec_of(hints[name]) for name in names]))
    return made


@struct
class Void:
    """No arguments, or no result."""


def encode(value: Any) -> bytes:
    """The bytes of a struct instance. Raises ``codec.XdrError`` for a value that its type cannot hold."""
    out = bytearray()
    codec_of(type(value)).pack(value, out)
    return bytes(out)


def decode(kind: type[T], payload: codec.Buffer) -> T:
    """Read one ``kind`` from the start of ``payload``; bytes behind it are ignored, as libvirt does.

    Raises ``codec.XdrError``.
    """
    value: T
    value, _ = codec_of(kind).unpack(payload, 0)
    return value
