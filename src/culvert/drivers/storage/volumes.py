"""The disk images in a folder, as the volumes of a storage pool."""

from __future__ import annotations

import logging
import os
import stat
import struct
from dataclasses import dataclass, replace

from culvert.domain import binding, xml
from culvert.domain.pool import Permissions
from culvert.domain.volume import ImageFeatures, Size, Timestamps, VolumeBacking, VolumeDef, VolumeTarget
from culvert.drivers.qemu import chain, image
from culvert.ground import errors

log = logging.getLogger(__name__)

# What an image of a format begins with, where, at the same place of each.
_MAGIC = {
    "qcow2": b"QFI\xfb",
    "vmdk": b"KDMV",
    "qed": b"QED\0",
    "vpc": b"conectix",
    "vhd": b"vhdxfile",
    "ploop": b"WithoutFreeSpace",
}
_VDI = (64, b"\x7f\x10\xda\xbe")
_ISO = (32769, b"CD001")  # offset and text of ISO 9660's first volume descriptor
_QCOW2 = struct.Struct(">4sI")
_CLUSTER_BITS = struct.Struct(">I")  # at byte 20
_CAPACITIES = {"vmdk": ("<Q", 12, 512), "vdi": ("<Q", 368, 1), "qed": ("<Q", 48, 1), "vpc": (">Q", 48, 1)}
"""Format → form and place of the virtual size in its header, and what it counts."""


@dataclass(frozen=True, slots=True)
class Volume:
    """A file of a pool's folder; its path is also its key."""

    pool: str
    name: str
    path: str
    format: str
    sizes: image.Sizes


def describe(volume: Volume) -> str:
    """A volume's XML. Blocks. Raises ``errors.SystemCallError``, ``errors.NoStorageVol`` for one that is gone."""
    sizes = volume.sizes
    try:
        about = os.stat(volume.path)
    except OSError as err:
        raise errors.NoStorageVol(f"no storage vol with matching path '{volume.path}'") from err
    compat, cluster = _qcow2(volume.path) if volume.format == "qcow2" else (None, None)
    told = VolumeDef(
        type="file",
        name=volume.name,
        key=volume.path,
        capacity=_bytes(sizes.capacity),
        allocation=_bytes(sizes.allocation),
        physical=_bytes(sizes.physical),
        target=VolumeTarget(
            path=volume.path,
            permissions=_permissions(about),
            timestamps=_timestamps(about),
            compat=compat,
            cluster_size=Size(unit="B", value=cluster) if cluster else None,
            features=ImageFeatures() if compat else None,
        ),
        backing=_backing(volume),
    )
    node = binding.write(told, "volume")
    for child in node.children:
        if isinstance(child, xml.Node) and child.tag == "target":
            child.children.insert(1, xml.Node("format", {"type": volume.format}))
    return xml.render(node)


def _bytes(value: int) -> Size:
    return Size(unit="bytes", value=value)


def _permissions(about: os.stat_result) -> Permissions:
    return Permissions(mode=f"{stat.S_IMODE(about.st_mode):04o}", owner=about.st_uid, group=about.st_gid)


def _timestamps(about: os.stat_result) -> Timestamps:
    # Not when it was made: libvirt has that as 0 where its libc does not tell.
    return Timestamps(
        atime=_time(about.st_atime_ns), mtime=_time(about.st_mtime_ns), ctime=_time(about.st_ctime_ns), btime="0"
    )


def _time(ns: int) -> str:
    seconds, rest = divmod(ns, 1_000_000_000)
    return f"{seconds}.{rest:09d}" if rest else str(seconds)


def _qcow2(path: str) -> tuple[str | None, int | None]:
    """(compat, bytes of a cluster) of a qcow2 image; the older kind has no word for itself."""
    head = _head(path, 24)
    if len(head) < 24:
        return None, None
    _, version = _QCOW2.unpack_from(head)
    (bits,) = _CLUSTER_BITS.unpack_from(head, 20)
    return "1.1" if version >= 3 else None, 1 << bits if 9 <= bits <= 21 else None


def _backing(volume: Volume) -> VolumeBacking | None:
    if volume.format != "qcow2":
        return None
    try:
        store = chain.below(volume.path, volume.format)
    except errors.RequestError:
        return None
    if store is None or store.type not in ("file", "block") or store.path is None:
        return None
    backing = VolumeBacking(path=store.path, format=store.format)
    try:
        about = os.stat(store.path)
    except OSError:
        return backing
    return replace(backing, permissions=_permissions(about), timestamps=_timestamps(about))


def find(pool: str, folder: str) -> list[Volume]:
    """The files of the ``folder`` of ``pool``, by name. Blocks. Raises ``OSError``."""
    found = []
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        if entry.name.startswith("."):
            continue
        one = _volume(pool, folder, entry)
        if one is not None:
            found.append(one)
    return found


def named(pool: str, folder: str, name: str) -> Volume | None:
    """The file ``name`` of the folder, if there is such a volume. Blocks."""
    if "/" in name or name.startswith(".") or not name:
        return None
    try:
        with os.scandir(folder) as entries:
            entry = next((one for one in entries if one.name == name), None)
    except OSError:
        return None
    return _volume(pool, folder, entry) if entry is not None else None


def _volume(pool: str, folder: str, entry: os.DirEntry[str]) -> Volume | None:
    path = f"{folder}/{entry.name}"
    try:
        if not entry.is_file():
            return None
        kind = _format(path)
        sizes = image.sizes(path, kind)
        return Volume(pool, entry.name, path, kind, replace(sizes, capacity=_capacity(path, kind, sizes.capacity)))
    except (OSError, errors.SystemCallError) as err:
        log.debug("pool=%s file=%s cannot be looked at reason=%r", pool, entry.name, str(err))
        return None


def _head(path: str, size: int) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(size)
    except OSError as err:
        raise errors.SystemCallError(f"cannot read '{path}': {err.strerror}", errno=err.errno) from err


def _capacity(path: str, kind: str, fallback: int) -> int:
    told = _CAPACITIES.get(kind)
    if told is None:
        return fallback
    form, place, unit = told
    head = _head(path, place + struct.calcsize(form))
    return int(struct.unpack_from(form, head, place)[0]) * unit if len(head) >= place + 8 else fallback


def _format(path: str) -> str:
    """What kind of image it is, for show: how a guest's disk is opened is said by its definition alone."""
    with open(path, "rb") as file:
        head = file.read(512)
        for kind, magic in _MAGIC.items():
            if head.startswith(magic):
                return kind
        if head[_VDI[0] :].startswith(_VDI[1]):
            return "vdi"
        file.seek(_ISO[0])
        return "iso" if file.read(len(_ISO[1])) == _ISO[1] else "raw"
