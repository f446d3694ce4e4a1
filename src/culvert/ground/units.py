"""Units as names, and libvirt's spelling of memory sizes."""

from __future__ import annotations

from culvert.ground import errors

KiB = 1024
MiB = 1024 * KiB
GiB = 1024 * MiB
TiB = 1024 * GiB

# libvirt docs/formatdomain, "Memory Allocation": the `unit` attribute; KiB where it is left out.
SCALES: dict[str, int] = {
    "b": 1,
    "bytes": 1,
    "KB": 1000,
    "k": KiB,
    "K": KiB,
    "KiB": KiB,
    "MB": 1000**2,
    "M": MiB,
    "MiB": MiB,
    "GB": 1000**3,
    "G": GiB,
    "GiB": GiB,
    "TB": 1000**4,
    "T": TiB,
    "TiB": TiB,
}


def to_kib(value: int, unit: str) -> int:
    """``value`` of ``unit`` in whole KiB, rounded up as libvirt does.

    Raises ``errors.XMLError`` for a unit libvirt does not know.
    """
    scale = SCALES.get(unit)
    if scale is None:
        raise errors.XMLError(f"unknown suffix '{unit}' for a memory size")
    return -(-value * scale // KiB)
