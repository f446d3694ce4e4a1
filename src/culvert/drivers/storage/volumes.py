"""The disk images in a folder, as the volumes of a storage pool."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass

from culvert.domain import xml
from culvert.drivers.qemu import image
from culvert.ground import errors

log = logging.getLogger(__name__)

_QCOW2 = b"QFI\xfb"
_ISO = (32769, b"CD001")  # offset and text of ISO 9660's first volume descriptor


@dataclass(frozen=True, slots=True)
class Volume:
    """A file of a pool's folder; its path is also its key."""

    pool: str
    name: str
    path: str
    format: str
    sizes: image.Sizes


def describe(volume: Volume) -> str:
    """A volume's XML."""
    sizes = volume.sizes
    told = {"capacity": sizes.capacity, "allocation": sizes.allocation, "physical": sizes.physical}
    children: list[xml.Node | xml.Verbatim] = [
        xml.Node("name", text=volume.name),
        xml.Node("key", text=volume.path),
        *(xml.Node(name, {"unit": "bytes"}, str(value)) for name, value in told.items()),
        xml.Node(
            "target", children=[xml.Node("path", text=volume.path), xml.Node("format", {"type": volume.format})]
        ),
    ]
    return xml.render(xml.Node("volume", {"type": "file"}, children=children))


def find(pool: str, folder: str) -> list[Volume]:
    """The files of the ``folder`` of ``pool``, by name. Blocks. Raises ``OSError``."""
    found = []
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        if not entry.is_file() or entry.name.startswith("."):
            continue
        path = f"{folder}/{entry.name}"
        try:
            kind = _format(path)
            found.append(Volume(pool, entry.name, path, kind, image.sizes(path, kind)))
        except (OSError, errors.SystemCallError) as err:
            log.debug("pool=%s file=%s cannot be looked at reason=%r", pool, entry.name, str(err))
    return found


def _format(path: str) -> str:
    """What kind of image it is, for show: how a guest's disk is opened is said by its definition alone."""
    with open(path, "rb") as file:
        if file.read(len(_QCOW2)) == _QCOW2:
            return "qcow2"
        file.seek(_ISO[0])
        return "iso" if file.read(len(_ISO[1])) == _ISO[1] else "raw"
