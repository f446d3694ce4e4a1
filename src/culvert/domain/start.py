"""The definition a domain is started from: what was left open until the start is settled."""

from __future__ import annotations

from dataclasses import replace

from culvert.domain import aliases, cpu
from culvert.domain.definition import DomainDef


def prepare(definition: DomainDef) -> DomainDef:
    """A complete ``definition`` with its CPU settled and an alias for every device.

    Raises ``errors.ConfigUnsupported`` for a CPU that cannot be settled here.
    """
    if definition.cpu is not None:
        definition = replace(definition, cpu=cpu.as_started(definition.cpu, definition.type))
    return aliases.assign(definition)
