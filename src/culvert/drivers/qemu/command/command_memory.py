"""``-m``, the objects that hold the guest's memory, ``-numa``, and modules of memory.

Source: qemu/qemu_command.c of libvirt 9.0 (qemuBuildMemoryBackendProps and what calls it). What a block of RAM is
called is part of the migrated state.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from culvert.domain import memory
from culvert.domain.address import DimmAddress
from culvert.domain.definition import DomainDef
from culvert.domain.memory_device import FILES, MemoryModule, MemoryModuleSource
from culvert.domain.numa import FAR, LOCAL, Cell, Interconnects, MemoryBandwidth, MemoryLatency, Numa
from culvert.domain.platform import MemoryBacking
from culvert.domain.scalars import CPU_SET
from culvert.drivers.qemu.command.command_syntax import device, given, on_off, option, pci
from culvert.ground import errors
from culvert.ground.units import KiB, MiB

# The RAM block's name is the backend's id: part of the migrated state.
RAM_ID = "pc.ram"

# mode of <numatune> → QEMU's policy (HostMemPolicy); "restrictive" is a matter of control groups alone.
POLICIES = {"strict": "bind", "preferred": "preferred", "interleave": "interleave"}

SMALL_PAGE = 4  # KiB
DRIVERS = {"dimm": "pc-dimm", "nvdimm": "nvdimm", "virtio-pmem": "virtio-pmem-pci", "virtio-mem": "virtio-mem-pci"}

# Machines that have the memory of their nodes in one block, unless it is said otherwise (hw/i386/pc_piix.c, pc_q35.c:
# numa_mem_supported is gone with 5.1).
ONE_BLOCK = tuple(
    f"{family}-{version}"
    for family in ("pc-i440fx", "pc-q35")
    for version in (*(f"{major}.{minor}" for major in (1, 2, 3, 4) for minor in range(13)), "5.0")
)


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryPlaces:
    """Folders of the host: of huge pages by their size in KiB, with ``usual`` for who names none; ``files``: for
    memory that is to be a file."""

    hugepages: Mapping[int, str] = field(default_factory=dict)
    usual: int = 0
    files: str | None = None


NO_PLACES = MemoryPlaces()


def arguments(definition: DomainDef) -> list[str]:
    """How ``-machine`` is told of memory."""
    backing, numa = definition.memory_backing or MemoryBacking(), _numa(definition)
    parts = [f"dump-guest-core={on_off(bool(definition.dump_core))}"]
    if backing.nosharepages:
        parts.append("mem-merge=off")
    if any(one.model == "nvdimm" for one in definition.devices.memories):
        parts.append("nvdimm=on")
    if numa is None:
        parts.append(f"memory-backend={RAM_ID}")
    elif numa.has_attributes:
        parts.append("hmat=on")
    return parts


def size(definition: DomainDef, places: MemoryPlaces) -> list[str]:
    """``-m``, the RAM of a guest without nodes, and whether it stays there."""
    backing = definition.memory_backing or MemoryBacking()
    bytes_ = memory.ram(definition) * KiB
    most = definition.max_memory
    if most is not None and most.size:
        told = f"size={bytes_ // KiB}k,slots={most.slots},maxmem={most.size}k"
    else:
        told = str(bytes_ // MiB) if bytes_ % MiB == 0 else f"{bytes_ // KiB}k"
    ram = () if _numa(definition) else _objects(_Backend(definition, places, id=RAM_ID, size=bytes_, system=True))
    return ["-m", told, *ram, "-overcommit", f"mem-lock={on_off(backing.locked)}"]


def nodes(definition: DomainDef, places: MemoryPlaces) -> list[str]:
    """``-numa``. Raises ``errors.ConfigUnsupported`` where no node has a processor."""
    numa = _numa(definition)
    if numa is None:
        return []
    backends = [
        _Backend(definition, places, id=f"ram-node{cell.id}", size=memory.whole(cell.memory) * KiB, node=cell.id)
        for cell in numa.cells
    ]
    separate = not definition.machine.startswith(ONE_BLOCK) or numa.has_attributes
    separate = separate or any(one.needed for one in backends)
    first = next((cell.id for cell in numa.cells if cell.cpus), None)
    if first is None:
        raise errors.ConfigUnsupported("unsupported configuration: At least one NUMA node has to have CPUs")
    argv: list[str] = []
    if not separate and backends[0].preallocated:
        argv.append("-mem-prealloc")
    for cell, backend in zip(numa.cells, backends, strict=True):
        argv += _objects(backend) if separate else []
        cpus = "".join(f",cpus={part}" for part in CPU_SET.write(cell.cpus).split(",")) if cell.cpus else ""
        initiator = f",initiator={_initiator(numa, cell, first)}" if numa.has_attributes else ""
        held = f",memdev=ram-node{cell.id}" if separate else f",mem={memory.whole(cell.memory) // memory.MIB}"
        argv += ["-numa", f"node,nodeid={cell.id}{cpus}{initiator}{held}"]
    return [*argv, *_distances(numa), *_attributes(numa)]


def _numa(definition: DomainDef) -> Numa | None:
    return definition.cpu.numa if definition.cpu else None


def _initiator(numa: Numa, cell: Cell, first: int) -> int:
    """The node whose processors are nearest: its own, or that with the best of what is said of it."""
    if cell.cpus:
        return cell.id or 0
    told = numa.interconnects or Interconnects()
    near = [one for one in told.latencies if one.target == cell.id]
    wide = [one for one in told.bandwidths if one.target == cell.id]
    if near:
        return min(near, key=lambda one: one.value).initiator
    return max(wide, key=lambda one: one.value).initiator if wide else first


def _distances(numa: Numa) -> Iterator[str]:
    for cell in numa.cells if numa.has_distances else ():
        for other in numa.cells:
            told = cell.distance(other.id or 0)
            value = told or (LOCAL if other.id == cell.id else FAR)
            yield from ("-numa", f"dist,src={cell.id},dst={other.id},val={value}")


HIERARCHIES = ("memory", "first-level", "second-level", "third-level")
ASSOCIATIVITIES = {"none": "none", "direct": "direct", "full": "complex"}
WRITE_POLICIES = {"none": "none", "writeback": "write-back", "writethrough": "write-through"}


def _attributes(numa: Numa) -> Iterator[str]:
    told = numa.interconnects or Interconnects()
    for latency in told.latencies:
        yield from ("-numa", f"{_link(latency)}-latency,latency={latency.value}")
    for width in told.bandwidths:
        yield from ("-numa", f"{_link(width)}-bandwidth,bandwidth={width.value}K")
    for cell in numa.cells:
        for cache in cell.caches:
            how = f"associativity={ASSOCIATIVITIES[cache.associativity]},policy={WRITE_POLICIES[cache.policy]}"
            head = f"hmat-cache,node-id={cell.id},size={cache.size.value}K,level={cache.level}"
            yield from ("-numa", f"{head},{how},line={cache.line.value}")


def _link(link: MemoryLatency | MemoryBandwidth) -> str:
    place = HIERARCHIES[link.cache or 0]
    return f"hmat-lb,initiator={link.initiator},target={link.target},hierarchy={place},data-type={link.type}"


@dataclass(frozen=True, slots=True)
class _Backend:
    """One object of memory. ``node``: the guest's node that it is for; ``system``: it is the machine's own RAM."""

    definition: DomainDef
    places: MemoryPlaces
    id: str
    size: int
    node: int | None = None
    module: MemoryModule | None = None
    system: bool = False

    @property
    def source(self) -> MemoryModuleSource:
        return (self.module.source if self.module else None) or MemoryModuleSource()

    @property
    def backing(self) -> MemoryBacking:
        return self.definition.memory_backing or MemoryBacking()

    @property
    def cell(self) -> Cell | None:
        numa = _numa(self.definition)
        return None if numa is None or self.node is None else numa.cells[self.node]

    @property
    def access(self) -> str | None:
        own = self.module.access if self.module else None
        return own or (self.cell.mem_access if self.cell else None) or self.backing.access

    @property
    def discard(self) -> bool | None:
        own = self.module.discard if self.module else None
        if own is not None:
            return own
        of_node = self.cell.discard if self.cell else None
        return of_node if of_node is not None else (True if self.backing.discard else None)

    def pages(self) -> tuple[int, bool, bool]:
        """(KiB of its pages, they are huge, it must be told so); see qemuBuildMemoryGetPagesize."""
        if self.source.pagesize:
            size, huge, named = self.source.pagesize, True, True
        else:
            told = self.backing.hugepages
            if told is None:
                return 0, False, False
            if not told.pages:
                return self.places.usual, True, False
            of_node = next((page for page in told.pages if self.node in (page.nodeset or ())), None)
            found = of_node or next((page for page in told.pages if not page.nodeset), None)
            size, huge, named = (found.size if found else 0), found is not None, of_node is not None
        return (0, False, False) if size == SMALL_PAGE else (size, huge, named)

    @property
    def is_file_of_its_own(self) -> bool:
        return self.module is not None and self.module.model in FILES

    @property
    def preallocated(self) -> bool:
        mode = self.backing.allocation.mode if self.backing.allocation else None
        if self.is_file_of_its_own:
            lasting = self.source.pmem or (self.module is not None and self.module.model == "virtio-pmem")
            return mode == "immediate" or not lasting
        return mode == "immediate" or self.pages()[1]

    @property
    def needed(self) -> bool:
        """Something is said that only an object of its own can be told."""
        tuned = self.definition.numatune
        bound = tuned is not None and any(one.cellid == self.node for one in tuned.nodes)
        return bound or self.pages()[2] or self.access is not None or self.backing.source in ("file", "memfd")

    def properties(self) -> dict[str, Any]:
        page, huge, _ = self.pages()
        kind = "memory-backend-ram"
        props: dict[str, Any] = {}
        share = {"share": self.access == "shared"} if self.access else {}
        canonical = {"x-use-canonical-path-for-ramblock-id": False} if self.system else {}
        if not self.is_file_of_its_own and self.backing.source == "memfd":
            kind = "memory-backend-memfd"
            pages: dict[str, Any] = {"hugetlb": True, "hugetlbsize": page * KiB} if huge else {}
            props = {**pages, **share, **canonical}
        elif huge or self.is_file_of_its_own or self.access or self.backing.source == "file":
            kind = "memory-backend-file"
            discard = None if self.is_file_of_its_own else self.discard
            props = {"mem-path": self._path(page, huge), "discard-data": discard, **share, **canonical}
        threads = self.backing.allocation.threads if self.backing.allocation else None
        if self.module is not None and self.module.model == "virtio-mem":
            how: dict[str, Any] = {"reserve": False}
        else:
            how = {"prealloc": self.preallocated or None, "prealloc-threads": threads}
        return {
            "qom-type": kind,
            "id": self.id,
            **props,
            **how,
            "size": self.size,
            "align": (self.source.alignsize or 0) * KiB or None,
            "pmem": True if self.source.pmem else None,
            **self._host_nodes(),
        }

    def _path(self, page: int, huge: bool) -> str:
        if self.is_file_of_its_own:
            return self.source.path or ""
        if huge:
            if page not in self.places.hugepages:
                raise errors.InternalError(
                    f"internal error: Unable to find any usable hugetlbfs mount for {page} KiB"
                    if self.places.hugepages
                    else "internal error: hugetlbfs filesystem is not mounted or disabled by administrator config"
                )
            return self.places.hugepages[page]
        if self.places.files is None:
            raise errors.InternalError("internal error: there is no folder for memory that is a file")
        return self.places.files

    def _host_nodes(self) -> dict[str, Any]:
        tuned = self.definition.numatune
        own = next((one for one in tuned.nodes if one.cellid == self.node), None) if tuned else None
        whole = tuned.memory if tuned else None
        mode = own.mode if own else whole.mode if whole else "strict"
        wanted = self.source.nodemask or (own.nodeset if own else whole.nodeset if whole else None)
        if wanted is None or mode not in POLICIES:
            return {}
        return {"host-nodes": sorted(wanted), "policy": POLICIES[mode]}


def _objects(backend: _Backend) -> list[str]:
    """The object, and before it the thread that fills it, which must run where the memory is to be."""
    told = backend.properties()
    if told.get("host-nodes") is None or not told.get("prealloc"):
        return option("-object", told)
    name = f"tc-{backend.id}"
    thread = {"qom-type": "thread-context", "id": name, "node-affinity": told["host-nodes"]}
    return [*option("-object", thread), *option("-object", {**told, "prealloc-context": name})]


def modules(definition: DomainDef, places: MemoryPlaces) -> list[str]:
    """``-object`` and ``-device`` of each module."""
    argv: list[str] = []
    for one in definition.devices.memories:
        argv += _objects(_of_module(definition, one, places))
        argv += device(module(definition, one, places))
    return argv


def module_object(definition: DomainDef, one: MemoryModule, places: MemoryPlaces) -> dict[str, Any]:
    """The object of a module that is plugged in, as ``object-add`` takes it."""
    return given(_of_module(definition, one, places).properties())


def _of_module(definition: DomainDef, one: MemoryModule, places: MemoryPlaces) -> _Backend:
    return _Backend(
        definition, places, id=f"mem{one.alias}", size=one.target.size * KiB, node=one.target.node, module=one
    )


def module(definition: DomainDef, one: MemoryModule, places: MemoryPlaces) -> dict[str, Any]:
    """The properties of the device."""
    target = one.target
    virtio = one.model == "virtio-mem"
    place: dict[str, Any] = {}
    if one.is_pci:
        place = pci(definition, one.address, f"memory '{one.alias}'")
    elif isinstance(one.address, DimmAddress):
        place = {"slot": one.address.slot, "addr": one.address.base}
    return {
        "driver": DRIVERS[one.model],
        "node": target.node,
        "label-size": target.label.size * KiB if target.label else None,
        "block-size": (target.block or 0) * KiB or None,
        "requested-size": (target.requested or 0) * KiB or None,
        "unarmed": True if target.readonly else None,
        "memdev": f"mem{one.alias}",
        "prealloc": (_of_module(definition, one, places).preallocated or None) if virtio else None,
        "id": one.alias,
        **place,
    }
