"""``<pool>``: a folder whose files are disk images, the one kind of storage pool there is.

Source: libvirt docs/formatstorage.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated

from culvert.domain import binding, xml
from culvert.domain.binding import attribute, child, content, flag, leaf
from culvert.domain.scalars import NAME, PATH, TEXT, ULONG, UUID, Integer, Pattern, one_of
from culvert.ground import errors

SERVED = "dir"
TYPES = (
    *(SERVED, "fs", "netfs", "logical", "disk", "iscsi", "iscsi-direct", "scsi", "mpath", "rbd", "sheepdog"),
    *("gluster", "zfs", "vstorage"),
)
"""libvirt's, in its order (virStoragePoolType)."""
FORMATS = (
    "raw",
    "qcow2",
    "qcow",
    "qed",
    "vmdk",
    "vdi",
    "vpc",
    "vhd",
    "ploop",
    "iso",
)  # that a volume is known to have
SAME = 2**32 - 1  # owner or group that is left as it is; -1 is another spelling of it
_ID = Integer(low=-1, high=SAME)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bytes:
    """What a pool holds, as it is shown. What is said of it in a definition counts for nothing."""

    unit: Annotated[str | None, attribute("unit")] = None
    value: Annotated[int, content(ULONG)] = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Permissions:
    """Of the folder when it is made; ``owner``, ``group``: ids, ``SAME`` for the daemon's own."""

    mode: Annotated[str | None, leaf("mode", Pattern("[0-7]{1,4}", "mode in octal digits"))] = None
    owner: Annotated[int | None, leaf("owner", _ID)] = None
    group: Annotated[int | None, leaf("group", _ID)] = None
    label: Annotated[str | None, leaf("label", TEXT)] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolTarget:
    """The folder."""

    path: Annotated[str, leaf("path", PATH)]
    permissions: Annotated[Permissions | None, child("permissions", Permissions)] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolDef:
    """The definition of a pool."""

    type: Annotated[str, attribute("type", one_of(SERVED))]
    name: Annotated[str, leaf("name", NAME)]
    uuid: Annotated[str | None, leaf("uuid", UUID)] = None
    capacity: Annotated[Bytes | None, child("capacity", Bytes)] = None
    allocation: Annotated[Bytes | None, child("allocation", Bytes)] = None
    available: Annotated[Bytes | None, child("available", Bytes)] = None
    source: Annotated[bool, flag("source")] = False
    target: Annotated[PoolTarget, child("target", PoolTarget)]


def parse(text: str) -> PoolDef:
    """Read a pool description. Raises ``errors.XMLError``, ``errors.ConfigUnsupported`` as for a domain."""
    root = xml.read(text)
    if root.tag != "pool":
        raise errors.XMLError(f"XML error: unexpected root element <{root.tag}>, expecting <pool>")
    # What the folder held when it was shown is no part of a definition.
    return replace(binding.read(PoolDef, root, "/pool"), capacity=None, allocation=None, available=None)


def format(pool: PoolDef, capacity: int, available: int) -> str:
    """The XML of ``pool``, whose folder's file system has so many bytes, and so many that are free."""
    told = replace(
        pool,
        capacity=Bytes(unit="bytes", value=capacity),
        allocation=Bytes(unit="bytes", value=capacity - available),
        available=Bytes(unit="bytes", value=available),
    )
    return xml.render(binding.write(told, "pool"))


def capabilities() -> str:
    """Which kinds of pools there are, and what the volumes in them can be: docs/formatstoragecaps of libvirt."""
    pools: list[xml.Node | xml.Verbatim] = []
    for name in TYPES:
        pool = xml.Node("pool", {"type": name, "supported": "yes" if name == SERVED else "no"})
        if name == SERVED:
            formats = xml.Node("enum", {"name": "targetFormatType"})
            formats.children = [xml.Node("value", text=each) for each in FORMATS]
            options = [xml.Node("defaultFormat", {"type": FORMATS[0]}), formats]
            pool.children = [xml.Node("volOptions", children=[*options])]
        pools.append(pool)
    return xml.render(xml.Node("storagepoolCapabilities", children=pools))
