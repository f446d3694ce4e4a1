"""Units as names, and libvirt's spelling of memory sizes."""

from __future__ import annotations

from culvert.ground import errors

KiB = 1024
MiB = 1024 * KiB
GiB = 1024 * MiB
TiB = 1024 * GiB

# libvirt docs/formatdomain, "Memory Allocation"; util/virutil.c (virScaleInteger): letters of either case.
BYTES = frozenset({"b", "byte", "bytes"})
PREFIXES = "kmgtpe"
MOST_BYTES = 2**64 - 1


def to_kib(value: int, unit: str) -> int:
    """``value`` of ``unit`` in whole KiB, rounded up as libvirt does; no unit is KiB.

    Raises ``errors.XMLError`` for a unit libvirt does not know, and for more than it can count.
    """
    scale = _scale(unit.lower() or "kib")
    if scale is None:
        raise errors.XMLError(f"unknown suffix '{unit}' for a memory size")
    if value * scale > MOST_BYTES:
        raise errors.XMLError(f"XML error: {value} {unit} are more bytes than can be counted")
    return -(-value * scale // KiB)


def to_bytes(value: int, unit: str) -> int:
    """``value`` of ``unit`` in bytes; no unit is KiB. Raises as ``to_kib``."""
    scale = _scale(unit.lower() or "kib")
    if scale is None:
        raise errors.XMLError(f"unknown suffix '{unit}' for a memory size")
    return value * scale


def to_capacity(value: int, unit: str) -> int:
    """``value`` of ``unit`` in bytes; no unit is bytes.

    Raises ``errors.InvalidArgument`` for a unit libvirt does not know, ``errors.Overflow`` for more than it counts.
    """
    scale = _scale(unit.lower() or "b")
    if scale is None:
        raise errors.InvalidArgument(f"invalid argument: unknown suffix '{unit}'")
    if value * scale > MOST_BYTES:
        raise errors.Overflow(f"value too large: {value}{unit}")
    return value * scale


def _scale(unit: str) -> int | None:
    if unit in BYTES:
        return 1
    power = PREFIXES.find(unit[0]) + 1
    base = {"": 1024, "ib": 1024, "b": 1000}.get(unit[1:])
    return base**power if base and power else None
