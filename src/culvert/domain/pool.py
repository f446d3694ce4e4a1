"""``<pool>``: a folder whose files are disk images, the one kind of storage pool there is.

Source: libvirt docs/formatstorage.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from culvert.domain import binding, xml
from culvert.domain.binding import attribute, child, flag, leaf
from culvert.domain.scalars import NAME, PATH, UUID, one_of
from culvert.ground import errors


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolTarget:
    """The folder."""

    path: Annotated[str, leaf("path", PATH)]


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolDef:
    """The definition of a pool."""

    type: Annotated[str, attribute("type", one_of("dir"))]
    name: Annotated[str, leaf("name", NAME)]
    uuid: Annotated[str | None, leaf("uuid", UUID)] = None
    source: Annotated[bool, flag("source")] = False
    target: Annotated[PoolTarget, child("target", PoolTarget)]


def parse(text: str) -> PoolDef:
    """Read a pool description. Raises ``errors.XMLError``, ``errors.ConfigUnsupported`` as for a domain."""
    root = xml.read(text)
    if root.tag != "pool":
        raise errors.XMLError(f"XML error: unexpected root element <{root.tag}>, expecting <pool>")
    return binding.read(PoolDef, root, "/pool")


def node(pool: PoolDef) -> xml.Node:
    """``pool`` as markup."""
    return binding.write(pool, "pool")
