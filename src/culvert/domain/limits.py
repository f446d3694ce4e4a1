"""``<blkiotune>`` and ``<memtune>``: how much of the host's memory and disks a guest may have.

Source: docs/formatdomain, "Block I/O Tuning" and "Memory Tuning". Only a control group holds a guest to it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from culvert.domain.binding import amount, children, leaf
from culvert.domain.scalars import PATH, UINT, ULONG, Integer

UNLIMITED = 9007199254740991  # KiB: VIR_DOMAIN_MEMORY_PARAM_UNLIMITED
WEIGHT = Integer(high=10000)


@dataclass(frozen=True, slots=True, kw_only=True)
class BlkioDevice:
    """For one disk of the host."""

    path: Annotated[str, leaf("path", PATH)]
    weight: Annotated[int | None, leaf("weight", WEIGHT, silent=("0",))] = None
    read_iops_sec: Annotated[int | None, leaf("read_iops_sec", UINT, silent=("0",))] = None
    write_iops_sec: Annotated[int | None, leaf("write_iops_sec", UINT, silent=("0",))] = None
    read_bytes_sec: Annotated[int | None, leaf("read_bytes_sec", ULONG, silent=("0",))] = None
    write_bytes_sec: Annotated[int | None, leaf("write_bytes_sec", ULONG, silent=("0",))] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BlkioTune:
    """``<blkiotune>``."""

    weight: Annotated[int | None, leaf("weight", WEIGHT, silent=("0",))] = None
    devices: Annotated[tuple[BlkioDevice, ...], children("device", BlkioDevice)] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class MemTune:
    """``<memtune>``, in KiB."""

    hard_limit: Annotated[int | None, amount("hard_limit")] = None
    soft_limit: Annotated[int | None, amount("soft_limit")] = None
    min_guarantee: Annotated[int | None, amount("min_guarantee")] = None
    swap_hard_limit: Annotated[int | None, amount("swap_hard_limit")] = None


def limits(told: MemTune | None) -> MemTune | None:
    """Without those that are none."""
    if told is None:
        return None
    kept = {
        name: None if (value := getattr(told, name)) is not None and value >= UNLIMITED else value
        for name in ("hard_limit", "soft_limit", "swap_hard_limit")
    }
    made = MemTune(min_guarantee=told.min_guarantee or None, **kept)
    return None if made == MemTune() else made
