"""``<cpu><numa>``: the nodes that a guest sees, and what lies between them.

Source: docs/formatdomain, "Guest NUMA Topology"; conf/numa_conf.c for what follows from what.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated

from culvert.domain.binding import attribute, child, children, sized
from culvert.domain.scalars import NO_CPU_SET, UINT, ULONG, YES_NO, one_of
from culvert.ground import errors

LOCAL, FAR = 10, 20  # distance of a node to itself, and to another one where nobody says
UNREACHABLE = 255
ACCESS = one_of("shared", "private")
LATENCIES = one_of("access", "read", "write")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sibling:
    """How far another node is."""

    id: Annotated[int, attribute("id", UINT)]
    value: Annotated[int, attribute("value", UINT)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Distances:
    """To other nodes."""

    siblings: Annotated[tuple[Sibling, ...], children("sibling", Sibling)] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheSize:
    """In KiB."""

    value: Annotated[int, sized("value")]


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheLine:
    """In bytes."""

    value: Annotated[int, sized("value", unit="B")]


@dataclass(frozen=True, slots=True, kw_only=True)
class NumaCache:
    """A cache on the side of the memory."""

    level: Annotated[int, attribute("level", UINT)]
    associativity: Annotated[str, attribute("associativity", one_of("none", "direct", "full"))]
    policy: Annotated[str, attribute("policy", one_of("none", "writeback", "writethrough"))]
    size: Annotated[CacheSize, child("size", CacheSize)]
    line: Annotated[CacheLine, child("line", CacheLine)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One node: its processors, its ``memory`` in KiB. ``id``: in their order where nobody says."""

    id: Annotated[int | None, attribute("id", UINT)] = None
    cpus: Annotated[frozenset[int] | None, attribute("cpus", NO_CPU_SET)] = None
    memory: Annotated[int, sized("memory")]
    mem_access: Annotated[str | None, attribute("memAccess", ACCESS)] = None
    discard: Annotated[bool | None, attribute("discard", YES_NO)] = None
    distances: Annotated[Distances | None, child("distances", Distances)] = None
    caches: Annotated[tuple[NumaCache, ...], children("cache", NumaCache)] = ()

    def distance(self, other: int) -> int | None:
        """To the node ``other``, if it is said."""
        told = self.distances.siblings if self.distances else ()
        return next((one.value for one in told if one.id == other), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryLatency:
    """Nanoseconds from the processors of one node to the memory of another, or to a cache before it."""

    initiator: Annotated[int, attribute("initiator", UINT)]
    target: Annotated[int, attribute("target", UINT)]
    cache: Annotated[int | None, attribute("cache", UINT, silent=("0",))] = None
    type: Annotated[str, attribute("type", LATENCIES)]
    value: Annotated[int, attribute("value", ULONG)]


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryBandwidth:
    """KiB in a second, likewise."""

    initiator: Annotated[int, attribute("initiator", UINT)]
    target: Annotated[int, attribute("target", UINT)]
    cache: Annotated[int | None, attribute("cache", UINT, silent=("0",))] = None
    type: Annotated[str, attribute("type", LATENCIES)]
    value: Annotated[int, sized("value")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Interconnects:
    """What lies between processors and memory."""

    latencies: Annotated[tuple[MemoryLatency, ...], children("latency", MemoryLatency)] = ()
    bandwidths: Annotated[tuple[MemoryBandwidth, ...], children("bandwidth", MemoryBandwidth)] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Numa:
    """``<numa>``."""

    cells: Annotated[tuple[Cell, ...], children("cell", Cell)] = ()
    interconnects: Annotated[Interconnects | None, child("interconnects", Interconnects)] = None

    @property
    def memory(self) -> int:
        """KiB of all nodes."""
        return sum(cell.memory for cell in self.cells)

    @property
    def has_distances(self) -> bool:
        return any(cell.distances for cell in self.cells)

    @property
    def has_attributes(self) -> bool:
        """Something is said of how fast the memory is (HMAT)."""
        return self.interconnects is not None or any(cell.caches for cell in self.cells)


def complete(numa: Numa, vcpus: int) -> Numa:
    """Cells in order of their ids, every processor in one, distances both ways.

    Raises ``errors.XMLError`` or ``errors.ConfigUnsupported`` for what contradicts itself.
    """
    if not numa.cells:
        raise errors.XMLError("XML error: NUMA topology defined without NUMA cells")
    cells = sorted(
        (replace(cell, id=place if cell.id is None else cell.id) for place, cell in enumerate(numa.cells)),
        key=lambda cell: cell.id or 0,
    )
    _check_ids(cells)
    taken: frozenset[int] = frozenset()
    for cell in cells:
        if taken & (cell.cpus or frozenset()):
            raise errors.ConfigUnsupported(
                f"unsupported configuration: NUMA cells {cell.id} and another one have overlapping vCPU ids"
            )
        taken |= cell.cpus or frozenset()
    if taken and max(taken) >= vcpus:
        raise errors.ConfigUnsupported(
            f"unsupported configuration: CPU IDs in <numa> exceed the <vcpu> count: {max(taken)} of {vcpus}"
        )
    missing = frozenset(range(vcpus)) - taken
    if missing:
        cells[0] = replace(cells[0], cpus=(cells[0].cpus or frozenset()) | missing)
    return replace(numa, cells=tuple(_with_distances([replace(cell, cpus=cell.cpus or None) for cell in cells])))


def _check_ids(cells: Sequence[Cell]) -> None:
    ids = [cell.id for cell in cells]
    if len(set(ids)) < len(ids):
        raise errors.XMLError("XML error: Duplicate NUMA cell info for a cell id")
    if ids != list(range(len(ids))):
        raise errors.XMLError(
            "XML error: Exactly one 'cell' element per guest NUMA cell allowed, non-contiguous ranges or ranges not"
            " starting from 0 are not allowed"
        )


def _with_distances(cells: Sequence[Cell]) -> list[Cell]:
    """What one side says of a distance is said by the other as well (virDomainNumaDefNodeDistanceParseXML)."""
    told: dict[int, dict[int, int]] = {}
    for cell in cells:
        here = cell.id or 0
        if cell.distances is None:
            continue
        if not cell.distances.siblings:
            raise errors.XMLError("XML error: NUMA distances defined without siblings")
        for one in cell.distances.siblings:
            bad = not LOCAL <= one.value <= UNREACHABLE or (one.value == LOCAL) != (one.id == here)
            if bad or one.id >= len(cells):
                raise errors.XMLError(
                    f"XML error: 'value {one.value}' is invalid for 'sibling id {one.id}' under NUMA 'cell id {here}'"
                )
            told.setdefault(here, {here: LOCAL})[one.id] = one.value
            told.setdefault(one.id, {one.id: LOCAL}).setdefault(here, one.value)
    made = []
    for cell in cells:
        known = sorted(told.get(cell.id or 0, {}).items())
        siblings = tuple(Sibling(id=other, value=value) for other, value in known)
        made.append(replace(cell, distances=Distances(siblings=siblings) if siblings else None))
    return made
