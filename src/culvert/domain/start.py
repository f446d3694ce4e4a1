"""The definition a domain is started from: what was left open until the start is settled."""

from __future__ import annotations

from dataclasses import replace

from culvert.domain import aliases, cpu, memory, startable
from culvert.domain.definition import DomainDef
from culvert.domain.platform import Resource


def prepare(definition: DomainDef) -> DomainDef:
    """A complete ``definition`` with its CPU settled, a resource group and an alias for every device.

    Raises ``errors.ConfigUnsupported`` for a CPU that cannot be settled here, and for what only a control group could
    do: culvert makes none. ``<shares>`` are a weight among groups, and say nothing where there are none.
    """
    startable.check(definition)
    if definition.cpu is not None:
        definition = replace(definition, cpu=cpu.as_started(definition.cpu, definition.type))
    definition = memory.aligned(definition)
    # The group that libvirt names in every running guest's XML (qemu/qemu_cgroup.c); here it is a name only.
    return aliases.assign(replace(definition, resource=definition.resource or Resource(partition="/machine")))
