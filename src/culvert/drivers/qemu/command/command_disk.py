"""``-blockdev`` and ``-device`` of disks.

Each image is two block nodes, as libvirt 9.0 makes them: ``libvirt-N-storage`` (the file or device) and below the
guest's device ``libvirt-N-format`` (raw or qcow2). Source: qemu/qemu_block.c, qemu/qemu_command.c.
"""

from __future__ import annotations

from typing import Any

from culvert.domain.address import DriveAddress
from culvert.domain.definition import DomainDef
from culvert.domain.disk import Disk, DiskDriver
from culvert.drivers.qemu.command.command_syntax import controller_alias, device, on_off, option, pci
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

STORAGE_DRIVERS = {"file": "file", "block": "host_device"}


def disks(definition: DomainDef, boot_order: dict[str, int]) -> list[str]:
    """All disks in order; ``boot_order``: alias → bootindex of those the guest boots from."""
    argv: list[str] = []
    for disk in definition.devices.disks:
        argv += one_disk(definition, disk, boot_order.get(disk.alias or ""))
    return argv


def one_disk(definition: DomainDef, disk: Disk, bootindex: int | None) -> list[str]:
    """``disk``, which has its names and its place in ``definition``: the image's nodes, then the device."""
    node = node_names(disk)[0] if disk.path is not None else None
    return [*image(disk), *_device(definition, disk, node, bootindex)]


def image(disk: Disk) -> list[str]:
    """The block nodes of the medium, lower one first; nothing for an empty drive."""
    if disk.path is None:
        return []
    assert disk.source is not None
    return _nodes(disk, disk.source.index or 0, disk.path)


def node_names(disk: Disk) -> tuple[str, str]:
    """The nodes of the medium: the one the device is on, and the one below it."""
    number = disk.source.index if disk.source else 0
    return f"libvirt-{number}-format", f"libvirt-{number}-storage"


def _cache_mode(driver: DiskDriver) -> str | None:
    return None if driver.cache in (None, "default") else driver.cache


def _nodes(disk: Disk, index: int, path: str) -> list[str]:
    driver = disk.driver or DiskDriver()
    cache: dict[str, bool] | None = None
    mode = _cache_mode(driver)
    if mode is not None:
        direct, no_flush, _ = CACHE_MODES[mode]
        cache = {"direct": direct, "no-flush": no_flush}
    storage = {
        "driver": STORAGE_DRIVERS[disk.type],
        "filename": path,
        "aio": driver.io,
        "node-name": f"libvirt-{index}-storage",
        "cache": cache,
        "auto-read-only": True,
        "discard": "unmap",
    }
    detect_zeroes = driver.detect_zeroes
    if detect_zeroes == "unmap" and driver.discard != "unmap":
        detect_zeroes = "on"  # QEMU refuses to unmap zeroes where discard is off
    node: dict[str, Any] = {
        "node-name": f"libvirt-{index}-format",
        "read-only": disk.readonly or disk.is_cdrom,
        "discard": driver.discard,
        "detect-zeroes": detect_zeroes,
        "cache": cache,
        "driver": disk.format,
        "file": f"libvirt-{index}-storage",
    }
    # The empty <backingStore/> says that the chain ends here: a backing file named in the image is not opened.
    backing = {"backing": None} if disk.backing_store and disk.format == "qcow2" else {}
    return [*option("-blockdev", storage), *_with_null(node, backing)]


def _with_null(node: dict[str, Any], backing: dict[str, Any]) -> list[str]:
    flag, text = option("-blockdev", node)
    return [flag, text[:-1] + ',"backing":null}' if backing else text]


def _device(definition: DomainDef, disk: Disk, node: str | None, bootindex: int | None) -> list[str]:
    driver = disk.driver or DiskDriver()
    mode = _cache_mode(driver)
    write_error = None if driver.error_policy in (None, "default") else driver.error_policy
    read_error = None if driver.rerror_policy in (None, "default") else driver.rerror_policy
    if read_error is None and write_error != "enospace":
        read_error = write_error
    head, share = _place(definition, disk)
    return device(
        {
            **head,
            "share-rw": share,
            "drive": node,
            "id": disk.alias,
            "bootindex": bootindex,
            "write-cache": on_off(CACHE_MODES[mode][2]) if mode and node else None,
            "serial": disk.serial,
            # A number in JSON; it is an error as text.
            "wwn": int(disk.wwn, 16) if disk.wwn and disk.bus != "virtio" else None,
            "werror": "enospc" if write_error == "enospace" else write_error,
            "rerror": read_error,
        }
    )


def _place(definition: DomainDef, disk: Disk) -> tuple[dict[str, Any], bool | None]:
    who = f"disk '{disk.target.dev}'"
    share = True if disk.shareable else None
    if disk.bus == "virtio":
        queues = disk.driver.queues if disk.driver else None
        return {"driver": "virtio-blk-pci", "num-queues": queues, **pci(definition, disk.address, who)}, share
    place = disk.address
    if not isinstance(place, DriveAddress):
        raise errors.InternalError(f"internal error: {who} has no drive address")
    kind = "ide-cd" if disk.is_cdrom else "ide-hd"
    alias = controller_alias(definition, disk.bus, place.controller, who)
    if disk.bus == "ide":
        return {"driver": kind, "bus": f"{alias}.{place.bus}", "unit": place.unit}, share
    return {"driver": kind, "bus": f"{alias}.{place.unit}"}, share
