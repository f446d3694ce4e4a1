"""The images that an image stands on, read off their headers as libvirt reads them before it starts a guest.

Source: docs/interop/qcow2.txt of QEMU; storage_file/storage_source.c of libvirt 9.0
(virStorageSourceGetMetadataRecurse) for what is refused.
"""

from __future__ import annotations

import json
import os
import stat
import struct
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from culvert.domain.disk_source import BACKED, DEFAULT_PORTS, BackingStore, DiskSource, NetworkHost
from culvert.drivers.qemu import image
from culvert.ground import errors

QCOW2 = b"QFI\xfb"
_HEADER = struct.Struct(">4sIQI")  # magic, version, where the backing file's name is, how long that is
_V3 = struct.Struct(">I")  # length of a version 3 header, at byte 100
_EXTENSION = struct.Struct(">II")
_BACKING_FORMAT = 0xE2792ACA
_NAME_MOST = 1023
_EXTENSIONS_MOST = 64
MOST = 200  # images in a chain (QEMU_DOMAIN_STORAGE_SOURCE_CHAIN_MAX_DEPTH)

END = BackingStore()
"""Nothing is below, for sure."""


def below(path: str, kind: str, depth: int = 0) -> BackingStore | None:
    """What the image ``path`` of format ``kind`` stands on, with all below that; ``END`` where it stands on nothing;
    None where only QEMU can say. Blocks.

    Raises ``errors.SystemCallError`` for a file that cannot be read, ``errors.OperationFailed`` for an image whose
    format is said nowhere and that stands on another one, and for a chain without an end.
    """
    if kind not in BACKED:
        return END
    if kind != "qcow2":
        return None
    if depth >= MOST:
        raise errors.OperationFailed(
            f"operation failed: backing store chain of '{path}' exceeds the maximum depth of {MOST}"
        )
    name, told = _read(path)
    if name is None:
        return END
    source = _source(name, path)
    if source is None:
        return None
    found = source[1]
    if source[0] == "network":
        return BackingStore(type="network", format=told or "raw", source=found, backing_store=None)
    lower = found.file or ""
    try:
        about = os.stat(lower)
    except OSError as err:
        raise errors.SystemCallError(
            f"Cannot access backing file '{lower}' of storage file '{path}': {err.strerror}", errno=err.errno
        ) from err
    block = stat.S_ISBLK(about.st_mode)
    form = told or _probed(lower, path)
    where = DiskSource(dev=lower) if block else found
    store = BackingStore(type="block" if block else "file", format=form, source=where)
    return replace(store, backing_store=below(lower, form, depth + 1))


def format_of(path: str) -> str:
    """The format of an image of which nothing is said, by its first bytes. Blocks.

    Raises ``errors.SystemCallError``.
    """
    return "qcow2" if _head(path, len(QCOW2)) == QCOW2 else "raw"


def _probed(path: str, above: str) -> str:
    form = format_of(path)
    if form == "qcow2" and _read(path)[0] is not None:
        raise errors.OperationFailed(
            f"operation failed: format of backing image '{path}' of image '{above}' was not specified in the image"
            " metadata (See https://libvirt.org/kbase/backing_chains.html for troubleshooting)"
        )
    return form


def _head(path: str, size: int, offset: int = 0) -> bytes:
    descriptor = image.opened(path)
    try:
        return os.pread(descriptor, size, offset)
    except OSError as err:
        raise errors.SystemCallError(f"cannot read '{path}': {err.strerror}", errno=err.errno) from err
    finally:
        os.close(descriptor)


def _read(path: str) -> tuple[str | None, str | None]:
    """(name, format) of the backing file that a qcow2 image names, as it is written there."""
    head = _head(path, _HEADER.size)
    if len(head) < _HEADER.size or not head.startswith(QCOW2):
        return None, None
    _, version, offset, size = _HEADER.unpack(head)
    if not offset or not size or size > _NAME_MOST:
        return None, None
    name = _head(path, size, offset).decode("utf-8", "surrogateescape").rstrip("\0")
    at = 72
    if version >= 3:
        length = _head(path, _V3.size, 100)
        at = _V3.unpack(length)[0] if len(length) == _V3.size else 104
    return name or None, _format_extension(path, at)


def _format_extension(path: str, at: int) -> str | None:
    for _ in range(_EXTENSIONS_MOST):
        head = _head(path, _EXTENSION.size, at)
        if len(head) < _EXTENSION.size:
            return None
        kind, size = _EXTENSION.unpack(head)
        if not kind:
            return None
        if kind == _BACKING_FORMAT and size <= _NAME_MOST:
            told = _head(path, size, at + _EXTENSION.size).decode("ascii", "replace").rstrip("\0")
            return {"parallels": "ploop", "vhdx": "vhd"}.get(told, told) or None
        at += _EXTENSION.size + (size + 7 & ~7)
    return None


def _source(name: str, above: str) -> tuple[str, DiskSource] | None:
    """(type, source) of what an image names; None for what only QEMU understands."""
    if name.startswith("json:"):
        return _of_json(name.removeprefix("json:"))
    scheme, colon, rest = name.partition("://")
    if colon and scheme in ("nbd", "http", "https"):
        return _of_uri(scheme, name)
    plain = rest if colon and scheme == "file" else name.removeprefix("file:")
    # As QEMU sees it: a protocol is what has a colon before any slash.
    if ":" in plain.partition("/")[0]:
        return None
    return "file", DiskSource(file=os.path.join(os.path.dirname(above), plain))


def _of_uri(scheme: str, name: str) -> tuple[str, DiskSource] | None:
    try:
        told = urlsplit(name)
        port = told.port or DEFAULT_PORTS[scheme]
    except ValueError:
        return None
    if not told.hostname or told.username is not None:
        return None
    hosts = (NetworkHost(name=told.hostname, port=port),)
    path, query = told.path.removeprefix("/"), told.query or None
    return "network", DiskSource(protocol=scheme, name=path or None, query=query, hosts=hosts)


def _of_json(text: str) -> tuple[str, DiskSource] | None:
    try:
        told: Any = json.loads(text)
    except (ValueError, RecursionError):
        return None
    for _ in range(2):  # a format's own node, and the file below it
        if not isinstance(told, dict):
            return None
        if told.get("driver") == "file" and isinstance(told.get("filename"), str):
            return "file", DiskSource(file=told["filename"])
        if isinstance(told.get("file.filename"), str):
            return "file", DiskSource(file=told["file.filename"])
        told = told.get("file")
    return None
