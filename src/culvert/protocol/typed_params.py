"""Typed parameters as Python sees them: (name, value) pairs both ways, checked against a table of names and types.

A table is ``name → ParamSpec`` (``constants_migrate.MIGRATE_PARAMS``, ``constants_migrate.JOB_STATS``). The order of
the parameters and the repetition of a name are kept; a caller that knows that no name repeats makes a ``dict`` of the
pairs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from culvert.ground import errors
from culvert.protocol.constants_migrate import ParamSpec
from culvert.protocol.types import TypedParam, TypedParamType

Value = int | float | str | bool

_ACCEPTS: dict[TypedParamType, type | tuple[type, ...]] = {
    TypedParamType.INT: int,
    TypedParamType.UINT: int,
    TypedParamType.LLONG: int,
    TypedParamType.ULLONG: int,
    TypedParamType.DOUBLE: (int, float),
    TypedParamType.BOOLEAN: int,
    TypedParamType.STRING: str,
}

_RANGES: dict[TypedParamType, range] = {
    TypedParamType.INT: range(-(2**31), 2**31),
    TypedParamType.UINT: range(2**32),
    TypedParamType.LLONG: range(-(2**63), 2**63),
    TypedParamType.ULLONG: range(2**64),
    TypedParamType.BOOLEAN: range(2),
}


class ParameterUnsupported(errors.ArgumentUnsupported):
    """A parameter name that the table does not have; libvirt reports it without a domain."""

    domain = errors.ErrorDomain.NONE


def decode(params: Iterable[TypedParam], table: Mapping[str, ParamSpec]) -> list[tuple[str, Value]]:
    """Read what a peer sent; booleans become ``bool``.

    Raises ``errors.ArgumentUnsupported`` for a name that is not in ``table`` and ``errors.InvalidArgument`` for a
    value of another type or a name that comes twice and may not (util/virtypedparam.c, virTypedParamsValidate).
    """
    found: list[tuple[str, Value]] = []
    seen: set[str] = set()
    for param in params:
        kind, value = param.value
        spec = _spec(param.field, table, seen)
        if kind != spec.type:
            raise errors.InvalidArgument(
                f"invalid type '{_type_name(kind)}' for parameter '{param.field}', expected '{_type_name(spec.type)}'"
            )
        found.append((param.field, bool(value) if kind == TypedParamType.BOOLEAN else value))
    return found


def encode(items: Iterable[tuple[str, Value]], table: Mapping[str, ParamSpec]) -> list[TypedParam]:
    """The parameters as they travel, with the types that ``table`` gives them.

    Raises as ``decode``, and ``errors.InvalidArgument`` for a value that its type cannot hold.
    """
    found: list[TypedParam] = []
    seen: set[str] = set()
    for name, value in items:
        kind = _spec(name, table, seen).type
        if not isinstance(value, _ACCEPTS[kind]):
            raise errors.InvalidArgument(f"parameter '{name}' must be {_type_name(kind)}, not {value!r}")
        allowed = _RANGES.get(kind)
        if allowed is not None and value not in allowed:
            raise errors.InvalidArgument(f"parameter '{name}': {value} is not in the range of {_type_name(kind)}")
        found.append(TypedParam(name, (kind, value)))
    return found


def loose(params: Iterable[TypedParam]) -> dict[str, Value]:
    """What a peer reports, read without a table: unknown names are kept, the last of a repeated name counts."""
    return {
        param.field: bool(param.value[1]) if param.value[0] == TypedParamType.BOOLEAN else param.value[1]
        for param in params
    }


def _spec(name: str, table: Mapping[str, ParamSpec], seen: set[str]) -> ParamSpec:
    spec = table.get(name)
    if spec is None:
        raise ParameterUnsupported(f"parameter '{name}' not supported")
    if name in seen and not spec.repeated:
        raise errors.InvalidArgument(f"parameter '{name}' occurs multiple times")
    seen.add(name)
    return spec


def _type_name(kind: int) -> str:
    """libvirt's word for a type in its messages."""
    return TypedParamType(kind).name.lower() if kind in list(TypedParamType) else f"type {kind}"
