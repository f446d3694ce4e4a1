"""``<memory>`` among the devices: modules of memory beside what the guest is started with, and ``<maxMemory>``.

Source: docs/formatdomain, "Memory devices"; conf/domain_conf.c for the order of output.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated

from culvert.domain import address
from culvert.domain.binding import amount, attribute, child, flag, leaf, lone, sized, variant
from culvert.domain.numa import ACCESS
from culvert.domain.scalars import ANY_TEXT, CPU_SET, PATH, UINT, YES_NO, one_of
from culvert.ground import errors

PCI_MODELS = frozenset({"virtio-mem", "virtio-pmem"})
FILES = frozenset({"nvdimm", "virtio-pmem"})  # whose memory is a file
GRAIN = 2048  # KiB: QEMU's modules are a multiple of it


@dataclass(frozen=True, slots=True, kw_only=True)
class MaxMemory:
    """The most that the guest can have with modules in all ``slots``, in KiB."""

    slots: Annotated[int | None, attribute("slots", UINT)] = None
    size: Annotated[int | None, sized("")] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryModuleSource:
    """Where its memory comes from: nodes of the host, pages of a size, or a file."""

    path: Annotated[str | None, leaf("path", PATH)] = None
    alignsize: Annotated[int | None, amount("alignsize")] = None
    pmem: Annotated[bool, flag("pmem")] = False
    nodemask: Annotated[frozenset[int] | None, leaf("nodemask", CPU_SET)] = None
    pagesize: Annotated[int | None, amount("pagesize")] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryLabel:
    """The part of an NVDIMM that holds its labels."""

    size: Annotated[int, amount("size")]


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryModuleTarget:
    """What the guest sees: ``size`` in KiB on its own ``node``; ``block`` and ``requested`` of a virtio-mem, of
    which it has taken ``current``."""

    size: Annotated[int, amount("size")]
    node: Annotated[int | None, leaf("node", UINT)] = None
    label: Annotated[MemoryLabel | None, child("label", MemoryLabel)] = None
    readonly: Annotated[bool, flag("readonly")] = False
    block: Annotated[int | None, amount("block")] = None
    requested: Annotated[int | None, amount("requested")] = None
    current: Annotated[int | None, amount("current")] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryModule:
    """One of them."""

    model: Annotated[str, attribute("model", one_of("dimm", "nvdimm", "virtio-pmem", "virtio-mem"))]
    access: Annotated[str | None, attribute("access", ACCESS)] = None
    discard: Annotated[bool | None, attribute("discard", YES_NO)] = None
    source: Annotated[MemoryModuleSource | None, child("source", MemoryModuleSource, hollow="*")] = None
    target: Annotated[MemoryModuleTarget, child("target", MemoryModuleTarget)]
    alias: Annotated[str | None, lone("alias", "name", ANY_TEXT)] = None
    address: Annotated[
        address.PciAddress | address.DimmAddress | None, variant("address", "type", address.MODULE)
    ] = None

    @property
    def is_pci(self) -> bool:
        return self.model in PCI_MODELS


def place(modules: Sequence[MemoryModule], slots: int) -> tuple[MemoryModule, ...]:
    """A slot for each module that is on no bus.

    Raises ``errors.ConfigUnsupported`` where there are too few, or two want one (qemuDomainAssignMemorySlots).
    """
    held = [one for one in modules if not one.is_pci]
    if held and slots < len(held):
        raise errors.ConfigUnsupported(
            f"unsupported configuration: count of memory devices '{len(held)}' exceeds slots count '{slots}'"
            if slots
            else "unsupported configuration: memory hotplug is not enabled: /domain/maxMemory is missing"
        )
    taken: set[int] = set()
    for one in held:
        slot = one.address.slot if isinstance(one.address, address.DimmAddress) else None
        if slot is None:
            continue
        if slot >= slots:
            raise errors.ConfigUnsupported(
                f"unsupported configuration: memory device slot '{slot}' exceeds slots count '{slots}'"
            )
        if slot in taken:
            raise errors.ConfigUnsupported(
                f"unsupported configuration: memory device slot '{slot}' is already being used by another memory"
                " device"
            )
        taken.add(slot)
    free = (slot for slot in range(slots) if slot not in taken)
    made = []
    for one in modules:
        where = one.address if isinstance(one.address, address.DimmAddress) else address.DimmAddress()
        wanting = not one.is_pci and where.slot is None
        made.append(replace(one, address=replace(where, slot=next(free))) if wanting else one)
    return tuple(made)


def aligned(one: MemoryModule) -> MemoryModule:
    """With the next size that QEMU takes."""
    size = -(-one.target.size // GRAIN) * GRAIN
    return replace(one, target=replace(one.target, size=size))
