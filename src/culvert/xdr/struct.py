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
from collections.abc import Sequence
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


class _Fields(codec.Fields):
    """The codec of a struct, put together from the annotations when it is first used."""

    __slots__ = ()

    def __init__(self, make: Any, names: Sequence[str]) -> None:
        self.make = make
        self._names = tuple(names)

    def __getattr__(self, name: str) -> Any:
        # Called for what is not set yet, and so once.
        if name != "_codecs":
            raise AttributeError(name)
        hints = get_type_hints(self.make, include_extras=True)
        self._codecs = tuple(codec_of(hints[name]) for name in self._names)
        return self._codecs


class _Value:
    """What every struct can do, as a frozen dataclass can; there once, and not written anew for each of hundreds."""

    __slots__ = ()

    def __repr__(self) -> str:
        told = (f"{name}={value!r}" for name, value in zip(_names(self), _values(self), strict=True))
        return f"{type(self).__qualname__}({', '.join(told)})"

    def __eq__(self, other: object) -> bool:
        return _values(self) == _values(other) if type(other) is type(self) else NotImplemented

    def __hash__(self) -> int:
        return hash(_values(self))

    def __setattr__(self, name: str, value: object) -> None:
        raise dataclasses.FrozenInstanceError(f"cannot assign to field {name!r}")

    def __delattr__(self, name: str) -> None:
        raise dataclasses.FrozenInstanceError(f"cannot delete field {name!r}")

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), _values(self)


def _names(of: object) -> tuple[str, ...]:
    names: tuple[str, ...] = type(of).__match_args__  # type: ignore[attr-defined]
    return names


def _values(of: object) -> tuple[Any, ...]:
    return tuple(getattr(of, name) for name in _names(of))


def _initialize(self: Any, *values: Any, **named: Any) -> None:
    """The first instance of a struct is made: from here on by a method of its own."""
    kind = type(self)
    names = _names(self)
    setters = {f"set_{name}": kind.__dict__[name].__set__ for name in names}
    lines = (f"    set_{name}(self, {name})\n" for name in names)
    exec(f"def __init__(self, {', '.join(names)}):\n" + ("".join(lines) or "    pass\n"), setters)  # noqa: S102 - as dataclasses do
    kind.__init__ = setters["__init__"]
    kind.__init__(self, *values, **named)


@dataclass_transform(frozen_default=True)
def struct(cls: type[T]) -> type[T]:
    """Class decorator: a frozen dataclass that XDR can carry, its fields in the order of the protocol file.

    What a dataclass compiles for each class is made when it is first needed: a daemon knows hundreds of these, and
    uses a few dozen.
    """
    cls.__doc__ = cls.__doc__ or cls.__name__  # else the signature is worked out for it
    for name, method in vars(_Value).items():
        if callable(method):
            setattr(cls, name, method)
    setattr(cls, "__init__", _initialize)  # noqa: B010 - to mypy it is no method of its own
    made = dataclasses.dataclass(init=False, repr=False, eq=False, slots=True)(cls)
    setattr(made, _CODEC, _Fields(made, [f.name for f in dataclasses.fields(made)]))  # type: ignore[arg-type]
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
