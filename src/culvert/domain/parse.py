"""Domain XML → ``DomainDef``."""

from __future__ import annotations

from dataclasses import replace

from culvert.domain import aliases, binding, xml
from culvert.domain.cpu import Cpu
from culvert.domain.definition import DomainDef
from culvert.ground import errors

ROOT = "domain"


def parse(text: str, *, live: bool = False) -> DomainDef:
    """Read a domain description.

    What belongs to a running domain only (id, aliases libvirt made, tty of a pty console, state of a channel, indexes
    of disk sources) is kept when ``live``, else left out as libvirt does with what users send; aliases of the user's
    own (``ua-…``) are always kept.

    Raises ``errors.XMLError`` for text that is no domain description, ``errors.ConfigUnsupported`` with the path of
    the first element, attribute or value that culvert does not support.
    """
    root = xml.read(text)
    if root.tag != ROOT:
        raise errors.XMLError(f"XML error: unexpected root element <{root.tag}>, expecting <{ROOT}>")
    definition = binding.read(DomainDef, root, f"/{ROOT}")
    return definition if live else aliases.strip(replace(definition, id=None))


def parse_cpu(text: str) -> Cpu:
    """Read a ``<cpu>`` of its own, as it travels in a migration cookie. Raises as ``parse``."""
    root = xml.read(text)
    if root.tag != "cpu":
        raise errors.XMLError(f"XML error: unexpected root element <{root.tag}>, expecting <cpu>")
    return binding.read(Cpu, root, "/cpu")
