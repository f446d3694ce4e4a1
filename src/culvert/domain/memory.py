"""How much RAM QEMU is given for a definition, and which sizes it loses pages of."""

from __future__ import annotations

from dataclasses import replace

from culvert.domain import memory_device
from culvert.domain.definition import DomainDef

MIB = 1024  # in KiB, as everything here
GRAIN = 8  # the size of a RAM block is a multiple of QEMU's 8 KiB
WORD = 64 * 4  # what one word of QEMU's dirty bitmap covers: 64 pages


def ram(definition: DomainDef) -> int:
    """KiB of RAM: rounded up to whole MiB as libvirt does; under TCG a multiple of QEMU's 8 KiB stays what it is.

    QEMU before 9.0 loses writes of a TCG guest during live migration (``loses_pages``). A domain that asks for a few
    KiB more than whole MiB is spared.
    """
    numa = definition.cpu.numa if definition.cpu else None
    if numa is not None:
        return sum(whole(cell.memory) for cell in numa.cells)
    size = definition.memory - modules(definition)
    exact = definition.type == "qemu" and size % GRAIN == 0
    return size if exact else -(-size // MIB) * MIB


def whole(size: int) -> int:
    """``size`` KiB up to the next MiB."""
    return -(-size // MIB) * MIB


def modules(definition: DomainDef) -> int:
    """KiB of all modules beside the RAM."""
    return sum(one.target.size for one in definition.devices.memories)


def aligned(definition: DomainDef) -> DomainDef:
    """``definition`` with sizes that QEMU takes, where it has nodes or modules (qemuDomainAlignMemorySizes)."""
    cpu, held = definition.cpu, definition.devices.memories
    most = definition.max_memory
    if (cpu is None or cpu.numa is None) and not held and most is None:
        return definition
    if cpu is not None and cpu.numa is not None:
        cells = tuple(replace(cell, memory=whole(cell.memory)) for cell in cpu.numa.cells)
        cpu = replace(cpu, numa=replace(cpu.numa, cells=cells))
    made = tuple(memory_device.aligned(one) for one in held)
    size = ram(definition) + sum(one.target.size for one in made)
    return replace(
        definition,
        cpu=cpu,
        max_memory=replace(most, size=whole(most.size)) if most and most.size else most,
        memory=size,
        current_memory=min(definition.current_memory or size, size),
        devices=replace(definition.devices, memories=made),
    )


def loses_pages(definition: DomainDef) -> bool:
    """Whether QEMU's dirty bitmap of this guest takes the way that forgets TCG's own copies of its state.

    Seen with 7.2.22: a guest under TCG whose RAM is a whole number of bitmap words (64 pages) arrives with stale
    pages when it migrates in several iterations; mended upstream by "physmem: Fix migration dirty bitmap coherency
    with TCG memory access".
    """
    return definition.type == "qemu" and ram(definition) % WORD == 0


def safe(definition: DomainDef) -> int:
    """The next size in KiB that is given as it is asked for and loses no pages."""
    size = ram(definition)
    return size + GRAIN if size % WORD == 0 else size
