"""``-blockdev`` and ``-device`` of disks.

Each image is two block nodes, as libvirt 9.0 makes them: ``libvirt-N-storage`` (the file or device) and below the
guest's device ``libvirt-N-format`` (raw or qcow2). Source: qemu/qemu_block.c, qemu/qemu_command.c.
"""

from __future__ import annotations

from typing import Any

from culvert.domain.address import DriveAddress
from culvert.domain.definition import DomainDef
from culvert.domain.disk import BackingStore, Disk, DiskDriver
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
    argv = _floppy_controller(definition, boot_order)
    for disk in definition.devices.disks:
        argv += one_disk(definition, disk, boot_order.get(disk.alias or ""))
    return argv


def _floppy_controller(definition: DomainDef, boot_order: dict[str, int]) -> list[str]:
    """A pc has one, of which all that can be said is global; a q35 is given one where there are floppies."""
    floppies = [disk for disk in definition.devices.disks if disk.is_floppy]
    told = {
        f"bootindex{'AB'[disk.address.unit]}": boot_order[disk.alias or ""]
        for disk in floppies
        if isinstance(disk.address, DriveAddress) and (disk.alias or "") in boot_order
    }
    if definition.is_q35:
        return device({"driver": "isa-fdc", **told}) if floppies else []
    return [word for name, index in told.items() for word in ("-global", f"isa-fdc.{name}={index}")]


def one_disk(definition: DomainDef, disk: Disk, bootindex: int | None) -> list[str]:
    """``disk``, which has its names and its place in ``definition``: the image's nodes, then the device."""
    node = node_names(disk)[0] if disk.path is not None else None
    return [*image(disk), *_device(definition, disk, node, bootindex)]


def image(disk: Disk) -> list[str]:
    """The block nodes of the medium, lower one first; nothing for an empty drive."""
    if disk.path is None:
        return []
    numbers = (disk.source.index if disk.source else None, *(layer.index for layer in disk.layers))
    argv: list[str] = []
    for place, layer in reversed(list(enumerate(disk.layers, start=1))):
        argv += _layer(disk, layer, numbers[place] or 0, _below(numbers, place, layer))
    return [*argv, *_top(disk, numbers[0] or 0, disk.path, _below(numbers, 0, disk))]


def all_nodes(disk: Disk) -> list[str]:
    """Every node of the medium, each before those it stands on."""
    return [name for index in disk.indexes for name in _names(index)]


def _names(index: int) -> tuple[str, str]:
    return f"libvirt-{index}-format", f"libvirt-{index}-storage"


def node_names(disk: Disk) -> tuple[str, str]:
    """The nodes of the medium: the one the device is on, and the one below it."""
    return _names((disk.source.index if disk.source else None) or 0)


def _cache_mode(driver: DiskDriver) -> str | None:
    return None if driver.cache in (None, "default") else driver.cache


# What an image stands on: the name of a node; nothing, for sure; or what it says itself.
_NOTHING = object()
_UNKNOWN = None
Below = object


def _below(numbers: tuple[int | None, ...], place: int, image: Disk | BackingStore) -> Below:
    kind = image.format
    if kind == "raw" or image.backing_store is None:
        return _UNKNOWN
    if image.backing_store.type is None:
        return _NOTHING
    return _names(numbers[place + 1] or 0)[0]


def _top(disk: Disk, index: int, path: str, below: Below) -> list[str]:
    driver = disk.driver or DiskDriver()
    detect_zeroes = driver.detect_zeroes
    if detect_zeroes == "unmap" and driver.discard != "unmap":
        detect_zeroes = "on"  # QEMU refuses to unmap zeroes where discard is off
    readonly = disk.readonly or disk.is_cdrom
    return [
        *_storage(disk, disk.type, index, path),
        *_format(disk, disk.format, index, below, readonly=readonly, detect_zeroes=detect_zeroes),
    ]


def _layer(disk: Disk, layer: BackingStore, index: int, below: Below) -> list[str]:
    if layer.path is None or layer.type is None or layer.format is None:
        raise errors.InternalError(f"internal error: disk '{disk.target.dev}' stands on an image without a name")
    return [
        *_storage(disk, layer.type, index, layer.path),
        *_format(disk, layer.format, index, below, readonly=True, detect_zeroes=None),
    ]


def _cache(driver: DiskDriver) -> dict[str, bool] | None:
    mode = _cache_mode(driver)
    if mode is None:
        return None
    direct, no_flush, _ = CACHE_MODES[mode]
    return {"direct": direct, "no-flush": no_flush}


def _storage(disk: Disk, kind: str, index: int, path: str) -> list[str]:
    driver = disk.driver or DiskDriver()
    storage = {
        "driver": STORAGE_DRIVERS[kind],
        "filename": path,
        "aio": driver.io,
        "node-name": _names(index)[1],
        "cache": _cache(driver),
        "auto-read-only": True,
        "discard": "unmap",
    }
    return option("-blockdev", storage)


def _format(
    disk: Disk, kind: str, index: int, below: Below, *, readonly: bool, detect_zeroes: str | None
) -> list[str]:
    driver = disk.driver or DiskDriver()
    node: dict[str, Any] = {
        "node-name": _names(index)[0],
        "read-only": readonly,
        "discard": driver.discard,
        "detect-zeroes": detect_zeroes,
        "cache": _cache(driver),
        "driver": kind,
        "file": _names(index)[1],
        "backing": None if below is _NOTHING else below,
    }
    flag, text = option("-blockdev", node)
    # Said in so many words, a backing file named in the image is not opened.
    return [flag, text[:-1] + ',"backing":null}' if below is _NOTHING else text]


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
            # A floppy drive has none: its controller knows.
            "bootindex": None if disk.is_floppy else bootindex,
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
    if disk.bus == "fdc":
        return {"driver": "floppy", "unit": place.unit}, share
    kind = "ide-cd" if disk.is_cdrom else "ide-hd"
    alias = controller_alias(definition, disk.bus, place.controller, who)
    if disk.bus == "ide":
        return {"driver": kind, "bus": f"{alias}.{place.bus}", "unit": place.unit}, share
    return {"driver": kind, "bus": f"{alias}.{place.unit}"}, share
