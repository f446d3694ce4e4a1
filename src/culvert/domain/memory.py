"""How much RAM QEMU is given for a definition, and which sizes it loses pages of."""

from __future__ import annotations

from culvert.domain.definition import DomainDef

MIB = 1024  # in KiB, as everything here
GRAIN = 8  # the size of a RAM block is a multiple of QEMU's 8 KiB
WORD = 64 * 4  # what one word of QEMU's dirty bitmap covers: 64 pages


def ram(definition: DomainDef) -> int:
    """KiB of RAM: rounded up to whole MiB as libvirt does; under TCG a multiple of QEMU's 8 KiB stays what it is.

    QEMU before 9.0 loses writes of a TCG guest during live migration (``loses_pages``). A domain that asks for a few
    KiB more than whole MiB is spared.
    """
    size = definition.memory
    exact = definition.type == "qemu" and size % GRAIN == 0
    return size if exact else -(-size // MIB) * MIB


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
