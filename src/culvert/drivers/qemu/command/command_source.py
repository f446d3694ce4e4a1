"""Block nodes: how QEMU opens the images of a disk.

Each image is two nodes, as libvirt 9.0 makes them: ``libvirt-N-storage`` (the file, the device or the server) and on
it ``libvirt-N-format`` (raw, qcow2 …), and below the guest's device a third one that copies what is read, where that
is wished. Passwords are objects of their own, whose values come by a descriptor. Source: qemu/qemu_block.c.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from culvert.domain.disk import Disk, DiskDriver
from culvert.domain.disk_source import BACKED, DEFAULT_PORTS, WEB, BackingStore, DiskSource, NetworkHost
from culvert.drivers.qemu.command.command_syntax import option
from culvert.ground import errors

# cache mode → (host page cache bypassed, flushes ignored, write cache shown to the guest), docs/formatdomain and
# qemu's own table in block.c (bdrv_parse_cache_mode).
CACHE_MODES = {
    "none": (True, False, True),
    "writethrough": (False, False, False),
    "writeback": (False, False, True),
    "directsync": (True, False, False),
    "unsafe": (False, True, True),
}

# libvirt's name of a format → QEMU's, where they differ.
QEMU_FORMATS = {"ploop": "parallels", "vhd": "vhdx"}

# What an image stands on: the name of a node; nothing, for sure; or what it says itself.
NOTHING = object()
UNKNOWN = None
Below = object


@dataclass(frozen=True, slots=True)
class SecretObject:
    """An object that holds a password: its name, and the secret that has the value."""

    id: str
    kind: str
    uuid: str | None
    usage: str | None
    value: str | None = None
    """Of one that is written in the definition itself (cookies)."""


def names(index: int) -> tuple[str, str]:
    """The two nodes of image ``index``, the upper one first."""
    return f"libvirt-{index}-format", f"libvirt-{index}-storage"


def top_index(disk: Disk) -> int:
    """The number of the disk's own image."""
    return (disk.source.index if disk.source else None) or 0


def copying(disk: Disk) -> str | None:
    """The node that copies what is read, if there is one."""
    return f"libvirt-CoR-{disk.target.dev}" if disk.driver is not None and disk.driver.copy_on_read else None


def cache_mode(driver: DiskDriver) -> str | None:
    """The cache mode that is said."""
    return None if driver.cache in (None, "default") else driver.cache


def image(disk: Disk) -> list[str]:
    """The block nodes of the medium, lower one first; nothing for an empty drive."""
    if disk.is_empty:
        return []
    assert disk.source is not None
    numbers = (disk.source.index, *(layer.index for layer in disk.layers))
    argv: list[str] = []
    for place, layer in reversed(list(enumerate(disk.layers, start=1))):
        argv += _layer(disk, layer, numbers[place] or 0, _below(numbers, place, layer))
    argv += _top(disk, disk.source, numbers[0] or 0, _below(numbers, 0, disk))
    copy = copying(disk)
    if copy is not None:
        node = {"driver": "copy-on-read", "node-name": copy, "file": names(numbers[0] or 0)[0], "discard": "unmap"}
        argv += option("-blockdev", node)
    return argv


def all_nodes(disk: Disk) -> list[str]:
    """Every node of the medium, each before those it stands on."""
    copy = copying(disk)
    return [*([copy] if copy else []), *(name for index in disk.indexes for name in names(index))]


def secrets(disk: Disk) -> list[SecretObject]:
    """The passwords that the nodes of ``disk`` need."""
    if disk.is_empty or disk.source is None:
        return []
    index = top_index(disk)
    found = _secrets(index, disk.source, encrypted=disk.encrypted is not None)
    auth, encryption = disk.authentication, disk.encrypted
    held = []
    for one in found:
        use = auth.secret if one.kind == "auth" and auth else None
        if one.kind == "encryption" and encryption:
            use = encryption.secrets[0]
        held.append(one if use is None else SecretObject(one.id, one.kind, use.uuid, use.usage))
    if auth is not None and not any(one.kind == "auth" for one in found):
        held.insert(0, SecretObject(f"{names(index)[1]}-auth-secret0", "auth", auth.secret.uuid, auth.secret.usage))
    for layer in disk.layers:
        held += _of_layer(layer)
    return held


def _of_layer(layer: BackingStore) -> list[SecretObject]:
    source = layer.source
    if source is None:
        return []
    held = []
    for one in _secrets(layer.index or 0, source, encrypted=source.encryption is not None):
        use = source.auth.secret if one.kind == "auth" and source.auth else None
        if one.kind == "encryption" and source.encryption:
            use = source.encryption.secrets[0]
        held.append(one if use is None else SecretObject(one.id, one.kind, use.uuid, use.usage))
    return held


def _secrets(index: int, source: DiskSource, *, encrypted: bool) -> list[SecretObject]:
    upper, lower = names(index)
    found = []
    if source.auth is not None:
        found.append(SecretObject(f"{lower}-auth-secret0", "auth", None, None))
    if encrypted:
        found.append(SecretObject(f"{upper}-encryption-secret0", "encryption", None, None))
    if source.cookies is not None and source.cookies.cookies:
        value = "; ".join(f"{one.name}={one.value}" for one in source.cookies.cookies)
        found.append(SecretObject(f"{lower}-httpcookie-secret0", "httpcookie", None, None, value))
    return found


def secret_objects(disk: Disk, fds: Mapping[str, int]) -> list[str]:
    """Objects with the passwords of ``disk``; ``fds``: name of an object → descriptor that has its value."""
    argv: list[str] = []
    for one in secrets(disk):
        held = {"qom-type": "secret", "id": one.id, "format": "raw", "file": f"/proc/self/fd/{fds.get(one.id, 0)}"}
        argv += option("-object", held)
    return argv


def _below(numbers: tuple[int | None, ...], place: int, image: Disk | BackingStore) -> Below:
    if image.format not in BACKED or image.backing_store is None:
        return UNKNOWN
    if image.backing_store.type is None:
        return NOTHING
    return names(numbers[place + 1] or 0)[0]


def _top(disk: Disk, source: DiskSource, index: int, below: Below) -> list[str]:
    driver = disk.driver or DiskDriver()
    detect_zeroes = driver.detect_zeroes
    if detect_zeroes == "unmap" and driver.discard != "unmap":
        detect_zeroes = "on"  # QEMU refuses to unmap zeroes where discard is off
    readonly = disk.readonly or disk.is_cdrom
    user = disk.authentication.username if disk.authentication else None
    return [
        *_storage(driver, disk.type, source, index, user),
        *_format(
            driver,
            disk.format,
            index,
            below,
            readonly=readonly,
            detect_zeroes=detect_zeroes,
            encrypted=disk.encrypted is not None,
            own=True,
        ),
    ]


def _layer(disk: Disk, layer: BackingStore, index: int, below: Below) -> list[str]:
    if layer.source is None or layer.type is None or layer.format is None:
        raise errors.InternalError(f"internal error: disk '{disk.target.dev}' stands on an image without a name")
    driver = disk.driver or DiskDriver()
    auth, encrypted = layer.source.auth, layer.source.encryption is not None
    return [
        *_storage(driver, layer.type, layer.source, index, auth.username if auth else None),
        *_format(driver, layer.format, index, below, readonly=True, detect_zeroes=None, encrypted=encrypted),
    ]


def _cache_size(driver: DiskDriver) -> int | None:
    size = driver.metadata_cache.max_size if driver.metadata_cache else None
    return size.value if size else None


def _cache(driver: DiskDriver) -> dict[str, bool] | None:
    mode = cache_mode(driver)
    if mode is None:
        return None
    direct, no_flush, _ = CACHE_MODES[mode]
    return {"direct": direct, "no-flush": no_flush}


def _storage(driver: DiskDriver, kind: str, source: DiskSource, index: int, user: str | None) -> list[str]:
    node = names(index)[1]
    storage = {
        **_place(driver, kind, source, user, node),
        "node-name": node,
        "cache": _cache(driver),
        "auto-read-only": True,
        "discard": "unmap",
    }
    return option("-blockdev", storage)


def _place(driver: DiskDriver, kind: str, source: DiskSource, user: str | None, node: str) -> dict[str, Any]:
    """What opens a source, by its type and protocol."""
    secret = f"{node}-auth-secret0" if user else None
    if source.file is not None:
        return {"driver": "file", "filename": source.file, "aio": driver.io}
    if source.dev is not None:
        return {"driver": "host_device", "filename": source.dev, "aio": driver.io}
    if kind == "volume":
        raise errors.InternalError(
            f"internal error: storage source pool '{source.pool}' volume '{source.volume}' is not translated"
        )
    if source.protocol in WEB:
        return _web(source, secret, user, node)
    if source.protocol == "nbd":
        return _nbd(source)
    return _iscsi(source, secret, user) if source.protocol == "iscsi" else _rbd(source, secret, user)


def _one_host(source: DiskSource) -> NetworkHost:
    if len(source.hosts) != 1:
        said = "nbd protocol" if source.protocol == "nbd" else f"protocol '{source.protocol}'"
        raise errors.InternalError(f"internal error: {said} accepts only one host")
    return source.hosts[0]


def _port(source: DiskSource, host: NetworkHost) -> int:
    return host.port or DEFAULT_PORTS.get(source.protocol or "", 0)


def _nbd(source: DiskSource) -> dict[str, Any]:
    host = _one_host(source)
    if host.transport == "unix":
        server = {"type": "unix", "path": host.socket}
    else:
        server = {"type": "inet", "host": host.name, "port": str(_port(source, host))}
    return {"driver": "nbd", "server": server, "export": source.name, "tls-hostname": source.tls_hostname}


def _web(source: DiskSource, secret: str | None, user: str | None, node: str) -> dict[str, Any]:
    host = _one_host(source)
    name = host.name or ""
    server = f"[{name}]" if ":" in name else name
    path = source.name or ""
    query = f"?{source.query}" if source.query else ""
    slash = "" if path.startswith("/") else "/"
    return {
        "driver": source.protocol,
        "url": f"{source.protocol}://{server}:{_port(source, host)}{slash}{path}{query}",
        "username": user,
        "password-secret": secret,
        "sslverify": source.ssl_verify,
        "cookie-secret": f"{node}-httpcookie-secret0" if source.cookies else None,
        "timeout": source.timeout or None,
        "readahead": source.readahead or None,
    }


def _iscsi(source: DiskSource, secret: str | None, user: str | None) -> dict[str, Any]:
    host = _one_host(source)
    target, _, lun = (source.name or "").partition("/")
    if not (lun or "0").isdigit():
        raise errors.InternalError(f"internal error: cannot parse target for lunStr '{target}'")
    name = host.name or ""
    server = f"[{name}]" if _is_ipv6(name) else name
    return {
        "driver": "iscsi",
        "portal": f"{server}:{_port(source, host)}",
        "target": target,
        "lun": int(lun or 0),
        "transport": "tcp",
        "user": user,
        "password-secret": secret,
        "initiator-name": source.initiator.iqn if source.initiator else None,
    }


def _is_ipv6(name: str) -> bool:
    try:
        return isinstance(ipaddress.ip_address(name), ipaddress.IPv6Address)
    except ValueError:
        return False


def _rbd(source: DiskSource, secret: str | None, user: str | None) -> dict[str, Any]:
    pool, _, name = (source.name or "").partition("/")
    return {
        "driver": "rbd",
        "pool": pool,
        "image": name,
        "snapshot": source.snapshot,
        "conf": source.config,
        "server": [{"host": host.name, "port": str(host.port or 0)} for host in source.hosts] or None,
        "user": user,
        "auth-client-required": ["cephx", "none"] if user else None,
        "key-secret": secret,
    }


def _format(
    driver: DiskDriver,
    kind: str,
    index: int,
    below: Below,
    *,
    readonly: bool,
    detect_zeroes: str | None,
    encrypted: bool,
    own: bool = False,
) -> list[str]:
    secret = f"{names(index)[0]}-encryption-secret0"
    luks = encrypted and kind == "raw"
    node: dict[str, Any] = {
        "node-name": names(index)[0],
        "read-only": readonly,
        "discard": driver.discard,
        "detect-zeroes": detect_zeroes,
        "cache": _cache(driver),
        "driver": "luks" if luks else QEMU_FORMATS.get(kind, kind),
        "key-secret": secret if luks else None,
        "encrypt": {"format": "luks", "key-secret": secret} if encrypted and not luks else None,
        "cache-size": _cache_size(driver) if kind == "qcow2" and own else None,
        "file": names(index)[1],
        "backing": None if below is NOTHING else below,
    }
    flag, text = option("-blockdev", node)
    # Said in so many words, a backing file named in the image is not opened.
    return [flag, text[:-1] + ',"backing":null}' if below is NOTHING else text]
